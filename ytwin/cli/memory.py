"""How much memory a run may take: what the user says, or half of what this machine has left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ytwin.core.units import quantity, require

FALLBACK_BYTES: Final = 2 * 2**30


def memory_bytes(text: str) -> int:
    """`4 GiB` as bytes; "": half of what is available."""
    if text:
        given = int(quantity(text, "size", "--memory"))
        require(given > 0, "--memory", f"{text!r} is no memory", "give a size above 0, such as `4 GiB`")
        return given
    return available_bytes() // 2


def available_bytes() -> int:
    """What this process could still take: the kernel's estimate, less where its control group allows less."""
    found = [kib * 1024 for kib in (_field("/proc/meminfo", "MemAvailable:"),) if kib is not None]
    most, used = (_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if most is not None and used is not None:
        found.append(max(0, most - used))
    if not found and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return min(found, default=FALLBACK_BYTES)


def _field(path: str, name: str) -> int | None:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return None
