"""Studies as people write them, and what is wrong with some."""

from __future__ import annotations

import pytest

from tests.study_cases import HEAD, job_of
from ytwin.core.errors import InvalidInput
from ytwin.study.amounts import amount, condition, ladder, named, shown, written
from ytwin.study.definition import decode_study
from ytwin.study.designs import levels, quantile, variants
from ytwin.study.model import Distribution
from ytwin.study.texts import amount_text

PARAMETER = """
  parameters:
  - {path: nodes.*.card, name: card, values: [a, b]}
  - {path: load.flows, values: [1, 2, 3]}
"""


def wrong(body: str, head: str = HEAD) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        decode_study("s.yaml", head + body)
    return [f"{p.where.line} {p.where.path}: {p.message}" for p in caught.value.problems]


def test_a_grid_has_all_combinations_in_the_order_written():
    found = [v.values for v in variants(job_of(PARAMETER).study.spec)]
    assert found[:2] == [(("card", "a"), ("load.flows", 1)), (("card", "a"), ("load.flows", 2))]
    assert len(found) == len(set(found)) == 6


def test_choices_change_several_paths_together():
    spec = job_of(
        """
  parameters:
  - name: way
    choices:
      hardware: {nodes.*.card: a, load.flows: 4}
      software: {nodes.*.card: b}
"""
    ).study.spec
    assert [dict(v.settings) for v in variants(spec)] == [
        {"nodes.*.card": "a", "load.flows": 4},
        {"nodes.*.card": "b"},
    ]
    assert levels(spec.parameters[0]) == ("hardware", "software")


def test_ranges_have_both_ends_and_their_unit():
    assert ladder("1 kpps", "1 Mpps", 4, log=True) == ("1 kpps", "10 kpps", "100 kpps", "1 Mpps")
    assert ladder(1, 9, 3, log=False) == (1, 5, 9)
    assert ladder("64 B", "1500 B", 2, log=False) == ("64 B", "1500 B")
    assert ladder("1 k/s", "100 k/s", 4, log=True) == ("1 k/s", "4.642 k/s", "21.54 k/s", "100 k/s")
    assert ladder("1.00001 Mpps", "1.00002 Mpps", 3, log=False) == ("1.00001 Mpps", "1.000015 Mpps", "1.00002 Mpps")
    assert len(set(ladder(1, 1.001, 10_000, log=True))) == 10_000


def test_ranges_of_counts_are_whole():
    spec = job_of(
        """
  parameters:
  - {path: load.flows, logRange: {from: 10, to: 100000, steps: 7}}
  - {path: load.packetsPerFlow, range: {from: 1, to: 3, steps: 9}}
  - {path: services.count, distribution: {low: 1, high: 9}}
  - {path: load.size, logRange: {from: 64 B, to: 65 B, steps: 3}}
  design: {kind: random, points: 20}
  goal: {limit: {parameter: model.keys, from: 1, to: 9, while: [nodes < 1]}}
  model: none
"""
    ).study.spec
    assert levels(spec.parameters[0]) == (10, 46, 215, 1000, 4642, 21544, 100000)
    assert levels(spec.parameters[1]) == (1, 2, 3)
    assert {v["services.count"] for v in variants(spec)} <= set(range(1, 10))
    assert levels(spec.parameters[3])[1] not in ("64 B", "65 B")
    assert spec.goal.limit is not None
    assert spec.goal.limit.whole


def test_a_range_may_be_whole_by_itself():
    spec = job_of("  parameters: [{path: load.size, range: {from: 64 B, to: 67 B, steps: 5, whole: true}}]").study.spec
    assert levels(spec.parameters[0]) == ("64 B", "65 B", "66 B", "67 B")


