"""Routers' flows with a memo are those without one, from one random Northbound to a changed one and back. Needs no OVN."""

from __future__ import annotations

from random import Random

import pytest
from northd_router_networks import RandomNetwork

from ytwin.core.memo import Memo
from ytwin.logical.southbound import LogicalFlow
from ytwin.northbound.rows import (
    LoadBalancer,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitchPort,
    Northbound,
    RouterPolicy,
    StaticRoute,
)
from ytwin.northd.collect import Collector
from ytwin.northd.model import resolve
from ytwin.northd.router import router_flows


def without_some_rows(northbound: Northbound, random: Random) -> Northbound:
    """The Northbound less a few rows that nothing refers to."""
    rows = []
    for row in northbound.rows.values():
        match row:
            case StaticRoute() | RouterPolicy() | LogicalSwitchPort() if random.random() < 0.2:
                continue
            case LoadBalancer() if random.random() < 0.2:
                rows.append(LoadBalancer(row.name, row.vips, "udp"))
            case LogicalRouter() if random.random() < 0.3:
                rows.append(LogicalRouter(row.name, row.load_balancer[1:], row.load_balancer_group, row.options))
            case LogicalRouterPort() if random.random() < 0.2:
                rows.append(LogicalRouterPort(row.name, row.router, row.mac, row.networks[:1], row.options))
            case _:
                rows.append(row)
    return Northbound.of(rows)


def router_rows(northbound: Northbound, memo: Memo) -> set[LogicalFlow]:
    """What the router half alone makes."""
    collector = Collector()
    router_flows(resolve(northbound, memo), collector)
    return set(collector.done())


@pytest.mark.parametrize("seed", range(60))
def test_a_memo_changes_nothing(seed: int) -> None:
    first = RandomNetwork(seed).build()
    second = without_some_rows(first, Random(seed))
    memo = Memo()
    for northbound in (first, second, second, first):
        assert router_rows(northbound, memo) == router_rows(northbound, Memo())
        memo.advance()


def test_a_seed_gives_one_northbound() -> None:
    assert RandomNetwork(7).build().rows == RandomNetwork(7).build().rows
