"""A large apply beside the bare transaction of the same rows, in one run.

Others share the machine: what they spoil is measured again, a few times. `experiments.deploybench` prints the figures.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from deployer.sandbox import OvnSandbox, missing_binaries
from experiments.deploybench import Bench
from ytwin.cli import COLLECTOR_THRESHOLDS

pytestmark = [
    pytest.mark.alone,
    pytest.mark.ovn,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_binaries()), reason=f"not installed: {', '.join(missing_binaries())}"),
]


@pytest.fixture
def bench() -> Iterator[Bench]:
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)  # as the command line does
    with OvnSandbox(separate=True) as ovn:
        ovn.northd_appctl("pause")
        yield Bench(ovn, 10_000)
    gc.set_threshold(*before)


def test_ten_thousand_services_take_at_most_twice_the_databases_own_time(bench: Bench) -> None:
    bench.bare()
    ratios: list[float] = []
    while not ratios or (ratios[-1] > 2 and len(ratios) < 4):
        pairs = [(bench.bare(), bench.apply()) for _ in range(3)]
        bare_s, apply_s = (min(cost.wall_s for cost in column) for column in zip(*pairs, strict=True))
        ratios.append(apply_s / bare_s)
    assert ratios[-1] <= 2, ratios
    change = bench.change()
    assert change["changes"] == 1
    assert change["operations"] <= 6
