"""CHK_PKT_LEN and LARGER_PKTS: packets that exceed a port's `gateway_mtu` are answered with ICMP "fragmentation needed"."""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.northd.balancers import number
from ytwin.northd.router import registers as reg
from ytwin.northd.router.flow import Flow
from ytwin.northd.router.view import PortView, RouterView
from ytwin.northd.stages import Stage

ETH_HEADER_BYTES = 14
"""northd adds a VLAN header only for a localnet port's `tag_request`; a `tag` given directly, as here, does not count."""


def gateway_mtu_flows(port: PortView, stage: Stage, match: str, actions: str) -> Iterator[Flow]:
    """`match` -> `actions` at priority 50; with `gateway_mtu` it first measures the packet (frame length, hence + L2 header).

    Packets that `gateway_mtu_bypass` matches are not measured (priority 55).
    """
    mtu = number(port.options.get("gateway_mtu"))
    if mtu <= 0:
        yield Flow(stage, 50, match, actions, port.source)
        return
    frame = mtu + ETH_HEADER_BYTES
    yield Flow(stage, 50, match, f"{reg.PKT_LARGER} = check_pkt_larger({frame}); {actions}", port.source)
    bypass = port.options.get("gateway_mtu_bypass")
    if bypass is not None:
        yield Flow(stage, 55, f"{match} && ({bypass})", actions, port.source)


def pkt_len_flows(router: RouterView) -> Iterator[Flow]:
    """CHK_PKT_LEN, LARGER_PKTS and the ingress check of IP_INPUT for every port with a `gateway_mtu`."""
    yield Flow(Stage.LR_IN_CHK_PKT_LEN, 0, "1", "next;")
    yield Flow(Stage.LR_IN_LARGER_PKTS, 0, "1", "next;")
    for port in router.ports:
        mtu = number(port.options.get("gateway_mtu"))
        if mtu <= 0:
            continue
        yield from gateway_mtu_flows(port, Stage.LR_IN_CHK_PKT_LEN, f"outport == {port.key}", "next;")
        yield from _too_big(port, mtu, Stage.LR_IN_IP_INPUT, "")
        for other in router.ports:
            if other is not port:
                yield from _too_big(other, mtu, Stage.LR_IN_LARGER_PKTS, f"outport == {port.key} && ")


def _too_big(port: PortView, mtu: int, stage: Stage, outport: str) -> Iterator[Flow]:
    """The ICMP errors that `port` sends back for packets it received."""

    def flow(version: int, body: str) -> Flow:
        match = f"inport == {port.key} && {outport}ip{version} && {reg.PKT_LARGER} && {reg.EGRESS_LOOPBACK} == 0"
        source = (port.v4 if version == 4 else port.v6)[0].ip
        actions = (
            f"icmp{version}_error {{{reg.EGRESS_LOOPBACK} = 1; {reg.PKT_LARGER} = 0; eth.dst = {port.mac}; "
            f"ip{version}.dst = ip{version}.src; ip{version}.src = {source}; ip.ttl = 255; {body}"
            f"icmp{version}.frag_mtu = {mtu}; next(pipeline=ingress, table=0); }};"
        )
        return Flow(stage, 150, match, actions, port.source)

    if port.v4:
        yield flow(
            4, "icmp4.type = 3; /* Destination Unreachable. */ icmp4.code = 4; /* Frag Needed and DF was Set. */ "
        )
    if port.v6:
        yield flow(6, "icmp6.type = 2; /* Packet Too Big. */ icmp6.code = 0; ")
