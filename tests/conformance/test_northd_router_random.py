"""Routers' logical flows of seeded random Northbounds: the twin's are stock ovn-northd's, to the letter and both ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from northd_oracle import compare, differences, load, our_lines, real_lines
from northd_router_networks import RandomNetwork

from deployer.sandbox import OvnSandbox
from ytwin.northd import northd

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
        wrong += [f"seed {seed}: {line}" for line in compare(ovn, RandomNetwork(seed).build())]
    assert not wrong, "\n".join(wrong)


@pytest.mark.ovn
def test_the_comparison_notices_another_northbound(ovn: OvnSandbox) -> None:
    """Without this, a comparison that reads nothing would pass."""
    one, other = RandomNetwork(1).build(), RandomNetwork(2).build()
    real = real_lines(ovn, load(ovn, other))
    assert list(differences(real, our_lines(northd(one))))
    assert not list(differences(real, our_lines(northd(other))))
