"""The benchmark runs, checks itself, and writes the numbers it prints."""

from __future__ import annotations

import json
import sys

import pytest

from experiments import bench
from experiments.bench import Comparison, Timing


@pytest.mark.ovn
def test_small_benchmark_writes_its_numbers(tmp_path, monkeypatch, capsys):
    file = tmp_path / "bench.json"
    monkeypatch.setattr(sys, "argv", ["bench", "--small", "--runs", "1", "--json", str(file)])
    assert bench.main() == 0
    numbers = json.loads(file.read_text())
    assert numbers["services"] == 200
    assert numbers["flows"] > 1000
    assert numbers["trace_flows"] > 4000
    lines = {line["what"]: line for line in numbers["comparisons"]}
    assert {"compile + flows", "one more Service", "single trace"} <= lines.keys()
    for line in lines.values():
        assert line["ratio"] == pytest.approx(line["ours"]["median_s"] / line["ovn"]["median_s"])
    assert "ours / OVN" in capsys.readouterr().out


def test_median_and_ratio():
    assert Timing.of([3.0, 1.0, 2.0]) == Timing(2.0, 1.0, 3.0)
    assert Comparison("x", Timing.of([1.0]), Timing.of([4.0])).ratio == 0.25