@pytest.mark.parametrize(
    ("text", "base"), [("1.5 kpps", 1500.0), ("3", 3.0), (7, 7.0), ("2 ms", 2e9), ("9_000 B", 9000.0), ("1 %", 0.01)]
)
def test_amounts_are_read_and_written(text: object, base: float):
    found = amount(text)
    assert found is not None
    assert found.value == pytest.approx(base)
    again = amount(written(found.value, found.dimension))
    assert again is not None
    assert again.value == pytest.approx(base)


def test_conditions_compare_in_their_units():
    assert condition("latency_p99 < 1 ms").holds({"latency_p99_us": 999.0})
    assert not condition("latency_p99 < 1 ms").holds({"latency_p99_us": 1000.0})
    assert condition("loss <= 0.01 %").holds({"loss_ratio": 0.0001})
    assert condition("packet_rate >= 10 Mpps").holds({"packet_rate_mpps": 10.0})
    assert condition("host_cores < 4").holds({"host_cores": 3.0})
    with pytest.raises(ValueError, match="is a time, not a rate"):
        condition("latency_p99 < 1 Mpps").holds({"latency_p99_us": 1.0})
    assert named("latency_p99", ("latency_us", "latency_p99_us")) == "latency_p99_us"
    assert shown(0.0123, "loss_ratio") == "1.23 %"


def test_every_problem_has_its_line():
    found = wrong(
        """
  parameters:
  - {path: nodes.*.crd, values: [a]}
  - {path: load.flows, values: [1], range: {from: 1, to: 2, steps: 2}}
  goal:
    limit: {parameter: load.rate, from: 1 Mpps, to: 2 ms, while: [fast]}
"""
    )
    assert [text.partition(":")[0] for text in found] == ["13 spec.parameters[1]", "15 spec.goal.limit"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("  parameters: [{path: nodes.*.crd, values: [a]}]", "names nothing that a study can change"),
        ("  parameters: [{path: topology.Nod.x.spec.y, values: [a]}]", "the twin reads no kind 'Nod'"),
        ("  parameters: [{path: generate.services, values: [1]}]", "the topology is not generated"),
        ("  parameters: [{path: load.rate, distribution: {low: 1, high: 2}}]", "no use for a distribution"),
        ("  parameters: [{path: load.rate, values: [1, 1]}]", "names one twice"),
        ("  parameters: [{path: load.rate}]", "exactly one of values"),
        ("  parameters: [{path: load.rate, logRange: {from: 0, to: 2, steps: 3}}]", "not above 0"),
        ("  parameters: [{path: a, values: [1], valeus: [2]}]", "no field valeus"),
        ("  goal: {limit: {parameter: load.rate, from: 1, to: 2, while: [fast]}}", "'fast' is no condition"),
        ("  goal: {limit: {parameter: load.rate, from: 1, to: 2, while: []}}", "at least 1"),
        ("  goal: {sensitivity: {of: limit}}", "there is no limit"),
        ("  goal: {compare: {parameter: card, a: x, b: y}}", "no parameter 'card'"),
        ("  plots: [{x: card, y: latency}]", "no parameter 'card'"),
        ("  design: {kind: sobol}", "they need it"),
        ("  design: {kind: random, points: 4}", "there are no parameters"),
        (
            "  design: {kind: random, points: 4}\n  parameters: [{path: load.flows, values: [1, 2]}]\n"
            "  goal: {compare: {parameter: load.flows, a: 1, b: 2}}",
            "the only parameter is compared",
        ),
        ("  replications: {atLeast: 4}", "formulas give the same every time"),
        ("  replications: {atLeast: 1, atMost: 4, metric: latency}", "`atMost` needs"),
        ("  parameters: [{path: load.size, values: [64 B, 128 B, 0.064 kB]}]", "names one twice: 64 B is 0.064 kB"),
        ("  parameters: [{path: load.flows, values: [0, 0]}]", "names one twice"),
        (
            "  parameters: [{path: load.rate, name: a, values: [1]}, {path: load.rate, name: b, values: [2]}]",
            "load.rate is set by the parameter 'a' too",
        ),
        (
            "  parameters: [{path: card.slowPath.queue, values: [1]}, {name: b, choices: {c: {card.slow_path.queue: 2}}}]",
            "card.slow_path.queue is set by the parameter 'card.slowPath.queue' too",
        ),
        ("  parameters: [{path: load.flows, name: ending, values: [1]}]", "answer.csv has another column 'ending'"),
        ("  parameters: [{path: load.flows, name: loss_ratio.low, values: [1]}]", "another column"),
        (
            "  parameters: [{path: load.flows, values: [1, 2]}]\n"
            "  plots: [{x: load.flows, y: latency, only: {load.flows: 3}}]",
            "load.flows is never '3'",
        ),
        ("  parameters: [{path: load.flows, name: off, values: [1]}]", "false: input should be a valid string"),
        ("  seed: -1", "greater than or equal to 0"),
        ("  engine: quick", "input should be"),
    ],
)
def test_what_is_wrong_is_said(body: str, said: str):
    found = wrong(body)
    assert any(said in text for text in found), found
    assert all(not text.startswith("0 ") for text in found), found


