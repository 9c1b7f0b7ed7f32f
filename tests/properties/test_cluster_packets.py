"""Capacity by flows against packets: utilisation of every station, and the scale at which packets begin to be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.capacity import CASES, STATED, compare_case

ROOT = Path(__file__).parents[2] / "topologies"
CHOSEN = [case for case in CASES if case[1] in ("bluefield-2", "yusur-dpu-2x100g") and "requests" not in case[2]]


@pytest.mark.parametrize("case", CHOSEN, ids=" ".join)
def test_flows_say_what_packets_meet(case: tuple[str, str, str]) -> None:
    """A third of the packets of `experiments.capacity`, which prints the errors of all cases."""
    found = compare_case(case, ROOT, seed=7, jobs=80_000)
    assert abs(found.scale_error) < STATED
    assert found.utilisation_error < STATED
