"""The article's tables on the twin: predicted cells against their stated errors, and what calibration may and may not do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from browser_cases import opened

from ytwin import pipeline
from ytwin.article.bench import in_mode, topology_files
from ytwin.article.calibrate import MET, calibrate, value_of
from ytwin.article.errors import leave_one_out, sibling_choices
from ytwin.article.page import report_page
from ytwin.article.profile import NAME, article_profile
from ytwin.article.render import assumptions, listings, percent, shown, summary, to_json
from ytwin.article.reproduce import Reproduction, median_error
from ytwin.article.tables import Mode, Role, article_tables, read_tables, shipped_text
from ytwin.cli import main
from ytwin.datapath.program import Direction, Op, Phase
from ytwin.hardware import Quantity, numbers, shipped
from ytwin.resources.model import NetworkCard

TABLES = article_tables()


@pytest.fixture(scope="module")
def found() -> Reproduction:
    return pipeline.reproduce(simulate=False, left_out=False)


def test_every_predicted_cell_has_a_stated_error_and_keeps_to_it(found: Reproduction):
    for result in found.predicted:
        assert result.cell.stated is not None, f"{result.cell.name}: state its error, {percent(result.error)}"
        assert abs(result.error) <= result.cell.stated, f"{result.cell.name}: {percent(result.error)}"
    assert not found.beyond_stated


def test_stated_errors_are_no_wider_than_they_must_be(found: Reproduction):
    """A twin that got better should say so: what is stated is the error, rounded up."""
    for result in found.predicted:
        assert result.cell.stated is not None
        assert result.cell.stated - abs(result.error) <= 0.0015, f"{result.cell.name}: {percent(result.error)}"


def test_the_target_is_met(found: Reproduction):
    assert not found.red, [r.cell.name for r in found.red]
    assert median_error(found.predicted) <= TABLES.target_median
    assert median_error(found.earned) <= TABLES.target_median
    assert len(found.earned) == len(found.predicted) - 3


def test_calibration_changes_only_what_the_protocol_names(found: Reproduction):
    before, after = numbers(shipped()[found.card]), found.profile_numbers
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {step.number for step in (*TABLES.calibrate, *TABLES.fit)}
    assert {name for name in shipped() if shipped()[name] != found.calibrated.profiles[name]} == {found.card}


def test_calibrated_and_fitted_cells_are_met(found: Reproduction):
    for result in (*found.of(Role.CALIBRATED), *found.of(Role.FITTED)):
        assert result.error == pytest.approx(0, abs=10 * MET)


def test_cells_are_their_tables_own(found: Reproduction):
    assert [r.cell.name for r in found.results] == list(TABLES.cells)


def test_the_modes_differ_in_the_cards_switch_only():
    snapshot = pipeline.read(topology_files())
    assert in_mode(snapshot, Mode.OFFLOAD).objects == snapshot.objects
    off = in_mode(snapshot, Mode.SOFTWARE)
    changed = {key for key in snapshot.objects if snapshot.objects[key] != off.objects[key]}
    assert {key.kind for key in changed} == {"NetworkCard"}
    assert not any(card.spec.hw_offload for card in off.all(NetworkCard))


def test_predictions_come_from_the_traced_path(found: Reproduction):
    """Passes, look-ups and tunnel of the two clients; the baseline has none."""
    for bench in found.benches.values():
        for client, programs in bench.programs.items():
            forward = next(p for p in programs if (p.phase, p.direction) == (Phase.ESTABLISHED, Direction.FORWARD))
            passes = [len(visit.passes) for visit in forward.visits]
            lookups = [visit.count(Op.CT) for visit in forward.visits]
            assert passes == ([2, 2] if client else [0, 0])
            assert lookups == ([1, 1] if client else [0, 0])
            assert forward.visits[0].entry_kind == ("Pod" if client.startswith("Pod") else "Node")
    kinds = {p.visits[-1].exit_kind for c, ps in found.benches[Mode.OFFLOAD].programs.items() if c for p in ps[:1]}
    assert kinds == {"Pod"}


def test_the_mtu_decides_bandwidth_of_service_rows(found: Reproduction):
    """Nothing is fitted to them: the baseline's segments, each with 100 B less (MSS 1348 in place of 1448)."""
    values = {r.cell.name: r.value for r in found.results}
    for row in ("node", "pod"):
        assert values[f"bandwidth.{row}.offload"] == pytest.approx(163 * 1348 / 1448)
        assert values[f"bandwidth.{row}.software"] == pytest.approx(12.2e6 * 1348 * 8 / 1e9)


def test_the_assumption_of_node_handovers_is_shown(found: Reproduction):
    (said,) = (a for a in found.assumptions if a.assumption.number == "slow_path.node_handovers")
    values = {r.cell.name: r.value for r in found.results}
    assert said.article is not None
    assert said.without == pytest.approx(values["latency.pod.software"])
    assert said.without < said.value < said.article


