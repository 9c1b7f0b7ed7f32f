"""Routers' logical flows of seeded random Northbounds: the twin's are stock ovn-northd's, to the letter and both ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from northd_router_networks import RandomNetwork
from northd_router_support import differences, real_flows, twin_flows

from deployer.sandbox import OvnSandbox

PER_CASE = 40


@pytest.fixture(scope="module")
def ovn() -> Iterator[OvnSandbox]:
    with OvnSandbox() as sandbox:
        yield sandbox


@pytest.mark.ovn
@pytest.mark.parametrize("first", range(0, 5 * PER_CASE, PER_CASE))
def test_flows_of_random_routers_are_northds(ovn: OvnSandbox, first: int) -> None:
    wrong = []
    for seed in range(first, first + PER_CASE):
        different = differences(RandomNetwork(seed).build(), ovn)
        if different:
            wrong.append(f"seed {seed}:\n{different}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.ovn
def test_the_comparison_notices_one_changed_row(ovn: OvnSandbox) -> None:
    """Without this, a comparison that reads nothing would pass."""
    one, other = RandomNetwork(1).build(), RandomNetwork(2).build()
    assert twin_flows(one) != real_flows(ovn, other)
    assert twin_flows(other) == real_flows(ovn, other)
