"""Offload verdicts of every delivered path that `check` asks about, on one or several sets of cards.

`compiled` makes the programs once; `judged` holds them against cards; the tables and the JSON form are made of the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ytwin.datapath import Limit, limited
from ytwin.datapath.offload import judge_offload, worst
from ytwin.datapath.offload_types import OffloadVerdict, Outcome, Reason
from ytwin.datapath.program import Program
from ytwin.datapath.programs import programs
from ytwin.datapath.rows import Rows
from ytwin.hardware.model import HardwareProfile
from ytwin.logical.addresses import endpoint
from ytwin.logical.southbound import LogicalFlow
from ytwin.resources.snapshot import Snapshot
from ytwin.trace.types import Conversation, Host, Verdict, World
from ytwin.verify.expect import Target, expectation
from ytwin.verify.paths import Delivered

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A conversation with what the datapaths do for it."""

    delivered: Delivered
    programs: tuple[Program, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """One path and direction on given cards, and the questions that it stands for."""

    service: str
    verdict: OffloadVerdict
    questions: tuple[tuple[str, str, str], ...]
    """(client, Service, address:port), its own first."""

    def to_json(self) -> Json:
        """The documented JSON form."""
        verdict = self.verdict
        return {
            "client": verdict.client,
            "service": self.service,
            "destination": verdict.destination,
            "backend": verdict.backend,
            "protocol": verdict.protocol,
            "direction": verdict.direction.value,
            "outcome": verdict.outcome.value,
            "by_chassis": {chassis: outcome.value for chassis, outcome in sorted(verdict.by_chassis.items())},
            "cards": dict(sorted(verdict.cards.items())),
            "reasons": [_reason_to_json(reason) for reason in verdict.reasons],
            "stands_for": [{"client": c, "service": s, "destination": called} for c, s, called in self.questions],
        }


def compiled(deliveries: Iterable[Delivered], world: World) -> tuple[Compiled, ...]:
    """Programs of every conversation, of the paths that are delivered; without those that have none."""
    return tuple(
        Compiled(d, tuple(p for p in programs(d.conversation, world) if p.backend in d.backends))
        for d in deliveries
        if d.backends
    )


def judged(paths: Iterable[Compiled], cards: Mapping[str, HardwareProfile], rows: Rows | None) -> tuple[Judged, ...]:
    """One per path and direction, in the order of the conversations; `cards` by chassis."""
    return tuple(
        Judged(path.delivered.service, verdict, _asked(path.delivered))
        for path in paths
        for verdict in judge_offload(path.programs, cards, rows)
    )


def _asked(delivered: Delivered) -> tuple[tuple[str, str, str], ...]:
    return tuple(_question(client, target) for client, target in delivered.questions)


def _question(client: Host, target: Target) -> tuple[str, str, str]:
    return client.name, target.service, endpoint(target.address, target.port)


def unanswered(conversation: Conversation) -> str:
    """Which backends do not answer though they are chosen, and the first's reason; "" if all do, or none does.

    Of a conversation as it is on its datapaths (`datapath.limited`).
    """
    dead = [path for path in conversation.paths if path.verdict is not Verdict.DELIVERED]
    if not 0 < len(dead) < len(conversation.paths):
        return ""
    names, verb = _and_more(path.backend for path in dead), "does" if len(dead) == 1 else "do"
    return (
        f"{len(dead)} of {len(conversation.paths)} backends {verb} not answer ({names}: {dead[0].reason}): "
        "that part of the connections fails; the numbers are of the others"
    )


@dataclass(frozen=True, slots=True)
class Missing:
    """What gets nowhere, wholly or in part, of one Service for one reason."""

    service: str
    reason: str
    questions: tuple[tuple[str, str, str], ...]
    """(client, Service, address:port)."""
    wholly: bool
    """No backend answers."""

    def __str__(self) -> str:
        """One line."""
        clients = _and_more(client for client, _, _ in self.questions)
        called = _and_more(called for _, _, called in self.questions)
        return f"{clients} -> {self.service} ({called}): {'not delivered: ' if self.wholly else ''}{self.reason}"


def missing(deliveries: Iterable[Delivered], limits: Mapping[str, Limit]) -> tuple[Missing, ...]:
    """Promised conversations without a delivered path, and those some of whose backends do not answer, alike ones together."""
    alike: dict[tuple[str, str, bool], list[tuple[str, str, str]]] = {}
    for one in deliveries:
        talk = limited(one.conversation, limits)
        reason = unanswered(talk) if one.backends else f"{talk.verdict.value}: {talk.reason}"
        if reason:
            alike.setdefault((one.service, reason, not one.backends), []).extend(_asked(one))
    return tuple(Missing(service, why, tuple(q), wholly) for (service, why, wholly), q in alike.items())


def unpromised(snapshot: Snapshot, clients: Iterable[Host], asked: Iterable[Target]) -> tuple[Missing, ...]:
    """What no scenario promises of the questions of these clients about these addresses, alike ones together."""
    alike: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    listed = tuple(asked)
    for client in clients:
        for target in listed:
            if not (told := expectation(snapshot, client, target)).reachable:
                alike.setdefault((target.service, told.why), []).append(_question(client, target))
    return tuple(Missing(service, why, tuple(questions), True) for (service, why), questions in alike.items())


# --- as tables ---------------------------------------------------------------------------------------------------------------

HEADER = ("client", "service", "backend", "direction", "outcome", "reasons", "stage", "row", "slow path on", "asked")


MANY_ROWS = 100
"""More nobody reads."""


def counts(found: Iterable[Judged]) -> Counter[Outcome]:
    """Questions (a client, an address and port) by the worst outcome over their backends and directions."""
    worst_of: dict[tuple[str, str, str], Outcome] = {}
    for one in found:
        for question in one.questions:
            worst_of[question] = worst((worst_of.get(question, Outcome.OFFLOADED), one.verdict.outcome))
    return Counter(worst_of.values())


def groups(found: Iterable[Judged], each: bool) -> tuple[tuple[Judged, ...], ...]:
    """What one row of the table stands for: with `each` single verdicts, else those of a Service that are equal but for names.

    If that makes too many rows, those of different Services too.
    """
    listed = tuple(found)
    if each:
        return tuple((one,) for one in listed)
    fine = _grouped(listed, by_service=True)
    return fine if len(fine) <= MANY_ROWS else _grouped(listed, by_service=False)


def _grouped(found: Iterable[Judged], by_service: bool) -> tuple[tuple[Judged, ...], ...]:
    alike: dict[tuple[object, ...], list[Judged]] = {}
    for one in found:
        v = one.verdict
        fine = (one.service, decisive(v).stage if v.reasons else "") if by_service else ()
        key = (*fine, v.protocol, v.client.partition("/")[0], v.direction, v.outcome, codes(v))
        alike.setdefault(key, []).append(one)
    return tuple(tuple(group) for group in alike.values())


def codes(verdict: OffloadVerdict) -> tuple[str, ...]:
    """Reason codes, the weightiest first."""
    return tuple(dict.fromkeys(reason.code for reason in verdict.reasons))


def decisive(verdict: OffloadVerdict) -> Reason:
    """The first reason that does all the harm; one that has a flow, if there is one."""
    harm = [r for r in verdict.reasons if r.outcome is verdict.outcome]
    return next((r for r in harm if r.flow is not None), harm[0])


def row(group: Sequence[Judged], cards: Mapping[str, HardwareProfile]) -> tuple[object, ...]:
    """One line under `HEADER`."""
    verdict = group[0].verdict
    clients = [client for one in group for client, _, _ in one.questions]
    services = [service for one in group for _, service, _ in one.questions]
    backends = [one.verdict.backend for one in group]
    reason = decisive(verdict) if verdict.reasons else None
    return (
        _and_more(clients),
        f"{_and_more(services)} {verdict.protocol}",
        _and_more(backends),
        verdict.direction.value,
        verdict.outcome.value,
        ",".join(codes(verdict)),
        f"{reason.stage} {reason.flow.priority} of {reason.datapath}" if reason and reason.flow else "",
        _and_more(reason.rows) if reason else "",
        slow_path([one.verdict for one in group], cards),
        len({question for one in group for question in one.questions}),
    )


def _and_more(names: Iterable[str]) -> str:
    first, *others = dict.fromkeys(names) or [""]
    return f"{first} +{len(others)}" if others else first


def slow_path(verdicts: Iterable[OffloadVerdict], cards: Mapping[str, HardwareProfile]) -> str:
    """Whose cores do what the cards do not take over: "host cores of node1 +1"."""
    where: dict[str, list[str]] = {}
    for verdict in verdicts:
        for chassis, outcome in sorted(verdict.by_chassis.items()):
            if outcome is not Outcome.OFFLOADED:
                where.setdefault(cards[chassis].slow_path.runs_on, []).append(chassis)
    return ", ".join(f"{side} cores of {_and_more(chassis)}" for side, chassis in sorted(where.items()))


def explained(found: Iterable[Judged]) -> str:
    """One block of the distinct reasons, the worst first: text, an example, remedy, and the cards with their sources."""
    seen: dict[tuple[str, str], Reason] = {}
    sources: dict[tuple[str, str], dict[str, list[str]]] = {}
    for one in found:
        for reason in one.verdict.reasons:
            key, rule = (reason.code, reason.rule.text), reason.rule
            if key not in seen or (seen[key].flow is None and reason.flow is not None):
                seen[key] = reason
            on = sources.setdefault(key, {}).setdefault(f"{rule.source} ({rule.kind})", [])
            profile = one.verdict.cards[reason.chassis]
            if profile not in on:
                on.append(profile)
    ranked = sorted(seen, key=lambda key: (seen[key].outcome is not Outcome.SOFTWARE, key))
    return "\n".join(_explained(seen[key], sources[key]) for key in ranked)


def _explained(reason: Reason, sources: Mapping[str, Sequence[str]]) -> str:
    rule = reason.rule
    lines = [f"{reason.code}: {reason.outcome.value}", f"    {rule.text}"]
    if reason.flow is not None:
        flow = f"{reason.stage} {reason.flow.priority} ({reason.flow.match}) -> {reason.flow.actions}"
        lines.append(f"    e.g. {reason.what}, by {flow} in {reason.datapath}, from {_and_more(reason.rows)}")
    elif reason.rows:
        lines.append(f"    e.g. {reason.what}, {_and_more(reason.rows)}")
    if rule.remedy:
        lines.append(f"    remedy: {rule.remedy}")
    return "\n".join((*lines, *(f"    {', '.join(on)}: {source}" for source, on in sources.items())))


# --- as JSON -----------------------------------------------------------------------------------------------------------------


def to_json(title: str, found: Sequence[Judged], cards: Mapping[str, HardwareProfile]) -> Json:
    """Of one set of cards: its nodes, counts, verdicts, and the rules that the reasons' codes mean."""
    total = counts(found)
    rules: dict[tuple[str, str], Json] = {}
    for one in found:
        for reason in one.verdict.reasons:
            rule, profile = reason.rule, one.verdict.cards[reason.chassis]
            rules.setdefault(
                (profile, rule.code),
                {
                    "profile": profile,
                    "code": rule.code,
                    "effect": rule.effect,
                    "text": rule.text,
                    "source": rule.source,
                    "kind": rule.kind.value,
                    "remedy": rule.remedy,
                },
            )
    return {
        "title": title,
        "nodes": {
            chassis: {"profile": profile.name, "card": profile.card, "slow_path_on": profile.slow_path.runs_on}
            for chassis, profile in sorted(cards.items())
        },
        "asked": {outcome.value: total[outcome] for outcome in Outcome},
        "verdicts": [one.to_json() for one in found],
        "rules": [rules[key] for key in sorted(rules)],
    }


def _reason_to_json(reason: Reason) -> Json:
    return {
        "code": reason.code,
        "outcome": reason.outcome.value,
        "chassis": reason.chassis,
        "phase": reason.phase.value,
        "what": reason.what,
        "stage": reason.stage,
        "datapath": reason.datapath,
        "rows": list(reason.rows),
        "flow": None if reason.flow is None else _flow_to_json(reason.flow),
    }


def _flow_to_json(flow: LogicalFlow) -> Json:
    return {"priority": flow.priority, "match": flow.match, "actions": flow.actions, "source": flow.source}
