"""What ovn-trace prints, as steps: which pipelines, tables and flows a packet passed, what was done, where it went."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

_FLOW = re.compile(
    r"(?P<table>[ \d]\d)\. (?:(?P<stage>\w+) )?(?:\([\w./-]+:\d+\))?:? ?"
    r"(?P<match>.*), priority (?P<priority>\d+), uuid [0-9a-f]{8}"
)
_MISS = re.compile(r"(?P<table>[ \d]\d)\. (?:(?P<stage>\w+): )?no match \(implicit drop\)")
_STATES = (
    ("new", 40),
    ("est", 20),
    ("est,rpl", 12),
    ("est,dnat", 4),
    ("new,dnat", 3),
    ("new,snat", 2),
    ("est,rpl,snat", 3),
    ("rel", 4),
    ("rel,rpl", 3),
    ("new,rel", 3),
    ("inv", 4),
    ("trk", 2),
)
"""Conntrack states that ovn-trace is told to find, with weights."""


@dataclass(frozen=True)
class Step:
    """One line of ovn-trace that says something. `kind`: flow, miss, do (anything else)."""

    kind: str
    text: str
    depth: int

    def __str__(self) -> str:
        return f"{'    ' * self.depth}{self.text}"


def states(random: Random, count: int) -> list[str]:
    """Conntrack states for a trace daemon to find one after the other."""
    names, weights = zip(*_STATES, strict=True)
    return random.choices(names, weights, k=count)


def read_steps(text: str) -> list[Step]:
    """Lines of a detailed trace. Sources in northd's code and UUIDs are left out: only a real database has them."""
    steps = []
    for line in text.splitlines():
        content = line.strip()
        if not content or line.startswith("#") or set(content) == {"-"}:
            continue
        depth = (len(line) - len(line.lstrip())) // 4
        if found := _FLOW.fullmatch(line[depth * 4 :]):
            number, stage = int(found["table"]), found["stage"] or ""
            steps.append(Step("flow", f"{number:2d}. {stage}: {found['match']}, priority {found['priority']}", depth))
        elif found := _MISS.fullmatch(line[depth * 4 :]):
            steps.append(Step("miss", f"{int(found['table']):2d}. {found['stage'] or ''}: no match", depth))
        else:
            steps.append(Step("do", content, depth))
    return steps
