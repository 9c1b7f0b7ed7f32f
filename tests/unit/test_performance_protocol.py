"""The article's protocol on paths by hand: numbers fitted to seven of its cells predict the others, by arithmetic."""

from __future__ import annotations

import math
from functools import cache, partial

import pytest

from tests.performance_programs import path
from ytwin.datapath.offload_types import Outcome
from ytwin.hardware import shipped
from ytwin.performance import Cell, Fit, Metric, Prediction, bare_programs, fit, predict
from ytwin.performance.fit import Profiles
from ytwin.sim.workloads import BulkTcp, PacketRate, RequestResponse

NAME = "yusur-dpu-2x100g"
LOADS = {
    Metric.BANDWIDTH: BulkTcp("bulk", 64, window_segments=None),
    Metric.PACKET_RATE: PacketRate("most", math.inf, 4096),
    Metric.LATENCY: RequestResponse("one", 1),
    Metric.REQUEST_RATE: RequestResponse("one", 1),
}
BASE, OFFLOAD, SOFTWARE = "base", "offload", "software"
MEASURED = {
    ("host.segment_rate", BASE, Metric.BANDWIDTH): 163.0,
    ("host.packet_rate", BASE, Metric.PACKET_RATE): 45.0,
    ("eswitch.pass_time", OFFLOAD, Metric.PACKET_RATE): 24.5,
    ("slow_path.pass_time", SOFTWARE, Metric.PACKET_RATE): 12.2,
    ("host.latency", BASE, Metric.LATENCY): 32.0,
    ("eswitch.pass_latency", OFFLOAD, Metric.LATENCY): 33.0,
    ("slow_path.handover_latency", SOFTWARE, Metric.LATENCY): 44.0,
}
"""Number, mode and metric of a cell -> the article's value (Pod to Service, or the baseline)."""


def asked(profiles: Profiles, mode: str, metric: Metric, client: str = "Pod") -> Prediction:
    """A cell's prediction."""
    cards = {"node1": profiles[NAME], "node2": profiles[NAME]}
    programs = bare_programs(*cards) if mode == BASE else path(client)
    outcome = Outcome.SOFTWARE if mode == SOFTWARE else Outcome.FIRST_SOFTWARE
    return predict(programs, (), cards, LOADS[metric], assume=outcome, intervals=False)


def predicted(mode: str, metric: Metric, profiles: Profiles) -> float:
    """Its value."""
    return asked(profiles, mode, metric)[metric].value


@cache
def calibrated() -> Fit:
    """All seven at once, from the shipped priors."""
    cells = [Cell(f"{mode} {m}", partial(predicted, mode, m), v, 0.0) for (_, mode, m), v in MEASURED.items()]
    return fit(cells, shipped(), [(NAME, number) for number, _, _ in MEASURED])


def test_meets_the_seven_cells_each_by_its_number() -> None:
    found = calibrated()
    assert all(abs(cell.error) < 1e-6 for cell in found.cells)
    assert found.undetermined == ()
    for number, mode, metric in MEASURED:
        assert f"{mode} {metric}" in dict(found[f"{NAME}.{number}"].by)


def test_numbers_are_what_arithmetic_gives() -> None:
    found = {n.path: n.value for n in calibrated().numbers}
    packet_time = shipped()[NAME].eswitch.packet_time.value
    assert found["host.segment_rate"] == pytest.approx(163e9 / 8 / 1448)
    assert found["host.packet_rate"] == pytest.approx(45e6)
    assert found["eswitch.pass_time"] == pytest.approx(1e12 / 24.5e6 - packet_time)
    assert found["host.latency"] == pytest.approx(32e6)
    assert found["eswitch.pass_latency"] == pytest.approx(0.5e6)  # a further pass at each end


@pytest.mark.parametrize(
    ("mode", "metric", "value"),
    [
        (OFFLOAD, Metric.BANDWIDTH, 163 / 1448 * 1348),  # segments are smaller, not fewer
        (SOFTWARE, Metric.BANDWIDTH, 12.2e-3 * 1348 * 8),  # packets per second of the slow path
        (BASE, Metric.REQUEST_RATE, 1e6 / 64),
        (OFFLOAD, Metric.REQUEST_RATE, 1e6 / 66),
        (SOFTWARE, Metric.REQUEST_RATE, 1e6 / 88),
    ],
)
def test_predicts_the_other_cells_of_the_pod(mode: str, metric: Metric, value: float) -> None:
    assert asked(calibrated().profiles, mode, metric)[metric].value == pytest.approx(value)


def test_a_node_differs_by_its_handovers_only() -> None:
    profiles = calibrated().profiles
    for metric in (Metric.BANDWIDTH, Metric.PACKET_RATE):
        for mode in (OFFLOAD, SOFTWARE):
            pod, node = (asked(profiles, mode, metric, client) for client in ("Pod", "Node"))
            assert pod[metric] == node[metric]
    slow = profiles[NAME].slow_path
    hop_us = (slow.node_handovers.value - slow.workload_handovers.value) * slow.handover_latency.value / 1e6
    node = asked(profiles, SOFTWARE, Metric.LATENCY, "Node")
    assert node[Metric.LATENCY].value == pytest.approx(44 + hop_us)
    assert asked(profiles, OFFLOAD, Metric.LATENCY, "Node")[Metric.LATENCY].value == pytest.approx(33)
