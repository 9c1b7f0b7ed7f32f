"""Laws of the cost model and the formulas, over random profiles, paths and loads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.performance_programs import path
from ytwin.datapath.offload_types import Outcome
from ytwin.hardware import HardwareProfile, Kind, numbers, shipped, with_values
from ytwin.performance import Cell, Metric, Prediction, bare_programs, blend, fit, path_cost, predict
from ytwin.performance.jobs import Load
from ytwin.sim.distributions import Constant, Exponential
from ytwin.sim.workloads import BulkTcp, ConnectRequestResponse, OpenRequests, PacketRate, RequestResponse

Drawn = tuple[dict[str, float], dict[str, int]]
Shape = tuple[tuple[int, int], tuple[int, int]]
"""Passes, and conntrack look-ups, at the client's and the backend's chassis."""

NAME = "yusur-dpu-2x100g"
TIMES = tuple(f"slow_path.{t}_time" for t in ("packet", "pass", "conntrack", "tunnel", "upcall", "install"))
TIMES += (
    "eswitch.packet_time",
    "eswitch.pass_time",
    "eswitch.pass_latency",
    "slow_path.handover_latency",
    "host.latency",
)
RATES = ("host.segment_rate", "host.packet_rate", "host.stream_rate", "ports.rate", "pcie.rate")
CORES = ("slow_path.cores", "slow_path.upcall_threads", "ports.count")
RATE = {BulkTcp: Metric.BANDWIDTH, PacketRate: Metric.PACKET_RATE}


@cache
def base() -> HardwareProfile:
    """The article's card, crowding and intervals left out: of them nothing here is a law."""
    card = shipped()[NAME]
    assert card.eswitch is not None
    card = card.model_copy(update={"eswitch": card.eswitch.model_copy(update={"crowding": ()})})
    return with_values(card, {p: q.value for p, q in numbers(card).items()}, kind=Kind.ASSUMED, source="test")


def scaled(card: HardwareProfile, factors: Mapping[str, float]) -> HardwareProfile:
    """With some numbers so many times as large."""
    known = numbers(card)
    values = {path: known[path].value * factor for path, factor in factors.items()}
    return with_values(card, values, kind=Kind.ASSUMED, source="test")


factors = st.fixed_dictionaries({number: st.floats(0.25, 4) for number in (*TIMES, *RATES)})
counts = st.fixed_dictionaries({number: st.integers(1, 16) for number in CORES})
profiles = st.tuples(factors, counts)
"""Times and rates up to four times off, 1 to 16 cores."""


def card_of(drawn: tuple[dict[str, float], dict[str, int]]) -> HardwareProfile:
    """The profile that was drawn; drawn as numbers, so that a counterexample can be read."""
    return with_values(scaled(base(), drawn[0]), drawn[1], kind=Kind.ASSUMED, source="test")


loads = st.one_of(
    st.builds(lambda n: BulkTcp("bulk", n, window_segments=None), st.integers(1, 100)),
    st.builds(
        lambda n, per, poisson: PacketRate("packets", math.inf, n, jobs_per_flow=per, poisson=poisson),
        st.integers(1, 10_000),
        st.sampled_from([None, 1, 10, 1000]),
        st.booleans(),
    ),
    st.builds(
        lambda n, think, per: RequestResponse("rr", n, Constant(think * 1e6), per),
        st.sampled_from([1, 2, 7, 40, 64, 65, 300]),
        st.sampled_from([0, 50]),
        st.sampled_from([None, 3]),
    ),
    st.builds(lambda n, per: ConnectRequestResponse("crr", n, per), st.sampled_from([1, 5, 100]), st.integers(1, 5)),
    st.builds(
        lambda rate, n: OpenRequests("open", Exponential(1e12 / rate), Constant(64), n),
        st.floats(1e2, 1e7),
        st.integers(1, 10_000),
    ),
)
outcomes = st.sampled_from(list(Outcome))
shapes = st.tuples(st.tuples(st.integers(1, 5), st.integers(1, 5)), st.tuples(st.integers(0, 3), st.integers(0, 3)))


