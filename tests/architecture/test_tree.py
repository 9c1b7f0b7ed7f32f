"""The tree keeps its own rules: layers, docstrings, no machine's paths."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ytwin", "deployer", "experiments")
TEXTS = (".py", ".md", ".toml", ".yaml", ".yml", ".j2", ".txt", "")
# A path below one of these is a person's or a build machine's, not the project's.
_MACHINE_PATH = re.compile(r"(?<![\w/.])/(?:home|root|work|Users|mnt|tmp/(?!bash)\w+/)[\w/]")


def _modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def _texts() -> list[Path]:
    folders = (*PACKAGES, "tests", "topologies", "scripts", ".ci", "docs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")]
    caches = {"__pycache__", ".hypothesis"}  # what a run leaves in the tree and git ignores
    return sorted(
        p for p in files if p.suffix in TEXTS and caches.isdisjoint(p.parts) and p != Path(__file__).resolve()
    )


def test_layers_hold():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", _modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(module: Path):
    assert ast.get_docstring(ast.parse(module.read_text()))


def test_no_file_names_a_machine():
    """Paths of the machine on which it was written would lead nowhere elsewhere."""
    found = []
    for path in _texts():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if _MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


def test_the_pattern_for_machine_paths_finds_them():
    for bad in ("see /home/someone/x", "(/root/a)", '"/work/main/ytwin"', "/Users/me/x", "/tmp/src/ovn"):
        assert _MACHINE_PATH.search(bad)
    for good in ("default/web", "a/home/b", "https://example.org/work/x", "10.0.0.0/16", "unix:/run/ovn/ovnsb_db.sock"):
        assert not _MACHINE_PATH.search(good)
