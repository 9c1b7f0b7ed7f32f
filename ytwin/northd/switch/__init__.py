"""The switch half of northd: every logical flow of Logical_Switch datapaths.

`defaults` are flows that only depend on what kind of switch it is, `ports` those of one port, `arp` keeps ARP/ND for a router's
addresses from being flooded, `balance` are a load balancer's. ACL, QoS, DHCP, DNS and multicast snooping rows do not exist in our
Northbound; the flows that northd emits without them are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ytwin.logical.southbound import LogicalFlow
from ytwin.northd.collect import Collector, Group, group_of
from ytwin.northd.model import Model, Switch, pack
from ytwin.northd.switch.arp import owned_address_flows, self_originated_flows, vip_address_flows
from ytwin.northd.switch.balance import balancers_flows
from ytwin.northd.switch.defaults import common_flows, unknown_flows, vip_flows
from ytwin.northd.switch.ports import localnet_flows, port_flows

__all__ = ["switch_flows"]


def switch_flows(model: Model, collector: Collector) -> None:
    """Give the collector every flow of every switch."""
    for flows in _all(model):
        collector.extend(flows)


def _all(model: Model) -> Iterator[tuple[LogicalFlow, ...]]:
    call = model.memo.call
    switches = tuple(model.switches.values())
    yield call(common_flows, _group(model, switches))
    for choice in (True, False):
        chosen = [switch for switch in switches if switch.has_vip == choice]
        yield call(vip_flows, _group(model, chosen), choice, model.ct_inv)
        chosen = [switch for switch in switches if any(port.unknown for port in switch.ports) == choice]
        yield call(unknown_flows, _group(model, chosen), choice)
    for switch in switches:
        yield from _port_flows(model, switch)
    for where, balancers in model.balancer_pieces:
        yield call(balancers_flows, where, model.event, balancers)


def _group(model: Model, switches: Iterable[Switch]) -> Group:
    return model.memo.call(pack, *group_of(switch.id for switch in switches))


def _port_flows(model: Model, switch: Switch) -> Iterator[tuple[LogicalFlow, ...]]:
    call = model.memo.call
    flood = len(switch.router_ports) != len(switch.ports)
    localnet = bool(switch.localnet_ports)
    for port in switch.ports:
        peer = port.peer
        if peer is None:
            yield call(port_flows, port, None, False)
            continue
        router = model.routers[peer.row.router]
        yield call(port_flows, port, router, localnet)
        yield call(owned_address_flows, port, peer, flood)
        vips = model.router_balancers[router.id.name].on_link.get(peer.name)
        if vips is not None:
            yield call(vip_address_flows, port, vips, flood)
        if flood:
            yield call(self_originated_flows, port, peer)
    if not switch.has_vip:
        for port in switch.localnet_ports:
            yield call(localnet_flows, port)
