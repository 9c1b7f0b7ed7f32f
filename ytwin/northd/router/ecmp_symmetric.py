"""`ecmp_symmetric_reply` on gateway routers: replies leave through the next hop that the connection came in by."""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.northbound.rows import StaticRoute
from ytwin.northd.addresses import Net
from ytwin.northd.router import registers as reg
from ytwin.northd.router.flow import Flow
from ytwin.northd.router.view import PortView
from ytwin.northd.stages import Stage

REPLY_PORT = "ct_mark.ecmp_reply_port"


def symmetric_reply_flows(
    row: StaticRoute, version: int, prefix: Net, port: PortView, source_ip: str, route_match: str
) -> Iterator[Flow]:
    """Flows for the member route `row` through `port`: connections in by it remember MAC and port; replies go there."""
    source = str(row.key)
    whole = prefix.plen == (32 if version == 4 else 128)
    cidr = prefix.network if whole else f"{prefix.network}/{prefix.plen}"
    direction = "dst" if row.policy == "src-ip" else "src"
    came_in = f"inport == {port.key} && ip{version}.{direction} == {cidr}"
    yield Flow(Stage.LR_IN_DEFRAG, 100, came_in, f"{reg.KNOWN_ECMP_NH} = chk_ecmp_nh_mac(); ct_next;", source)
    yield Flow(Stage.LR_IN_DEFRAG, 100, route_match, f"{reg.KNOWN_ECMP_NH} = chk_ecmp_nh(); ct_next;", source)

    for state, unknown in (("(ct.new && !ct.est)", ""), ("(!ct.rpl && ct.est)", f" && {reg.KNOWN_ECMP_NH} == 0")):
        for protocol in ("tcp", "udp", "sctp"):
            commit = (
                f"ct_commit {{ ct_label.ecmp_reply_eth = eth.src;  {REPLY_PORT} = {port.tunnel_key};}}; "
                f"commit_ecmp_nh(ipv6 = {'true' if version == 6 else 'false'}, proto = {protocol}); next;"
            )
            match = f"{came_in} && {state} && {protocol}{unknown}"
            yield Flow(Stage.LR_IN_ECMP_STATEFUL, 100, match, commit, source)

    reply = f"ct.rpl && {reg.KNOWN_ECMP_NH} == 1 && {REPLY_PORT} == {port.tunnel_key}"
    back = f"ip.ttl--; flags.loopback = 1; eth.src = {port.mac}; {reg.SRC[version]} = {source_ip}; outport = {port.key}; next;"
    yield Flow(Stage.LR_IN_IP_ROUTING, 10300, f"{reply} && {route_match}", back, source)
    yield Flow(Stage.LR_IN_POLICY, 65535, reply, "next;", source)
    restore = (
        f"push({reg.ECMP_ETH_FULL}); {reg.ECMP_ETH_FULL} = ct_label; eth.dst = {reg.ECMP_ETH_FIELD}; "
        f"pop({reg.ECMP_ETH_FULL}); next;"
    )
    yield Flow(Stage.LR_IN_ARP_RESOLVE, 200, reply, restore, source)