def test_what_the_article_leaves_open_is_shown_with_what_it_decides(found: Reproduction):
    """The packet rate of software is cores (or flows, if these are fewer) per packet's time: with half of them, half the time."""
    said_of = {(a.assumption.number or a.assumption.load, a.what): a for a in found.assumptions}
    known = found.profile_numbers
    packet_ps = 32e12 / 12.2e6  # on 32 cores
    for what in ("slow_path.cores", "small"):
        said = said_of[what, "slow_path.pass_time"]
        assert said.article is None
        assert said.value == known["slow_path.pass_time"].value
        assert said.value - said.without == pytest.approx(packet_ps / 2 / 2, rel=1e-6)  # in two passes
    ends = known["host.segment_rate"].value * 1348 * 8 / 1e9
    assert said_of["small", "bandwidth.pod.software"].without == pytest.approx(ends)
    few = said_of["bulk", "bandwidth.pod.software"]
    assert few.without == pytest.approx(few.value / 2)
    assert said_of["slow_path.cores", "bandwidth.pod.software"].without == pytest.approx(few.value)
    text = "\n".join(" ".join(row) for row in assumptions(found).rows)
    for part in ("bulk:streams=64", "flows=1024", "not stated", "slow_path.cores = 32 cores", "assumed"):
        assert part in text
    told = to_json(found)["assumptions"]
    assert {a["load"] for a in told} == {"", "bulk:streams=64", "packets:rate=max,flows=1024,size=64 B"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("number: slow_path.cores,", "number: slow_path.cores, load: bulk,", "of a number or a load"),
        ("instead: 16 cores,", "", "instead"),
        ("decides: [slow_path.pass_time]", "decides: [slow_path.cores]", "no cell decides slow_path.cores"),
        ("{load: bulk, instead", "{load: small-ish, instead", "no load small-ish"),
    ],
)
def test_wrong_assumptions_are_refused(old: str, new: str, said: str):
    text = shipped_text("tables.yaml")
    assert old in text
    with pytest.raises(ValueError, match=said):
        read_tables(text.replace(old, new, 1))


def test_intervals_hold_the_value_and_widen_with_noise(found: Reproduction):
    for result in found.results:
        assert result.low <= result.value <= result.high
        if result.cell.role is Role.CALIBRATED:
            noise = TABLES.noise * result.cell.value
            assert result.high - result.value == pytest.approx(noise, rel=0.1)


def test_what_the_article_refutes_is_no_part_of_an_interval(found: Reproduction):
    """The eSwitch's datasheet interval goes down to 40 Mpps, but the article measured 45 through it."""
    assert numbers(shipped()[found.card])["eswitch.packet_time"].high == 25_000
    (baseline,) = (r for r in found.results if r.cell.name == "packets.baseline.offload")
    assert baseline.low == pytest.approx(45 * 0.98, rel=0.01)


def test_a_search_from_nearby_ends_where_one_from_the_priors_ends(found: Reproduction):
    instead = {"packets.pod.software": 15.0}
    whole = calibrate(found.benches, shipped(), TABLES, instead=instead)
    near = calibrate(found.benches, shipped(), TABLES, instead=instead, near=found.calibrated.profiles)
    for one, other in zip(whole.fitted, near.fitted, strict=True):
        assert one.value.value == pytest.approx(other.value.value, rel=1e-6)
        assert one.prior == other.prior


def test_an_unreachable_cell_shows_its_error(found: Reproduction):
    """200 Mpps would need ports and an eSwitch that are not there: nothing is bent to reach it."""
    step = next(s for s in TABLES.calibrate if s.cell == "packets.pod.offload")
    (fitted,) = calibrate(found.benches, shipped(), TABLES, [step], {step.cell: 200.0}).fitted
    assert fitted.error < -0.5


def test_leave_one_out_predicts_without_the_cell(found: Reproduction):
    left = leave_one_out(found.benches, shipped(), TABLES)
    assert [x.cell for x in left] == [step.cell for step in TABLES.calibrate]
    by_cell = {x.cell: x for x in left}
    for x in left:
        assert x.low <= x.value <= x.high
        assert x.low <= TABLES.cells[x.cell].value <= x.high, "the priors' intervals hold what was measured"
    # What no other cell knows stands at the prior: 80 Mpps / (1 + 1) of the eSwitch with its prior of one packet time per pass.
    assert by_cell["packets.pod.offload"].value == pytest.approx(40.0, rel=0.01)
    assert not by_cell["packets.pod.offload"].by
    # The offloaded latency is the baseline's with little on top, so it knows the baseline.
    assert by_cell["latency.baseline.offload"].by[0][0] == "latency.pod.offload"


def test_another_choice_of_cells_predicts_about_as_well(found: Reproduction):
    choices = sibling_choices(found.benches, shipped(), TABLES)
    assert len(choices) == sum(len(step.siblings) for step in TABLES.calibrate)
    for choice in choices:
        assert abs(choice.error) <= TABLES.target_each, choice
        assert choice.median <= TABLES.target_median, choice
        assert choice.worst_cell != choice.sibling