def asked(
    card: HardwareProfile,
    load: Load,
    outcome: Outcome,
    shape: tuple[tuple[int, int], tuple[int, int]] = ((2, 2), (1, 1)),
) -> Prediction:
    """Both nodes with the same card, without intervals."""
    cards = {"node1": card, "node2": card}
    return predict(path("Pod", *shape), (), cards, load, assume=outcome, intervals=False)


def rate_of(found: Prediction, load: Load) -> float:
    """Throughput in the load's own unit."""
    return found[RATE.get(type(load), Metric.REQUEST_RATE)].value


def settled(load: Load) -> bool:
    """Whether connections stay: where they come and go, a faster path opens more of them, and its tables fill."""
    return not isinstance(load, ConnectRequestResponse) and all(
        getattr(load, name, None) is None for name in ("jobs_per_flow", "requests_per_connection")
    )


@settings(max_examples=100, deadline=None)
@given(profiles, loads, outcomes, shapes, st.sampled_from([*TIMES, *RATES, *CORES]), st.integers(2, 9))
def test_faster_hardware_never_gives_less(
    drawn: Drawn, load: Load, outcome: Outcome, shape: Shape, number: str, factor: float
) -> None:
    card = card_of(drawn)
    assume(settled(load))
    better = scaled(card, {number: 1 / factor if number in TIMES else factor})
    before, after = asked(card, load, outcome, shape), asked(better, load, outcome, shape)
    assert rate_of(after, load) >= rate_of(before, load) * (1 - 1e-9)


@settings(max_examples=100, deadline=None)
@given(profiles, loads, shapes, outcomes, st.sampled_from([(1, 0), (0, 1)]))
def test_more_passes_never_help(
    drawn: Drawn, load: Load, shape: Shape, outcome: Outcome, more: tuple[int, int]
) -> None:
    card = card_of(drawn)
    assume(settled(load))
    (near, far), lookups = shape
    longer = ((near + more[0], far + more[1]), lookups)
    cards = {"node1": card, "node2": card}
    done = dict.fromkeys(cards, outcome is not Outcome.SOFTWARE)
    costs = [path_cost(path("Pod", *s)[2], cards, done, 60) for s in (shape, longer)]
    assert costs[1].latency_ps > costs[0].latency_ps
    before, after = asked(card, load, outcome, shape), asked(card, load, outcome, longer)
    assert rate_of(after, load) <= rate_of(before, load) * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(profiles, loads, shapes)
def test_offload_is_never_slower_with_equal_numbers(drawn: Drawn, load: Load, shape: Shape) -> None:
    card = card_of(drawn)
    known = numbers(card)
    same = {
        "eswitch.packet_time": known["slow_path.packet_time"].value,
        "eswitch.pass_time": known["slow_path.pass_time"].value,
        "eswitch.pass_latency": known["slow_path.pass_time"].value,
        "slow_path.cores": 1.0,
        "eswitch.conntrack_table": 1e9,
        "eswitch.flow_table": 4e9,
        "eswitch.insertion_rate": 1e12,
        "eswitch.deletion_rate": 1e12,
    }
    card = with_values(card, same, kind=Kind.ASSUMED, source="test")
    rates = {outcome: rate_of(asked(card, load, outcome, shape), load) for outcome in Outcome}
    for outcome in (Outcome.OFFLOADED, Outcome.FIRST_SOFTWARE):
        assert rates[outcome] >= rates[Outcome.SOFTWARE] * (1 - 1e-6)


