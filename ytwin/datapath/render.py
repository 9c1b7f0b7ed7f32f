"""Passes per chassis for people and programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ytwin.datapath.judge import FIRST, REPLY, SECOND
from ytwin.datapath.limits import Limit
from ytwin.datapath.passes import Entry, Stay, stays
from ytwin.datapath.program import Examined, Operation, Program, Visit
from ytwin.logical.southbound import LogicalFlow
from ytwin.trace.types import Conversation, Path, Walk

Json = dict[str, Any]
NO_LIMITS: Mapping[str, Limit] = {}


def _walks(path: Path) -> list[tuple[str, Walk]]:
    named = ((FIRST, path.forward), (REPLY, path.reply), (SECOND, path.second))
    return [(name, walk) for name, walk in named if walk is not None]


def render_passes(conversation: Conversation, limits: Mapping[str, Limit] = NO_LIMITS) -> str:
    """A line per walk: passes on each chassis on its way, with look-ups of conntrack. "!" marks what exceeds the limit."""
    lines = ["passes through the datapath"]
    width = len(SECOND)
    for number, path in enumerate(conversation.paths, 1):
        lines.append(f"  [{number}/{len(conversation.paths)}] {path.backend}")
        for name, walk in _walks(path):
            text = ", ".join(_text(stay, limits.get(stay.chassis)) for stay in stays(walk))
            lines.append(f"    {name:{width}}  {text or 'none'}")
    return "\n".join(lines)


def _text(stay: Stay, limit: Limit | None) -> str:
    count = len(stay.recirculations)
    allowed = f" of {limit.recirculations - stay.depth(limit) + count}" if limit is not None else ""
    mark = " !" if limit is not None and stay.depth(limit) > limit.recirculations else ""
    entered = "" if stay.entry is Entry.PORT else f" from {stay.entry}"
    hashed = " with dp_hash" if any(r.cause == "dp_hash" for r in stay.recirculations) else ""
    return f"{stay.chassis}{entered}: {stay.passes} ({count}{allowed} recirculations{hashed}, {stay.lookups} ct look-ups){mark}"


def passes_to_json(conversation: Conversation, limits: Mapping[str, Limit] = NO_LIMITS) -> Json:
    """`{"paths": [{"backend", "walks": [{"walk", "stays": [stay]}]}]}`; walk: first packet, reply, second packet.

    stay: {chassis, entry, passes, ct_lookups, depth|null, limit|null, datapath_type|null, recirculations: [{cause, action, stage,
    datapath, source}]}. Fields are only ever added.
    """
    return {
        "paths": [
            {
                "backend": path.backend,
                "walks": [
                    {"walk": name, "stays": [_stay_json(stay, limits.get(stay.chassis)) for stay in stays(walk)]}
                    for name, walk in _walks(path)
                ],
            }
            for path in conversation.paths
        ]
    }


def _stay_json(stay: Stay, limit: Limit | None) -> Json:
    return {
        "chassis": stay.chassis,
        "entry": stay.entry.value,
        "passes": stay.passes,
        "ct_lookups": stay.lookups,
        "depth": stay.depth(limit) if limit is not None else None,
        "limit": limit.recirculations if limit is not None else None,
        "datapath_type": limit.datapath if limit is not None else None,
        "recirculations": [
            {"cause": r.cause, "action": r.action, "stage": r.stage, "datapath": r.datapath, "source": r.source}
            for r in stay.recirculations
        ],
    }


def programs_to_json(programs: Iterable[Program]) -> list[Json]:
    """`[{client, backend, address, destination, protocol, phase, direction, delivered, visits: [visit]}]`.

    visit: {chassis, entry, exit, entry_kind, exit_kind, passes: [{operations: [operation], examined: [field]}]}; operation: {op,
    detail, stage, datapath, ct_state, flow: flow|null}; field: {field, masked, stage, datapath, flow}; flow: {priority, match,
    source}. Fields are only ever added.
    """
    return [
        {
            "client": program.client,
            "backend": program.backend,
            "address": program.address,
            "destination": program.destination,
            "protocol": program.protocol,
            "phase": program.phase.value,
            "direction": program.direction.value,
            "delivered": program.delivered,
            "visits": [_visit_json(visit) for visit in program.visits],
        }
        for program in programs
    ]


def _visit_json(visit: Visit) -> Json:
    return {
        "chassis": visit.chassis,
        "entry": visit.entry.value,
        "exit": visit.exit,
        "entry_kind": visit.entry_kind,
        "exit_kind": visit.exit_kind,
        "passes": [
            {
                "operations": [_operation_json(o) for o in each.operations],
                "examined": [_examined_json(e) for e in each.examined],
            }
            for each in visit.passes
        ],
    }


def _operation_json(operation: Operation) -> Json:
    return {
        "op": operation.op.value,
        "detail": operation.detail,
        "stage": operation.stage,
        "datapath": operation.datapath,
        "ct_state": operation.ct_state,
        "flow": _flow_json(operation.flow),
    }


def _examined_json(examined: Examined) -> Json:
    return {
        "field": examined.field,
        "masked": examined.masked,
        "stage": examined.stage,
        "datapath": examined.datapath,
        "flow": _flow_json(examined.flow),
    }


def _flow_json(flow: LogicalFlow | None) -> Json | None:
    return None if flow is None else {"priority": flow.priority, "match": flow.match, "source": flow.source}
