"""`predict`: what paths give under a load, with intervals and with what it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, Literal, get_args

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.datapath.offload_types import OffloadVerdict, Outcome
from ytwin.datapath.program import Program
from ytwin.hardware.model import HardwareProfile, Kind
from ytwin.hardware.values import numbers, with_values
from ytwin.performance.analytic import Answer, answer
from ytwin.performance.choice import Case, make_case
from ytwin.performance.jobs import Load, frame_bytes
from ytwin.performance.latencies import order_ends
from ytwin.performance.types import Metric, Prediction, Share, Value
from ytwin.sim.workloads import BulkTcp, PacketRate

Engine = Literal["analytic", "fast", "reference"]

TABLES: Final = (
    "eswitch.flow_table",
    "eswitch.conntrack_table",
    "eswitch.rules_per_connection",
    "eswitch.insertion_rate",
    "eswitch.deletion_rate",
    "eswitch.ageing",
    "eswitch.teardown",
)


LATENCIES: Final = (Metric.LATENCY, Metric.LATENCY_P50, Metric.LATENCY_P99)
ENDLESS: Final = (
    "with some numbers at the ends of their intervals the path carries less than is offered, and latency grows without end: "
    "its high is of the others"
)
LEAST_RATIO: Final = 1e-6
"""Of a value that falls to 0 while a number moves."""
QUEUED: Final = {Share.ESWITCH: "eswitch", Share.SLOW_PATH: "slow_path"}
"""Resources whose queue has a known length."""


def predict(
    programs: Iterable[Program],
    verdicts: Iterable[OffloadVerdict],
    cards: Mapping[str, HardwareProfile],
    load: Load,
    engine: Engine = "analytic",
    seed: int = 0,
    *,
    services: int = 1,
    assume: Outcome | None = None,
    intervals: bool = True,
    duration_ps: int | None = None,
    memory_bytes: int = 2 * 2**30,
) -> Prediction:
    """What the paths give under a load.

    `programs`: of one path or several (backends of a Service, which share the load equally), all phases and directions.
    `verdicts`: of these paths on these cards; none needed where there is no eSwitch. `cards`: chassis -> profile.
    `services`: how many there are (kube-proxy). `assume`: this outcome on every card, whatever the verdicts say.

    Each value has low and high: every profile number that it rests on is moved to the ends of its interval, one at a time (a
    profile's number moves on all chassis that have the profile), and the changes are combined as the root of the sum of their
    squares, those upwards and those downwards on their own, by logarithms (a value of 0: as differences). So they are of
    independent errors. Without `intervals` they are the value itself: quicker, for calls by the thousand. With an engine, what
    it measures has the interval of the mean over replications instead; `seed` replays it. `duration_ps`: how long to measure,
    None: long enough; `memory_bytes`: what a run may take.
    InvalidInput: programs, verdicts or profiles that do not belong together.
    """
    if engine not in get_args(Engine):
        hint = f"use one of {', '.join(get_args(Engine))}"
        raise InvalidInput([Problem(Location(path="engine"), "engine", f"no engine {engine!r}", hint)])
    if engine == "analytic" and duration_ps is not None:
        hint = "leave --duration out, or use --engine fast"
        raise InvalidInput([Problem(Location(path="duration"), "engine", "formulas measure for no time", hint)])
    case = make_case(programs, verdicts, cards, services, assume)
    found = answer(case, load)
    used = _rest_on(case, load, found)
    bounds, notes = {m: (v, v) for m, v in found.values.items()}, found.notes
    if intervals:
        bounds, more = _intervals(case, load, found, used)
        notes = (*notes, *more)
    prediction = Prediction(
        values=tuple(Value(m, v, *bounds[m]) for m, v in found.values.items()),
        limit=found.limit,
        forward=found.forward,
        reply=found.reply,
        total=found.total,
        round_trips=found.round_trips,
        engine="analytic",
        seed=None,
        rests_on=tuple(
            f"{name}.{path} ({q.kind})"
            for name, profile in _profiles(case).items()
            for path, q in numbers(profile).items()
            if (name, path) in used and q.kind in (Kind.CALIBRATED, Kind.ASSUMED)
        ),
        utilisation=found.utilisation,
        load=load.name,
        notes=found.notes,
    )
    if engine == "analytic":
        return replace(prediction, notes=(*notes, *found.of_formulas))
    from ytwin.performance.simulate import simulate  # noqa: PLC0415 - it compiles; formulas do not need that

    return simulate(
        case, load, prediction, engine=engine, seed=seed, duration_ps=duration_ps, memory_bytes=memory_bytes
    )


def _profiles(case: Case) -> dict[str, HardwareProfile]:
    return {case.cards[c].name: case.cards[c] for c in sorted(_visited(case))}


def _visited(case: Case) -> set[str]:
    return {v.chassis for programs in case.programs.values() for p in programs for v in p.visits}


def _rest_on(case: Case, load: Load, found: Answer) -> set[tuple[str, str]]:
    """(profile, number) of all that the values could depend on."""
    used: set[tuple[str, str]] = set()
    total = found.total
    parts = [(d.chassis, d.rests_on) for d in total.demands] + [(p.chassis, p.rests_on) for p in total.latency]
    used.update((case.cards[chassis].name, path) for chassis, paths in parts for path in paths)
    beside = _beside(case, load, found)
    for name, profile in _profiles(case).items():
        known = numbers(profile)
        used.update((name, path) for path in beside if path in known)
    return used


def _beside(case: Case, load: Load, found: Answer) -> set[str]:
    """Numbers that values depend on without being work or latency of a packet."""
    paths = {"host.latency_scv"} if Metric.LATENCY_P99 in found.values else set()
    asked = not isinstance(load, BulkTcp | PacketRate)
    if isinstance(load, BulkTcp) or (asked and any(frame_bytes(one, load)[1] > 1 for _, one in case.alike)):
        paths.add("encapsulation.underlay_mtu")
        paths |= {"encapsulation.overhead"} if case.overhead_bytes else set()
    if Metric.INSTRUCTIONS in found.values and found.total.software_passes:
        paths |= {"slow_path.pass_instructions", "slow_path.cpi"}
    if found.limit and Metric.LATENCY in found.values:
        paths |= {f"{part}.queue" for share, part in QUEUED.items() if found.limit.startswith(share)}
    return paths | (set(TABLES) if case.offloading() else set())


Bounds = dict[Metric, tuple[float, float]]
Numbers = tuple[str, str]
"""(profile, number)."""


def _intervals(case: Case, load: Load, found: Answer, used: set[Numbers]) -> tuple[Bounds, tuple[str, ...]]:
    """(low and high of every metric, notes)."""
    down = dict.fromkeys(found.values, 0.0)
    up = dict.fromkeys(found.values, 0.0)
    lowest: dict[Metric, dict[Numbers, str]] = {metric: {} for metric in LATENCIES if metric in found.values}
    endless = False
    for name, path in sorted(used):
        moved = {}
        for end in ("low", "high"):
            cards = _moved(case, {(name, path): end})
            if cards:
                moved[end] = answer(case.on({c: cards.get(c, card) for c, card in case.cards.items()}), load).values
        for metric, value in found.values.items():
            # An answer that withholds a metric (overload: latency) says nothing of it.
            changes = {end: _change(values[metric], value) for end, values in moved.items() if metric in values}
            endless |= len(changes) < len(moved)
            down[metric] += min(0.0, *changes.values(), 0.0) ** 2
            up[metric] += max(0.0, *changes.values(), 0.0) ** 2
            if metric in lowest and changes and min(changes.values()) < 0:
                lowest[metric][name, path] = min(changes, key=lambda end: changes[end])
    # Errors that add up know no bound; what is offered, and the whole of it, are ones.
    most = {Metric.LOSS: 1.0, Metric.PACKET_RATE: load.rate_per_s / 1e6 if isinstance(load, PacketRate) else math.inf}
    bounds = {
        m: (_changed(v, -math.sqrt(down[m])), max(v, min(most.get(m, math.inf), _changed(v, math.sqrt(up[m])))))
        for m, v in found.values.items()
    }
    _in_order(found.values, bounds, _least(case, load, lowest))
    return bounds, (ENDLESS,) if endless else ()


def _least(case: Case, load: Load, lowest: Mapping[Metric, Mapping[Numbers, str]]) -> dict[Metric, float]:
    """Of each latency: what it is with every number at the end that lowers it. Waits that one number takes away whole, another
    cannot take away again, so the changes of single numbers add up to more than there is."""
    found: dict[Metric, float] = {}
    known: dict[tuple[tuple[Numbers, str], ...], Mapping[Metric, float]] = {}
    for metric, ends in lowest.items():
        key = tuple(sorted(ends.items()))
        if key and key not in known:
            cards = _moved(case, ends)
            known[key] = answer(case.on({c: cards.get(c, card) for c, card in case.cards.items()}), load).values
        if key and metric in known[key]:
            found[metric] = known[key][metric]
    return found


def _in_order(values: Mapping[Metric, float], bounds: Bounds, least: Mapping[Metric, float]) -> None:
    """Each end of a latency's interval against those of the others: whatever the numbers are, nothing is below the least."""
    for metric, at_least in least.items():
        low, high = bounds[metric]
        bounds[metric] = (min(values[metric], max(low, at_least)), high)
    order_ends(values, bounds)


def _moved(case: Case, ends: Mapping[Numbers, str]) -> dict[str, HardwareProfile]:
    """The cards on which any of these numbers moves to the "low" or "high" end of its interval. What else is theirs, each keeps:
    nodes of one profile may differ in what their NetworkCards say."""
    moved: dict[int, HardwareProfile] = {}
    found = {}
    for chassis in sorted(_visited(case)):
        card = case.cards[chassis]
        if id(card) not in moved:
            known = numbers(card)
            new = card
            for (name, path), end in ends.items():
                number = known.get(path) if name == card.name else None
                if number is not None and getattr(number, end) != number.value:
                    new = with_values(new, {path: getattr(number, end)}, kind=number.kind, source=number.source)
            moved[id(card)] = new
        if moved[id(card)] is not card:
            found[chassis] = moved[id(card)]
    return found


def _change(to: float, value: float) -> float:
    """Numbers are uncertain by factors, so changes are ratios; a value of 0 has none."""
    return math.log(max(to, LEAST_RATIO * value) / value) if value > 0 else to


def _changed(value: float, change: float) -> float:
    return value * math.exp(change) if value > 0 else max(0.0, change)