@settings(max_examples=60, deadline=None)
@given(profiles, loads, outcomes, shapes, st.floats(0.01, 100))
def test_scaling_time_scales_all(drawn: Drawn, load: Load, outcome: Outcome, shape: Shape, factor: float) -> None:
    """All hardware so many times as slow: rates and latencies go with it, cores and ratios stay."""
    card = card_of(drawn)
    dimensions = {"time": factor, "rate": 1 / factor, "bit rate": 1 / factor, "frequency": 1 / factor}
    slower = scaled(card, {p: dimensions[q.dimension] for p, q in numbers(card).items() if q.dimension in dimensions})
    later = load
    if isinstance(load, RequestResponse):
        later = replace(load, think_ps=Constant(load.think_ps.mean * factor))
    elif isinstance(load, OpenRequests):
        later = replace(load, gap_ps=Exponential(load.gap_ps.mean * factor))
    before, after = asked(card, load, outcome, shape), asked(slower, later, outcome, shape)
    rates = (Metric.BANDWIDTH, Metric.PACKET_RATE, Metric.REQUEST_RATE)
    for value in before.values:
        times = factor if value.metric.value.startswith("latency") else 1 / factor if value.metric in rates else 1.0
        assert after[value.metric].value == pytest.approx(value.value * times, rel=1e-5, abs=1e-9), value.metric
    assert after.limit == before.limit


@settings(max_examples=100, deadline=None)
@given(profiles, outcomes, shapes)
def test_values_are_the_sums_of_their_parts(drawn: Drawn, outcome: Outcome, shape: Shape) -> None:
    card = card_of(drawn)
    found = asked(card, RequestResponse("one", 1), outcome, shape)
    assert found.reply is not None
    parts = [p.time_ps for cost in (found.forward, found.reply) for p in cost.latency]
    assert found[Metric.LATENCY].value == pytest.approx(sum(parts) / 2e6)
    assert found[Metric.REQUEST_RATE].value == pytest.approx(1e12 / sum(parts))
    most = asked(card, PacketRate("most", math.inf, 10_000), outcome, shape)
    carried = [d.servers / d.service_ps for d in most.forward.demands]
    assert most[Metric.PACKET_RATE].value == pytest.approx(1e6 * min(carried))
    assert most.utilisation[most.limit] == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(profiles, shapes, st.floats(0, 1))
def test_a_mix_lies_between_its_parts(drawn: Drawn, shape: Shape, share: float) -> None:
    card = card_of(drawn)
    cards = {"node1": card, "node2": card}
    one = path("Pod", *shape)[2]
    fast, slow = (path_cost(one, cards, dict.fromkeys(cards, done), 60) for done in (True, False))
    mixed = blend([(share, fast), (1 - share, slow)])
    assert mixed.latency_ps == pytest.approx(share * fast.latency_ps + (1 - share) * slow.latency_ps)
    assert mixed.packets_per_s >= min(fast.packets_per_s, slow.packets_per_s) * (1 - 1e-9)


# --- calibration ------------------------------------------------------------------------------------------------------

FREE = {
    "host.packet_rate": ("base", Metric.PACKET_RATE),
    "host.segment_rate": ("base", Metric.BANDWIDTH),
    "eswitch.pass_time": ("offload", Metric.PACKET_RATE),
    "slow_path.pass_time": ("software", Metric.PACKET_RATE),
    "host.latency": ("base", Metric.LATENCY),
    "eswitch.pass_latency": ("offload", Metric.LATENCY),
    "slow_path.handover_latency": ("software", Metric.LATENCY),
}
"""The protocol: a number each, and the cell that tells it."""
LOAD = {
    Metric.PACKET_RATE: PacketRate("most", math.inf, 64),
    Metric.BANDWIDTH: BulkTcp("bulk", 64, window_segments=None),
    Metric.LATENCY: RequestResponse("one", 1),
}


def value(card: HardwareProfile, way: str, metric: Metric) -> float:
    """A cell: without OVN, offloaded, or in software."""
    cards = {"node1": card, "node2": card}
    outcome = Outcome.SOFTWARE if way == "software" else Outcome.FIRST_SOFTWARE
    programs = bare_programs("node1", "node2") if way == "base" else path()
    return predict(programs, (), cards, LOAD[metric], assume=outcome, intervals=False)[metric].value


def told_by(way: str, metric: Metric, given: Mapping[str, HardwareProfile]) -> float:
    """The same of the profile that a fit tries."""
    return value(given["card"], way, metric)


def cells(truth: HardwareProfile, wanted: Mapping[str, tuple[str, Metric]], noise: float) -> list[Cell]:
    """What would be measured if the truth were this."""
    found = []
    for way, metric in wanted.values():
        told = partial(told_by, way, metric)
        found.append(Cell(f"{way} {metric}", told, value(truth, way, metric), noise))
    return found


