"""Whether a card takes a path over, and which of its rules stops it.

A rule of a profile (`hardware.model.OffloadRule`) says what the card or its driver cannot take over; what it looks for is a
Condition, held against each Visit of each Program. All that a condition gives must hold of one visit:

operation, ctState  the visit has such an operation (with conntrack having found that state)
field, masked       a flow that was compared with the packet looks at this field, so it is in the datapath flow's match.
                    "ct_label" also stands for its parts, "ct_label.natted"
phase, protocols    of the program
addressFamily       of the address that the client calls
portKind, portSide  of the port where the packet enters or leaves the chassis
passesOver          the visit has more passes than that
always              of everything

A rule of effect first-packet keeps only those packets in software that meet it. So one that established packets meet keeps the
connection there. Idle time-out has no packet, and is not judged. Adding a rule never makes an outcome better, and nothing
depends on the order of programs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from frozendict import frozendict

from ytwin.core.errors import InvalidInput, Location, Problem, YtwinError
from ytwin.datapath.offload_types import OffloadVerdict, Outcome, Reason
from ytwin.datapath.program import Direction, Examined, Op, Operation, Pass, Phase, Program, Visit
from ytwin.datapath.rows import Rows
from ytwin.hardware.model import Condition, HardwareProfile, OffloadRule

_ORDER: Final = {outcome: rank for rank, outcome in enumerate(Outcome)}
_PHASES: Final = {phase: rank for rank, phase in enumerate(Phase)}
_PHASE_NAMES: Final = {"first": Phase.FIRST, "established": Phase.ESTABLISHED, "close": Phase.CLOSE}
_OPERATIONS: Final = tuple(op.value for op in Op)
_Path = tuple[str, str, str, str, Direction]
_Witness = Operation | Examined | None


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of some, OFFLOADED of none."""
    return max(outcomes, key=_ORDER.__getitem__, default=Outcome.OFFLOADED)


def judge_offload(
    programs: Iterable[Program], cards: Mapping[str, HardwareProfile], rows: Rows | None = None
) -> tuple[OffloadVerdict, ...]:
    """One verdict per path and direction, sorted by client, destination, backend; `cards` has every visited chassis's profile.

    With `rows`, reasons name the Northbound rows behind flows that name none themselves. YtwinError: a chassis without profile.
    InvalidInput: a rule that no packet could meet, or every packet without saying so.
    """
    for profile in {id(profile): profile for profile in cards.values()}.values():
        _check(profile)
    paths: dict[_Path, list[Program]] = defaultdict(list)
    for program in programs:
        paths[program.client, program.destination, program.backend, program.protocol, program.direction].append(program)
    return tuple(_verdict(path, paths[path], cards, rows) for path in sorted(paths, key=_path_key))


def _check(profile: HardwareProfile) -> None:
    """A misspelt operation would make a card better than it is, an empty condition worse."""
    problems = []
    for index, rule in enumerate(profile.offload):
        where = Location(profile.name, path=f"spec.offload[{index}].when")
        if rule.when.operation and rule.when.operation not in _OPERATIONS:
            known = f"write one of {', '.join(_OPERATIONS)}"
            problems.append(Problem(where, "unknown-operation", f"{rule.when.operation!r} is no operation", known))
        if rule.when == Condition():
            what = "say what the rule looks for, or `always: true`"
            problems.append(Problem(where, "empty-condition", f"the rule {rule.code} asks for nothing", what))
    if problems:
        raise InvalidInput(problems)


def _path_key(path: _Path) -> tuple[object, ...]:
    return *path[:4], path[4] is Direction.REPLY


def _verdict(
    path: _Path, programs: list[Program], cards: Mapping[str, HardwareProfile], rows: Rows | None
) -> OffloadVerdict:
    client, destination, backend, protocol, direction = path
    visited = sorted({visit.chassis for program in programs for visit in program.visits})
    for chassis in visited:
        if chassis not in cards:
            known = ", ".join(sorted(cards)) or "none"
            raise YtwinError(f"chassis {chassis} has no hardware profile; there are profiles for {known}")
    found = sorted((item for program in programs for item in _reasons(program, cards, rows)), key=lambda item: item[0])
    reasons = _without_repeats(reason for _, reason in found)
    by_chassis = {chassis: worst(r.outcome for r in reasons if r.chassis == chassis) for chassis in visited}
    return OffloadVerdict(
        client=client,
        destination=destination,
        backend=backend,
        protocol=protocol,
        direction=direction,
        outcome=worst(by_chassis.values()),
        by_chassis=frozendict(by_chassis),
        cards=frozendict({chassis: cards[chassis].name for chassis in visited}),
        reasons=reasons,
        programs=_in_order(programs),
    )


def _in_order(programs: list[Program]) -> tuple[Program, ...]:
    """By phase; two of one phase (a backend with two ports, say) by what they are."""
    phases = [program.phase for program in programs]
    if len(set(phases)) == len(phases):
        return tuple(sorted(programs, key=lambda p: _PHASES[p.phase]))
    return tuple(sorted(programs, key=lambda p: (_PHASES[p.phase], repr(p))))


