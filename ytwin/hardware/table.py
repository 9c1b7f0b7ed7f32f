"""A profile as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ytwin.core.tables import format_table
from ytwin.core.units import parts
from ytwin.hardware.model import HardwareProfile, Kind, Quantity
from ytwin.hardware.values import base_unit, in_unit, numbers

HEADER = ("path", "value", "kind", "interval", "conditions", "source")
_DIGITS = 5
"""Of a number that was computed; one that a person wrote is shown as written."""


def shown(number: Quantity) -> str:
    """Its text; with at most five digits where there are many."""
    amount, unit = parts(number.text)
    return number.text if len(amount) <= _DIGITS + 3 else f"{float(amount):.{_DIGITS}g} {unit}"


def interval(number: Quantity) -> str:
    """`a to b`, or nothing where nothing is known."""
    if number.low == number.high:
        return ""
    unit = parts(number.text)[1]
    ends = (parts(in_unit(end, number.dimension, unit)) for end in (number.low, number.high))
    return " to ".join(f"{_short(float(amount))} {unit}" for amount, unit in ends)


def _short(amount: float) -> str:
    """At most five digits; never with an exponent where the number is whole."""
    return f"{amount:.0f}" if amount.is_integer() and amount < 1e12 else f"{amount:.{_DIGITS}g}"


def rows(profile: HardwareProfile) -> list[tuple[str, ...]]:
    """One row per number, as `HEADER` says."""
    return [
        (path, shown(number), number.kind.value, interval(number), number.conditions, number.source)
        for path, number in numbers(profile).items()
    ]


def head(profile: HardwareProfile) -> str:
    """What kind of node it is, in words."""
    eswitch = "offloads to its eSwitch" if profile.eswitch is not None else "offloads nothing"
    slow = profile.slow_path
    lines = [
        f"{profile.name}: card {profile.card}, driver {profile.driver}, {eswitch}; "
        f"software path: {slow.datapath} datapath on the {slow.runs_on}'s cores",
        *([profile.description] if profile.description else []),
        *([f"kube-proxy: {profile.service_proxy.mode}"] if profile.service_proxy is not None else []),
    ]
    if models := [model or "(none named)" for model in profile.models]:
        lines.append(f"models: {', '.join(models)}")
    return "\n".join(lines)


def render(profile: HardwareProfile) -> str:
    """The whole profile: head, numbers, offload rules."""
    text = f"{head(profile)}\n\n{format_table(HEADER, rows(profile))}"
    if profile.offload:
        rules = [(r.code, r.effect, r.kind.value, r.text, r.source, r.remedy) for r in profile.offload]
        text += f"\n\n{format_table(('rule', 'effect', 'kind', 'what', 'source', 'remedy'), rules)}"
    return text


def kinds(profile: HardwareProfile) -> Mapping[str, int]:
    """How many numbers of each kind."""
    counts: dict[str, int] = {}
    for number in numbers(profile).values():
        counts[number.kind.value] = counts.get(number.kind.value, 0) + 1
    return counts


def summary(profiles: Iterable[HardwareProfile]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Header and one row per profile: what it is, and how many of its numbers are of which kind."""
    header = ("name", "card", "driver", "ports", "software path", *(kind.value for kind in Kind))
    body = []
    for profile in profiles:
        slow, counts = profile.slow_path, kinds(profile)
        proxy = profile.service_proxy
        path = f"kube-proxy {proxy.mode}" if proxy is not None else f"OVS {slow.datapath} on {slow.runs_on}"
        ports = f"{profile.ports.count.value:g} x {shown(profile.ports.rate)}"
        numbers_by_kind = (counts.get(kind.value, 0) for kind in Kind)
        body.append((profile.name, profile.card, profile.driver, ports, path, *numbers_by_kind))
    return header, body


def to_json(profile: HardwareProfile) -> dict[str, Any]:
    """For `--json`: every number as text and in the base unit of its dimension."""
    return {
        "name": profile.name,
        "description": profile.description,
        "card": profile.card,
        "driver": profile.driver,
        "models": list(profile.models),
        "offloads": profile.eswitch is not None,
        "slowPath": {"runsOn": profile.slow_path.runs_on, "datapath": profile.slow_path.datapath},
        "serviceProxy": profile.service_proxy.mode if profile.service_proxy is not None else None,
        "numbers": {path: _number_to_json(number) for path, number in numbers(profile).items()},
        "offload": [rule.model_dump(mode="json", by_alias=True) for rule in profile.offload],
    }


def _number_to_json(number: Quantity) -> dict[str, Any]:
    return {
        "text": number.text,
        "value": number.value,
        "unit": base_unit(number.dimension),
        "low": number.low,
        "high": number.high,
        "kind": number.kind.value,
        "source": number.source,
        "conditions": number.conditions,
    }