TOLD = {
    "host.packet_rate": (1.0, 1.35),
    "host.segment_rate": (0.4, 0.99),
    "eswitch.pass_time": (1.0, 3.0),
    "slow_path.pass_time": (0.1, 1.5),
    "host.latency": (0.5, 2.5),
    "eswitch.pass_latency": (0.3, 3.0),
    "slow_path.handover_latency": (0.4, 2.5),
}
"""Times the profile's values, where each number's cell tells it: elsewhere another resource is the limit there."""


@settings(max_examples=3, deadline=None)
@given(st.fixed_dictionaries({number: st.floats(*span) for number, span in TOLD.items()}))
@example(dict(zip(TOLD, [0.8, 0.86, 2.3, 0.12, 1.8, 2.5, 0.85], strict=True)))  # about the article's
def test_fit_recovers_known_numbers(drawn: dict[str, float]) -> None:
    truth = scaled(base(), drawn)
    known = numbers(truth)
    found = fit(cells(truth, FREE, 0.0), {"card": base()}, [("card", number) for number in FREE])
    for number in FREE:
        assert found[f"card.{number}"].value == pytest.approx(known[number].value, rel=1e-6), found
        assert found[f"card.{number}"].determined
    assert all(abs(c.error) < 1e-6 for c in found.cells)


@settings(max_examples=3, deadline=None)
@given(st.sampled_from([n for n in FREE if n != "host.latency"]), st.floats(0.7, 1.4))
def test_what_no_cell_tells_stays_at_its_prior(missing: str, factor: float) -> None:
    told = {"host.latency": FREE["host.latency"]}
    truth = scaled(base(), {"host.latency": factor})
    found = fit(cells(truth, told, 0.0), {"card": base()}, [("card", "host.latency"), ("card", missing)])
    assert found["card.host.latency"].value == pytest.approx(numbers(truth)["host.latency"].value)
    assert found[f"card.{missing}"].value == numbers(base())[missing].value
    assert found.undetermined == (f"card.{missing}",)
    assert found[f"card.{missing}"].by == ()
    assert "not determined" in str(found)


def test_two_numbers_of_one_cell_are_tied() -> None:
    both = ("slow_path.handover_latency", "host.latency")
    truth = scaled(base(), {"host.latency": 1.3})
    one = {"any": ("software", Metric.LATENCY)}
    found = fit(cells(truth, one, 0.001), {"card": base()}, [("card", number) for number in both])
    assert abs(found.cells[0].error) < 0.001
    for number, other in zip(both, reversed(both), strict=True):
        assert found[f"card.{number}"].together == (f"card.{other}",)


def test_noise_widens_the_interval() -> None:
    told = {"host.latency": FREE["host.latency"]}
    widths = []
    for noise in (0.01, 0.05):
        n = fit(cells(base(), told, noise), {"card": base()}, [("card", "host.latency")]).numbers[0]
        widths.append(math.log(n.high / n.low))
        assert n.by == (("base latency_us", 1.0),)
    assert widths == pytest.approx([2 * 1.96 * 0.01, 2 * 1.96 * 0.05], rel=1e-2)


@settings(max_examples=60, deadline=None)
@given(profiles, loads, outcomes, shapes)
@example(
    (dict.fromkeys(TIMES, 1.0), {}),
    RequestResponse("rr", 1, Constant(0), 100),
    Outcome.FIRST_SOFTWARE,
    ((1, 1), (0, 0)),
)
def test_stacks_that_always_take_the_same_time_have_a_median_and_a_tail(
    drawn: Drawn, load: Load, outcome: Outcome, shape: Shape
) -> None:
    card = with_values(card_of(drawn), {"host.latency_scv": 0.0}, kind=Kind.ASSUMED, source="test")
    found = {value.metric: value.value for value in asked(card, load, outcome, shape).values}
    if Metric.LATENCY in found:
        assert 0 < found[Metric.LATENCY_P50] <= found[Metric.LATENCY_P99] * (1 + 1e-9)
