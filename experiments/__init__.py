"""Studies and proofs that use the public API only; each is run with `python -m experiments.NAME`, or `ytwin study run NAME`."""

from __future__ import annotations

from pathlib import Path


def studies() -> dict[str, Path]:
    """Name -> file of every study in this folder; `ytwin study` finds them through an entry point."""
    return {file.parent.name: file for file in sorted(Path(__file__).parent.glob("*/study.yaml"))}
