"""The pure part of `ytwin calibrate`: paths, draws, and the fit and prediction of a recorded run."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mininet")

from deployer.calibrate.cells import Cell, Metric, draw
from deployer.calibrate.model import FREE, PROFILE, Measured, calibrate, predicted, starting_profile
from deployer.calibrate.paths import FABRIC, PORTS, MeasuredPath, measured_paths, with_ports
from deployer.calibrate.report import Calibration, from_json
from deployer.calibrate.run import TOPOLOGY
from deployer.calibrate.tools import bulk_gbit_per_s, latency_s
from deployer.lab import LabError
from ytwin import pipeline
from ytwin.core.errors import InvalidInput, YtwinError
from ytwin.hardware import HardwareProfile, Kind, decode_profiles, numbers, shipped, with_values
from ytwin.performance import PathCost, path_cost
from ytwin.performance.types import Share
from ytwin.resources.snapshot import Snapshot

RECORDED = Path(__file__).parents[1] / "data" / "calibrate-lab.json"
"""`ytwin calibrate --target mininet --json` on two cores that others kept busy (load 8)."""


def snapshot(text: str = "") -> Snapshot:
    return pipeline.read({"t.yaml": text or TOPOLOGY.read_text(encoding="utf-8")})


@cache
def paths() -> tuple[MeasuredPath, ...]:
    return measured_paths(pipeline.build(with_ports(snapshot())))


@cache
def recorded() -> Calibration:
    return from_json(json.loads(RECORDED.read_text(encoding="utf-8")), paths())


def test_every_way_to_reach_a_service_is_among_the_paths() -> None:
    by_name = {p.name: p for p in paths()}
    assert by_name["Pod/default/client -> default/near"].chassis == ("node1",)
    assert by_name["Pod/default/client -> Pod/default/far"].chassis == ("node1", "node2")
    assert by_name["outside/eipgw -> default/api"].chassis == (FABRIC, "gate", "node2")
    assert by_name["outside/eipgw -> default/db"].work == "6 visit 10 pass 4 ct 4 tunnel"
    assert any(p.client.startswith("Node/") for p in paths())
    shapes = [(p.client.split("/")[0], p.work, p.chassis, p.name.endswith(p.backend)) for p in paths()]
    assert len(set(shapes)) == len(shapes)


def test_a_topology_without_a_measurable_path_is_refused() -> None:
    with pytest.raises(YtwinError, match="one TCP backend"):
        measured_paths(
            pipeline.build(
                snapshot(
                    "{apiVersion: v1, kind: Node, metadata: {name: n1}, status: "
                    "{addresses: [{type: InternalIP, address: 192.168.0.1}]}}"
                )
            )
        )


def test_a_service_that_has_a_measuring_port_is_refused() -> None:
    text = TOPOLOGY.read_text(encoding="utf-8").replace("port: 80}", f"port: {PORTS[0]}}}", 1)
    with pytest.raises(YtwinError, match=f"has port {PORTS[0]}, which measuring needs"):
        with_ports(snapshot(text))


def test_the_same_seed_draws_the_same_and_another_another() -> None:
    assert draw(paths(), 24, 10, 5, 1) == draw(paths(), 24, 10, 5, 1)
    drawn = {frozenset(draw(paths(), 24, 10, 5, seed).calibrate) for seed in range(20)}
    assert len(drawn) == 20


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("cells", "calibrate_on"), [(8, 4), (24, 10), (27, 13)])
def test_a_draw_has_every_metric_on_both_sides_and_every_cell_as_often(
    cells: int, calibrate_on: int, seed: int
) -> None:
    drawn = draw(paths(), cells, calibrate_on, 3, seed)
    assert len({*drawn.calibrate, *drawn.held_out}) == cells
    assert len(drawn.calibrate) == calibrate_on
    for side in (drawn.calibrate, drawn.held_out):
        assert {cell.metric for cell in side} == {*Metric}
    assert set(Counter(drawn.order).values()) == {3}
    assert {*drawn.order[:cells]} == {*drawn.order[cells : 2 * cells]}
    assert drawn.order[:cells] != drawn.order[cells : 2 * cells]


@pytest.mark.parametrize(
    ("numbers_", "message"),
    [
        ((7, 4, 1), "--cells 7: at least 8"),
        ((1000, 4, 1), "--cells 1000: there are"),
        ((24, 3, 1), "--calibrate-on 3: at least 4"),
        ((24, 24, 1), "--calibrate-on 24: .* fewer than 24"),
        ((24, 10, 0), "--repeat 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(numbers_: tuple[int, int, int], message: str) -> None:
    with pytest.raises(YtwinError, match=message):
        draw(paths(), *numbers_, seed=0)


def test_the_recorded_run_predicts_what_was_held_out() -> None:
    found, document = recorded(), json.loads(RECORDED.read_text(encoding="utf-8"))
    assert len(found.held_out) == 14
    assert found.median_error < 0.10
    assert max(abs(row.error) for row in found.held_out) < 0.25
    assert found.holds
    assert found.verdict.startswith("14 held-out cells: median error")
    again = {(r["path"], r["metric"]): r for r in found.to_json()["rows"]}
    for row in document["rows"]:
        assert again[row["path"], row["metric"]]["predicted"] == pytest.approx(row["predicted"], rel=0.02)


def test_the_draw_of_the_recorded_run_is_that_of_its_seed() -> None:
    found = recorded()
    drawn = draw(paths(), 24, 10, 5, found.seed)
    assert {row.measured.cell for row in found.held_out} == {*drawn.held_out}


def test_held_out_cells_do_not_reach_the_fit() -> None:
    document = json.loads(RECORDED.read_text(encoding="utf-8"))
    for row in document["rows"]:
        if row["role"] == "held out":
            row["values"] = [value * 3 for value in row["values"]]
    other = from_json(document, paths())
    assert [n.value for n in other.fit.numbers] == [n.value for n in recorded().fit.numbers]
    assert not other.holds
    assert "NOT within 15%: the model is farthest off for" in other.verdict


def test_the_fitted_profile_is_one_that_predict_reads() -> None:
    found = recorded()
    read = decode_profiles({"p.yaml": found.to_yaml()}, known=shipped())[PROFILE]
    assert read == found.profile
    for path in FREE:
        number = numbers(read)[path]
        assert number.kind is Kind.CALIBRATED
        assert number.low <= number.value <= number.high
        assert number.source.startswith("ytwin calibrate, ")
    assert "AMD" in numbers(read)["slow_path.wakeup_time"].source


def test_numbers_are_found_again_from_their_own_predictions() -> None:
    truth = {
        "host.packet_rate": 120e3,
        "slow_path.packet_time": 6e6,
        "slow_path.wakeup_time": 40e6,
        "slow_path.tunnel_time": 1.5e6,
    }
    real = with_values(starting_profile(), truth, kind=Kind.ASSUMED, source="test")
    cells = [Cell(path, metric) for path in paths() for metric in Metric]
    fit = calibrate([Measured(c, (predicted(c, real),) * 3) for c in cells], "test")
    for path, value in truth.items():
        assert fit[f"{PROFILE}.{path}"].value == pytest.approx(value, rel=0.1), path
    found = fit.profiles[PROFILE]
    assert all(predicted(c, found) == pytest.approx(predicted(c, real), rel=0.03) for c in cells)


def test_more_work_is_slower_and_more_connections_share_a_wake_up() -> None:
    by_name, profile = {p.name: p for p in paths()}, starting_profile()
    near, far = by_name["Pod/default/client -> default/near"], by_name["outside/eipgw -> default/api"]
    for metric in Metric:
        assert predicted(Cell(near, metric), profile) > predicted(Cell(far, metric), profile)
    one, many = (predicted(Cell(near, m), profile) for m in (Metric.REQUESTS_1, Metric.REQUESTS_MANY))
    assert one < many
    asleep = with_values(profile, {"slow_path.wakeup_time": 0.0}, kind=Kind.ASSUMED, source="test")
    assert predicted(Cell(near, Metric.REQUESTS_1), asleep) > 2 * one


def test_noise_floor_is_half_the_spread() -> None:
    measured = Measured(Cell(paths()[0], Metric.BULK_1), (0.9, 1.0, 1.1))
    assert (measured.median, measured.floor) == (1.0, pytest.approx(0.1))
    assert Measured(measured.cell, (1.0,)).floor == 0


def test_a_disturbed_machine_is_named_as_a_reason() -> None:
    found = recorded()
    rows = tuple(replace(row, predicted=row.predicted * 2) for row in found.rows)
    text = replace(found, rows=rows).verdict
    assert f"the machine was not quiet: {found.record.disturbed} measurements are disturbed" in text


def test_answers_of_the_measuring_programs() -> None:
    assert latency_s("tcp_lat:\n    latency  =  70.6 us\n") == pytest.approx(70.6e-6)
    assert latency_s("tcp_lat:\n    latency  =  8499.86 ns\n") == pytest.approx(8.49986e-6)
    answer: dict[str, Any] = {"end": {"sum_received": {"bits_per_second": 1.25e9}}}
    assert bulk_gbit_per_s(json.dumps(answer)) == 1.25
    for wrong in ("", "{}", '{"error": "unable to connect"}', '{"end": {"sum_received": {"bits_per_second": 0}}}'):
        with pytest.raises(LabError, match="iperf3"):
            bulk_gbit_per_s(wrong)
    with pytest.raises(LabError, match="qperf says nothing of latency: failed to connect"):
        latency_s("failed to connect")


def test_a_wake_up_is_latency_of_every_packet_and_work_that_those_who_wait_share() -> None:
    profile = starting_profile()
    polling = profile.model_copy(update={"slow_path": profile.slow_path.model_copy(update={"wakeup_time": None})})
    assert profile.slow_path.wakeup_time is not None
    wakeup_ps = profile.slow_path.wakeup_time.value
    program = next(p for p in paths() if p.name == "Pod/default/client -> default/far").forward

    def cost(card: HardwareProfile, together: float) -> PathCost:
        return path_cost(program, {v.chassis: card for v in program.visits}, {}, 130, together=together)

    def work_ps(found: PathCost) -> float:
        return sum(d.service_ps for d in found.demands if d.share is Share.SLOW_PATH)

    awake = cost(polling, 1)
    for together in (1, 8, math.inf):
        asleep = cost(profile, together)
        assert asleep.latency_ps - awake.latency_ps == pytest.approx(2 * wakeup_ps)
        assert work_ps(asleep) - work_ps(awake) == pytest.approx(2 * wakeup_ps / together)
    assert work_ps(cost(polling, 8)) == work_ps(awake)


def test_a_profile_may_say_nothing_of_wake_ups() -> None:
    assert shipped()["ovs-netdev"].slow_path.wakeup_time is None
    assert "slow_path.wakeup_time" not in numbers(shipped()["ovs-netdev"])
    assert "slow_path.wakeup_time" in numbers(starting_profile())
    text = TOPOLOGY.with_name("lab.yaml").read_text(encoding="utf-8").replace("value: 30 us", "value: quick")
    with pytest.raises(InvalidInput, match=r"wakeupTime.value: 'quick'"):
        decode_profiles({"lab.yaml": text}, known=shipped())
