"""ARP and ND for addresses that a router owns go to that router's port instead of being flooded."""

from __future__ import annotations

from ytwin.logical.southbound import LogicalFlow
from ytwin.northd.collect import Flows
from ytwin.northd.model import RouterPort, SwitchPort
from ytwin.northd.stages import Stage

_NOT_VXLAN = "flags[1] == 0"


def _forward(flows: Flows, port: SwitchPort, ip: str, family: int, flood: bool) -> None:
    wanted = f"arp.op == 1 && arp.tpa == {ip}" if family == 4 else f"nd_ns && nd.target == {ip}"
    send = f"outport = {port.json}; output;"
    if flood:
        send = f'clone {{outport = {port.json}; output; }}; outport = "_MC_flood_l2"; output;'
    flows.add(port.where, Stage.LS_IN_L2_LKUP, 80, f"{_NOT_VXLAN} && {wanted}", send, port.source)


def owned_address_flows(port: SwitchPort, peer: RouterPort, flood: bool) -> tuple[LogicalFlow, ...]:
    """For the router port's own addresses; `flood`: the switch has other ports than connected router ports."""
    flows = Flows()
    for net in peer.networks.v4:
        _forward(flows, port, net.ip, 4, flood)
    for net in peer.networks.v6:
        _forward(flows, port, net.ip, 6, flood)
    return flows.done()


def vip_address_flows(port: SwitchPort, vips: tuple[tuple[int, str], ...], flood: bool) -> tuple[LogicalFlow, ...]:
    """For the VIPs (family, address) of the router's load balancers that lie in a network of its port here."""
    flows = Flows()
    for family, ip in vips:
        _forward(flows, port, ip, family, flood)
    return flows.done()


def self_originated_flows(port: SwitchPort, peer: RouterPort) -> tuple[LogicalFlow, ...]:
    """What the router itself asks is flooded to the ports that are no routers."""
    flows = Flows()
    match = f"eth.src == {{{peer.networks.mac}}} && (arp.op == 1 || rarp.op == 3 || nd_ns)"
    flows.add(port.where, Stage.LS_IN_L2_LKUP, 75, match, 'outport = "_MC_flood_l2"; output;', port.source)
    return flows.done()