def test_a_word_that_yaml_takes_for_a_truth_value_is_explained():
    with pytest.raises(InvalidInput) as caught:
        decode_study("s.yaml", HEAD + "  parameters: [{path: load.flows, name: off, values: [1]}]")
    assert "write the word in quotes" in caught.value.problems[0].hint


def test_two_columns_of_one_name_are_refused_only_where_both_are_there():
    body = "  parameters: [{path: load.flows, name: loss_ratio, values: [1]}]\n  goal: {metrics: [latency]}"
    assert job_of(body)


def test_requests_are_told_per_second_and_packets_in_pps():
    assert ladder("1 k/s", "100 k/s", 3, log=True) == ("1 k/s", "10 k/s", "100 k/s")
    assert ladder("1 kpps", "1 Mpps", 2, log=True) == ("1 kpps", "1 Mpps")
    assert written(2e6, "rate", "3 /s") == "2 M/s"
    assert written(2e6, "rate") == "2 Mpps"


def test_counts_and_frequencies_keep_their_kind():
    assert amount_text(9000, "count", "50000 instructions") == "9000 instructions"
    assert amount_text(250_000, "count", "50000 instructions") == "250,000 instructions"
    assert amount_text(2e9, "frequency", "2.1 GHz") == "2 GHz"


@pytest.mark.parametrize(
    ("low", "high", "digits"), [("1 kpps", "1 Mpps", 4), ("1000 kpps", "1001 kpps", 7), ("64 B", "1500 B", 4)]
)
def test_drawn_values_have_few_digits_and_stay_apart(low: str, high: str, digits: int):
    found = {str(quantile(Distribution(low=low, high=high), part / 97)) for part in range(98)}
    assert len(found) == 98
    assert max(len(text.partition(" ")[0].replace(".", "").lstrip("0")) for text in found) <= digits


def test_what_is_no_study_is_refused():
    assert "this is no study" in wrong("", "- 1\n")[0]
    assert any("kind is 'Pod'" in text for text in wrong("", "kind: Pod\n"))
    assert "0 documents" in wrong("", "")[0]
    assert wrong("", "a: [\n")
    assert any(
        "did you mean question" in text or "no field qestion" in text
        for text in wrong("", HEAD.replace("question", "qestion"))
    )


@pytest.mark.parametrize("name", ["../evil/x", "A", "a_b", "-a", "a.", "x" * 64, "a/b", "ü"])
def test_a_study_is_named_like_a_folder(name: str):
    assert "is no name of a study" in wrong("", HEAD.replace("{name: test}", f"{{name: {name!r}}}"))[0]


def test_a_limit_and_a_parameter_cannot_be_the_same():
    body = """
  parameters: [{path: load.rate, values: [1 Mpps]}]
  goal: {limit: {parameter: load.rate, from: 1 pps, to: 2 pps, while: [loss < 1 %]}}
"""
    assert "load.rate is a parameter too" in wrong(body)[0]