def _without_repeats(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """What holds in several phases is said once, for the one where it does most harm."""
    kept: dict[tuple[object, ...], Reason] = {}
    for r in reasons:
        what = r.what if r.flow is None else ""
        kept.setdefault((r.code, r.rule.text, r.chassis, r.stage, r.datapath, r.flow, what), r)
    return tuple(kept.values())


_Ranked = tuple[tuple[object, ...], Reason]


def _reasons(program: Program, cards: Mapping[str, HardwareProfile], rows: Rows | None) -> Iterator[_Ranked]:
    """Each with its rank: worst effect first, then early phases, then the profile's own order of rules, then the packet's way."""
    if program.phase is Phase.IDLE:
        return
    for step, visit in enumerate(program.visits):
        for place, rule in enumerate(cards[visit.chassis].offload):
            if rule.effect == "none":
                continue
            for witness in _meets(rule.when, program, visit):
                r = _reason(rule, program, visit, witness, rows)
                way = (step, r.chassis, r.stage, r.datapath, str(r.flow), r.what)
                yield (-_ORDER[r.outcome], _PHASES[r.phase], place, *way), r


def _reason(rule: OffloadRule, program: Program, visit: Visit, witness: _Witness, rows: Rows | None) -> Reason:
    stays = rule.effect == "software" or program.phase is Phase.ESTABLISHED
    flow = witness.flow if witness is not None else None
    where = witness.datapath if witness is not None else ""
    behind = _port_row(rule.when, visit) if rule.when.port_kind else ()
    if flow is not None:
        named = (flow.source,) if flow.source else ()
        behind = named if rows is None else rows.behind(flow, where, program.destination, program.protocol)
    return Reason(
        code=rule.code,
        rule=rule,
        chassis=visit.chassis,
        phase=program.phase,
        what=_what(rule.when, program, visit, witness),
        stage=witness.stage if witness is not None else "",
        datapath=where,
        flow=flow,
        outcome=Outcome.SOFTWARE if stays else Outcome.FIRST_SOFTWARE,
        rows=behind,
    )


def _port_row(when: Condition, visit: Visit) -> tuple[str, ...]:
    """Of the port that is of that kind."""
    enters = visit.entry_kind == when.port_kind and when.port_side != "exit"
    port = visit.entry_port if enters else visit.exit_port
    return (f"Logical_Switch_Port/{port}",) if port else ()


def _meets(when: Condition, program: Program, visit: Visit) -> Iterator[_Witness]:
    """What in the visit meets the condition: the operations, the fields where it asks for no operation, or None for all of it."""
    if not _visit_meets(when, program, visit):
        return
    operations = [
        _missed(o, one, program.direction) for one in visit.passes for o in one.operations if _is_operation(when, o)
    ]
    fields = [e for p in visit.passes for e in p.examined if _is_field(when, e)]
    if (when.operation or when.ct_state) and not operations:
        return
    if (when.field or when.masked is not None) and not fields:
        return
    yield from operations or fields or (None,)


def _missed(operation: Operation, one: Pass, direction: Direction) -> Operation:
    """A miss that each connection has anew, with the flow that makes it so."""
    cause = one.of_one_connection(direction) if operation.op is Op.UPCALL else None
    if cause is None:
        return operation
    detail = f"{operation.detail}: {cause.field} is in its match, so each connection makes its own"
    return replace(operation, detail=detail, stage=cause.stage, datapath=cause.datapath, flow=cause.flow)


def _visit_meets(when: Condition, program: Program, visit: Visit) -> bool:
    return (
        (not when.phase or program.phase is _PHASE_NAMES[when.phase])
        and (not when.protocols or program.protocol in {p.lower() for p in when.protocols})
        and (when.address_family is None or when.address_family == _family(program.destination))
        and (not when.port_kind or when.port_kind in _port_kinds(when, visit))
        and (when.passes_over is None or len(visit.passes) > when.passes_over)
    )


def _port_kinds(when: Condition, visit: Visit) -> tuple[str, ...]:
    entry = (visit.entry_kind,) if when.port_side != "exit" else ()
    return entry + ((visit.exit_kind,) if when.port_side != "entry" else ())


def _is_operation(when: Condition, operation: Operation) -> bool:
    if not when.operation and not when.ct_state:
        return False
    wanted = when.operation or Op.CT
    return operation.op == wanted and when.ct_state in ("", operation.ct_state)


def _is_field(when: Condition, examined: Examined) -> bool:
    if not when.field and when.masked is None:
        return False
    named = not when.field or examined.field == when.field or examined.field.startswith(f"{when.field}.")
    return named and when.masked in (None, examined.masked)


def _family(destination: str) -> int:
    """Of "IP:PORT", "[IP]:PORT" or "IP"."""
    return 6 if destination.count(":") > 1 else 4


def _what(when: Condition, program: Program, visit: Visit, witness: _Witness) -> str:
    if isinstance(witness, Operation):
        detail = f" ({witness.detail})" if witness.detail else ""
        state = f", which finds {witness.ct_state}" if witness.ct_state and witness.ct_state not in detail else ""
        return f"{witness.op}{detail}{state}"
    if isinstance(witness, Examined):
        return f"{'masked ' if witness.masked else ''}match on {witness.field}"
    if when.port_kind:
        way = "enters" if visit.entry_kind == when.port_kind and when.port_side != "exit" else "leaves"
        return f"{way} at a port of kind {when.port_kind}"
    if when.passes_over is not None:
        return f"{len(visit.passes)} passes, more than {when.passes_over}"
    if when.protocols:
        return f"protocol {program.protocol}"
    if when.address_family is not None:
        return f"IPv{when.address_family}"
    return f"{program.phase} packet" if when.phase else "every packet"
