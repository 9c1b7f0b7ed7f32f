"""What numbers rest on, for models that compute with costs of paths themselves; `performance.predict` says it of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ytwin.hardware import HardwareProfile, Kind, numbers
from ytwin.performance.types import PathCost


def resting(costs: Iterable[tuple[PathCost, Mapping[str, HardwareProfile]]]) -> str:
    """`PROFILE.NUMBER (kind)` of calibrated and assumed numbers, with `; ` between them, as `predict` has them."""
    used: dict[tuple[str, str], Kind] = {}
    for cost, cards in costs:
        parts = [(d.chassis, d.rests_on) for d in cost.demands] + [(p.chassis, p.rests_on) for p in cost.latency]
        for chassis, paths in parts:
            profile = cards[chassis]
            known = numbers(profile)
            used.update(((profile.name, path), known[path].kind) for path in paths if path in known)
    wanted = (Kind.CALIBRATED, Kind.ASSUMED)
    return "; ".join(f"{name}.{path} ({kind})" for (name, path), kind in sorted(used.items()) if kind in wanted)
