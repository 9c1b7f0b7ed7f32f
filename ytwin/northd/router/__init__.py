"""The router half of northd: all logical flows of Logical_Routers.

`router_flows(model, collector)` gives ready rows to the collector. They are remembered through the model's memo: a router's
base flows by its `RouterView`, the neighbors on a port by the port and its switch, static routes and load balancers in pieces,
by their rows and by the ports or sites that they use. Where northd numbers or chooses in the order of row UUIDs (route tables,
ECMP groups and their members, which of several distributed gateway ports is the first), the order of the rows in the Northbound
stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.logical.southbound import LogicalFlow
from ytwin.northd.balancers import Balancer
from ytwin.northd.chunks import chunks
from ytwin.northd.collect import Collector
from ytwin.northd.datapaths import Model, Router
from ytwin.northd.router.admission import admission_flows, neighbor_flows
from ytwin.northd.router.flow import rows
from ytwin.northd.router.ip_input import ip_input_flows
from ytwin.northd.router.load_balancer import balancers_flows, sites_of
from ytwin.northd.router.nat import delivery_flows, nat_flows
from ytwin.northd.router.neighbors import knows_routers, port_neighbor_flows, routable_vip_flows
from ytwin.northd.router.pkt_len import pkt_len_flows
from ytwin.northd.router.policy import policy_flows
from ytwin.northd.router.resolve import arp_request_flows, arp_resolve_flows, gw_redirect_flows
from ytwin.northd.router.routing import ip_routing_flows
from ytwin.northd.router.static_routes import static_route_flows
from ytwin.northd.router.view import RouterView, router_view

__all__ = ["router_flows"]

_BASE = (
    admission_flows,
    neighbor_flows,
    ip_input_flows,
    nat_flows,
    ip_routing_flows,
    policy_flows,
    arp_resolve_flows,
    pkt_len_flows,
    gw_redirect_flows,
    arp_request_flows,
    delivery_flows,
)


def router_flows(model: Model, collector: Collector) -> None:
    """Add every flow of every router; raises Unsupported for what northd knows and the twin does not."""
    for flows in _all_flows(model):
        collector.extend(flows)


def _all_flows(model: Model) -> Iterator[tuple[LogicalFlow, ...]]:
    memo = model.memo
    views = {name: router_view(model, router) for name, router in model.routers.items()}
    for view in views.values():
        yield memo.call(base_flows, view)
        yield from static_route_flows(memo, view)
    for router in model.routers.values():
        for port, peer in router.peers:
            yield memo.call(port_neighbor_flows, port, peer, model.switches[peer.row.switch], knows_routers(router))
    yield from routable_vip_flows(model, views)
    applied: dict[int, tuple[tuple[Router, ...], list[tuple[str, Balancer]]]] = {}
    for name, routers in model.balancer_routers.items():
        applied.setdefault(id(routers), (routers, []))[1].append((name, model.balancers[name]))
    for routers, named in applied.values():
        sites = sites_of(memo, [views[router.row.name] for router in routers])
        for balancers in chunks(named):
            yield memo.call(balancers_flows, sites, model.event, *balancers)


def base_flows(view: RouterView) -> tuple[LogicalFlow, ...]:
    """The flows of a router that depend neither on static routes nor on switches' other ports nor on single load balancers."""
    return rows(view.where, (flow for concern in _BASE for flow in concern(view)))
