"""Flows of one switch port: MAC learning, ARP/ND answers, unicast lookup, no conntrack at router and localnet ports."""

from __future__ import annotations

from ytwin.logical.southbound import LogicalFlow
from ytwin.northd.addresses import Addresses, parse_mac
from ytwin.northd.balancers import flag
from ytwin.northd.collect import Flows
from ytwin.northd.model import Router, SwitchPort
from ytwin.northd.stages import Stage
from ytwin.northd.switch.registers import LOOKUP_FDB


def port_flows(port: SwitchPort, router: Router | None, localnet: bool) -> tuple[LogicalFlow, ...]:
    """All flows of a port that need no more than the port; `router` is its peer's, `localnet`: its switch has a localnet port."""
    flows = Flows()
    _learn(flows, port)
    if port.is_localnet:
        flows.add(port.where, Stage.LS_IN_ARP_RSP, 100, f"inport == {port.json}", "next;", port.source)
    if not port.unknown:
        for addresses in port.addresses:
            _answer(flows, port, addresses)
    if port.peer is not None:
        _skip_conntrack(flows, port)
    _lookup(flows, port, router, localnet)
    return flows.done()


def localnet_flows(port: SwitchPort) -> tuple[LogicalFlow, ...]:
    """A localnet port of a switch without VIPs stays out of conntrack."""
    flows = Flows()
    _skip_conntrack(flows, port)
    return flows.done()


def _skip_conntrack(flows: Flows, port: SwitchPort) -> None:
    flows.add(port.where, Stage.LS_IN_PRE_LB, 110, f"ip && inport == {port.json}", "next;", port.source)
    flows.add(port.where, Stage.LS_OUT_PRE_LB, 110, f"ip && outport == {port.json}", "ct_clear; next;", port.source)


def _learn(flows: Flows, port: SwitchPort) -> None:
    """Learn MACs behind a port with "unknown" and no port security; at localnet ports only if asked for."""
    learns = port.row.type == "" or (port.is_localnet and flag(port.row.options, "localnet_learn_fdb"))
    if port.port_security or not port.unknown or not learns:
        return
    match = f"inport == {port.json}"
    look, put = f"{LOOKUP_FDB} = lookup_fdb(inport, eth.src); next;", "put_fdb(inport, eth.src); next;"
    flows.add(port.where, Stage.LS_IN_LOOKUP_FDB, 100, match, look, port.source)
    flows.add(port.where, Stage.LS_IN_PUT_FDB, 100, f"{match} && {LOOKUP_FDB} == 0", put, port.source)


def _answer(flows: Flows, port: SwitchPort, addresses: Addresses) -> None:
    """Answer ARP and ND for the port's addresses, but not to the port itself (it may be looking for a duplicate)."""
    mac, stage = addresses.mac, Stage.LS_IN_ARP_RSP
    for net in addresses.v4:
        match = f"arp.tpa == {net.ip} && arp.op == 1"
        reply = (
            f"eth.dst = eth.src; eth.src = {mac}; arp.op = 2; /* ARP reply */ arp.tha = arp.sha; arp.sha = {mac}; "
            f"arp.tpa = arp.spa; arp.spa = {net.ip}; outport = inport; flags.loopback = 1; output;"
        )
        flows.add(port.where, stage, 50, match, reply, port.source)
        flows.add(port.where, stage, 100, f"{match} && inport == {port.json}", "next;", port.source)
    action = "nd_na_router" if port.is_router else "nd_na"
    for net in addresses.v6:
        match = f"nd_ns && ip6.dst == {{{net.ip}, {net.solicited_node}}} && nd.target == {net.ip}"
        reply = (
            f"{action} {{ eth.src = {mac}; ip6.src = {net.ip}; nd.target = {net.ip}; nd.tll = {mac}; "
            f"outport = inport; flags.loopback = 1; output; }};"
        )
        flows.add(port.where, stage, 50, match, reply, port.source)
        flows.add(port.where, stage, 100, f"{match} && inport == {port.json}", "next;", port.source)


def _lookup(flows: Flows, port: SwitchPort, router: Router | None, localnet: bool) -> None:
    """Packets to the port's MACs go to it."""
    send = f"outport = {port.json}; output;"
    for text in sorted(set(port.row.addresses)):
        if text == "router":
            if port.peer is not None and router is not None:
                match = f"eth.dst == {port.peer.networks.mac}" + _resident(port, router, localnet)
                flows.add(port.where, Stage.LS_IN_L2_LKUP, 50, match, send, port.source)
        elif text != "unknown" and (mac := parse_mac(text.split()[0] if text.split() else "")) is not None:
            flows.add(port.where, Stage.LS_IN_L2_LKUP, 50, f"eth.dst == {mac}", send, port.source)


def _resident(port: SwitchPort, router: Router, localnet: bool) -> str:
    """With a localnet port here and a DGP on the router, the router's MAC may live on the gateway chassis only."""
    peer = port.peer
    if peer is None or not router.dgps or not localnet:
        return ""
    if peer.is_dgp:
        return f" && is_chassis_resident({peer.cr_json})"
    if flag(peer.row.options, "reside-on-redirect-chassis") and len(router.dgps) == 1:
        return f" && is_chassis_resident({router.dgps[0].cr_json})"
    return ""