def test_the_engine_agrees_with_the_formulas(found: Reproduction):
    """Two cells that a closed loop gives, and one where the slow path is the limit; the rest is in `ytwin reproduce`."""
    from ytwin.article.reproduce import simulated  # noqa: PLC0415 - compiles

    for name in ("latency.pod.software", "requests.pod.offload", "packets.node.software"):
        cell = TABLES.cells[name]
        engine = simulated(found.benches, found.calibrated.profiles, cell, TABLES, seed=3)
        assert engine.value == pytest.approx(value_of(found.benches, found.calibrated.profiles, cell), rel=0.01)
        assert engine == simulated(found.benches, found.calibrated.profiles, cell, TABLES, seed=3), (
            "replayed by its seed"
        )


def test_texts_and_json_say_the_same(found: Reproduction):
    document = json.loads(json.dumps(to_json(found)))
    assert document["summary"]["text"] == summary(found)
    assert [c["cell"] for c in document["cells"]] == list(TABLES.cells)
    assert {c["cell"] for c in document["cells"] if c["role"] == "calibrated"} == {s.cell for s in TABLES.calibrate}
    assert all(c["rests_on"] for c in document["cells"])
    cells = listings(found)[0]
    assert len(cells.rows) == len(TABLES.cells)
    assert not cells.bad


@pytest.mark.parametrize(
    ("value", "text"), [(0.69, "0.69"), (151.743, "151.7"), (15151.5, "15,152"), (122613.0, "122,613"), (0.0, "0")]
)
def test_numbers_are_shown_with_four_digits(value: float, text: str):
    assert shown(value) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.0466, "+4.7 %"), (-0.0181, "-1.8 %"), (-1e-9, "0.0 %"), (1e-9, "0.0 %"), (-0.0004, "0.0 %")]
)
def test_ratios_are_shown_in_per_cent(ratio: float, text: str):
    assert percent(ratio) == text


def _worse(monkeypatch: pytest.MonkeyPatch, found: Reproduction, name: str, factor: float) -> Reproduction:
    """The reproduction with one cell predicted otherwise."""
    results = tuple(replace(r, value=r.value * factor) if r.cell.name == name else r for r in found.results)
    other = replace(found, results=results)
    monkeypatch.setattr(pipeline, "reproduce", lambda *_: other)
    return other


def test_command_holds_to_stated_errors(monkeypatch, capsys, found):
    _worse(monkeypatch, found, "latency.node.offload", 1.0)
    assert main(["reproduce"]) == 0
    assert "14 of 14 predicted cells are within 5 %" in capsys.readouterr().out
    _worse(monkeypatch, found, "latency.node.offload", 1.02)
    assert main(["reproduce"]) == 1, "within the target, but not what is stated"
    said = capsys.readouterr().out
    assert "More than the stated error: latency.node.offload" in said
    assert "OUTSIDE" not in said


def test_command_shows_a_cell_outside_of_the_target(monkeypatch, capsys, found):
    other = _worse(monkeypatch, found, "bandwidth.pod.software", 0.9)
    assert main(["reproduce", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["summary"]["outside"] == ["bandwidth.pod.software"]
    assert document["summary"]["within_target"] == 13
    assert 5 in listings(other)[0].bad
    assert "OUTSIDE" in listings(other)[0].rows[5]


def test_command_writes_a_report(monkeypatch, capsys, found, tmp_path):
    _worse(monkeypatch, found, "latency.node.offload", 1.0)
    file = tmp_path / "report.html"
    assert main(["reproduce", "--html", str(file), "--no-leave-one-out"]) == 0
    text = file.read_text(encoding="utf-8")
    assert "--no-leave-one-out" in text
    assert summary(found).split(",")[0] in text.replace("\u00a0", " ")
    capsys.readouterr()
    assert main(["reproduce", "--html", str(tmp_path / "no" / "report.html")]) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize("width", [1280, 390])
def test_report_opens_in_a_browser(found: Reproduction, tmp_path, width: int):
    said = opened(report_page(found, "ytwin reproduce").html(), width, tmp_path)
    assert said["problems"] == []
    assert said["sideways"] == 0, "the page scrolls sideways"
    assert said["over"] == 0
    bars = [2 * len(TABLES.of(table.name)) for table in TABLES.tables]
    assert said["plots"][: len(bars)] == bars, "article and twin, each cell"
    assert len(said["plots"]) == len(bars) + 3


def test_the_shipped_profile_is_what_the_calibration_gives(found: Reproduction):
    made = numbers(article_profile(found.benches, shipped(), found.tables, found.calibrated))
    there = numbers(shipped()[NAME])
    assert made.keys() == there.keys()
    for path, number in made.items():
        told = "write the file again with `ytwin reproduce --profile`"
        assert (there[path].kind, there[path].source) == (number.kind, number.source), f"{path}: {told}"
        for one, other in zip(ends(there[path]), ends(number), strict=True):
            assert one == pytest.approx(other, rel=1e-6), f"{path}: {told}"


def ends(number: Quantity) -> tuple[float, float, float]:
    return number.low, number.value, number.high
