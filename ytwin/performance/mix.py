"""Several Services under one load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ytwin.core.units import bad
from ytwin.datapath.program import Direction, Phase, Program

MOST_COPIES: Final = 2000
TOLERANCE: Final = 0.005


def mixed(parts: Sequence[tuple[float, Sequence[Program]]], where: str = "load") -> tuple[Program, ...]:
    """Programs of several Services with weights: a path stands there as often as its share of the load (`where`) asks for.

    Each Service's share is divided equally among its backends. All that takes programs gives each of them the same share, so
    copies are weights; shares are met within half a per cent. InvalidInput: shares that are too far apart for that.
    """
    if len(parts) == 1:
        return tuple(parts[0][1])
    each = [weight / max(1, _paths(programs)) for weight, programs in parts]
    smallest = min(each)
    # Beyond MOST_COPIES of another at any scale; the quotient of two numbers may be infinite, and the least may be 0.
    for scale in range(1, 101 if smallest * MOST_COPIES >= max(each) > 0 else 1):
        copies = [round(scale * one / smallest) for one in each]
        error = max(abs(n / scale * smallest / one - 1) for n, one in zip(copies, each, strict=True))
        if error <= TOLERANCE and sum(copies) <= MOST_COPIES:
            return tuple(p for n, (_, programs) in zip(copies, parts, strict=True) for _ in range(n) for p in programs)
    raise bad(
        f"{where}.services",
        "share",
        f"shares of {min(each):g} and {max(each):g} per backend are too far apart for one mix",
        "leave the smallest out, or predict it alone",
    )


def _paths(programs: Sequence[Program]) -> int:
    return sum(p.phase is Phase.ESTABLISHED and p.direction is Direction.FORWARD for p in programs)
