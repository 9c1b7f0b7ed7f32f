"""Routes made by hand, without programs and profiles: what the engines are asked about is plain to see."""

from __future__ import annotations

from collections.abc import Sequence

from frozendict import frozendict

from ytwin.performance.legs import CardTable, Leg, Route
from ytwin.performance.types import Demand, LatencyPart, Metric, PathCost, Prediction, Share, Value
from ytwin.sim.distributions import PerByte

Work = tuple[Share, str, float, int]
"""Resource, chassis, picoseconds, servers."""


def cost(works: Sequence[Work], host_ps: float = 0.0, rest_ps: float = 0.0) -> PathCost:
    """A packet; `host_ps` is the varying part of its latency and holds all its work."""
    demands = tuple(Demand(share, at, ps, servers, "by hand", ()) for share, at, ps, servers in works)
    parts = (LatencyPart("stacks", "a", host_ps, ("host.latency",)), LatencyPart("rest", "a", rest_ps, ()))
    return PathCost(demands, parts, frozendict())


def leg(
    works: Sequence[Work], host_ps: float = 0.0, rest_ps: float = 0.0, scv: float = 0.0, per_byte: bool = False
) -> Leg:
    """`per_byte`: work is that of one byte."""
    one = cost(works, host_ps, rest_ps)
    return Leg(one, {d.name: PerByte(0, d.service_ps) for d in one.demands} if per_byte else {}, scv)


def route(forward: Leg, reply: Leg | None = None, name: str = "backend", tables: tuple[CardTable, ...] = ()) -> Route:
    """First packets and those in software are like all others."""
    back = reply if reply is not None else leg([])
    return Route(name, 1.0, forward, back, (forward, back), (forward, back), (), tables)


def formulas(one: Route, *values: Value) -> Prediction:
    """What an engine gets from the formulas."""
    return Prediction(values, one.forward.cost.limit.name, one.forward.cost, one.reply.cost, "analytic")


def number(metric: Metric, value: float) -> Value:
    """Without interval."""
    return Value(metric, value, value, value)
