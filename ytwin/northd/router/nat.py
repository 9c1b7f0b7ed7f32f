"""UNSNAT, DEFRAG, DNAT, UNDNAT, SNAT and the other translation stages, as far as they do not depend on single load balancers.

NAT rows are not part of the Northbound; forced SNAT of load-balanced connections is.
"""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.northd.router import registers as reg
from ytwin.northd.router.flow import Flow
from ytwin.northd.router.view import RouterView
from ytwin.northd.stages import Stage


def nat_flows(router: RouterView) -> Iterator[Flow]:
    """Defaults of the translation stages, the flows of a router with any VIP, and forced SNAT."""
    for stage in (
        Stage.LR_IN_DEFRAG,
        Stage.LR_IN_UNSNAT,
        Stage.LR_OUT_SNAT,
        Stage.LR_IN_DNAT,
        Stage.LR_OUT_UNDNAT,
        Stage.LR_OUT_POST_UNDNAT,
        Stage.LR_OUT_POST_SNAT,
        Stage.LR_OUT_EGR_LOOP,
        Stage.LR_IN_ECMP_STATEFUL,
        Stage.LR_IN_LB_AFF_CHECK,
        Stage.LR_IN_LB_AFF_LEARN,
        Stage.LR_IN_ND_RA_OPTIONS,
        Stage.LR_IN_ND_RA_RESPONSE,
    ):
        yield Flow(stage, 0, "1", "next;")
    yield Flow(Stage.LR_OUT_CHK_DNAT_LOCAL, 0, "1", f"{reg.DST_NAT_IP_LOCAL} = 0; next;")
    yield Flow(Stage.LR_OUT_SNAT, 120, "nd_ns", "next;")
    if router.has_vip:
        yield from _known_connection_flows()
        if router.is_gateway:
            yield from _gateway_undnat_flows()
    yield from _force_snat_flows(router)


def _known_connection_flows() -> Iterator[Flow]:
    """DNAT of packets of known connections: related ones are translated, established ones were; both keep their SNAT flag."""
    related = "ct.rel && !ct.est && !ct.new"
    established = "ct.est && !ct.rel && !ct.new && ct_mark.natted"
    for state, then in ((related, "ct_commit_nat;"), (established, "next;")):
        for flag in ("skip_snat", "force_snat"):
            match = f"{state} && ct_mark.{flag} == 1"
            yield Flow(Stage.LR_IN_DNAT, 70, match, f"flags.{flag}_for_lb = 1; {then}")
        yield Flow(Stage.LR_IN_DNAT, 50, state, then)


def _gateway_undnat_flows() -> Iterator[Flow]:
    """On a gateway router every packet passes the DNAT zone on its way out, so that replies are translated back."""
    yield Flow(Stage.LR_OUT_UNDNAT, 100, "nd || nd_rs || nd_ra", "next;")
    yield Flow(Stage.LR_OUT_UNDNAT, 50, "ip", "flags.loopback = 1; ct_dnat;")
    yield Flow(Stage.LR_OUT_POST_UNDNAT, 50, "ip && ct.new", "ct_commit { } ; next; ")


def _force_snat_flows(router: RouterView) -> Iterator[Flow]:
    """Forced SNAT, to given addresses or to the address of the port that the packet leaves by. Gateway routers only."""
    if not router.is_gateway:
        return
    for context, addresses in (("dnat", router.dnat_force_snat), ("lb", router.lb_force_snat)):
        for version, ip in addresses:
            yield Flow(Stage.LR_IN_UNSNAT, 110, f"ip{version} && ip{version}.dst == {ip}", "ct_snat;")
            match = f"flags.force_snat_for_{context} == 1 && ip{version}"
            yield Flow(Stage.LR_OUT_SNAT, 100, match, f"ct_snat({ip});")
    if not router.force_snat_router_ip:
        return
    for port in router.ports:
        if not port.has_peer:
            continue
        # The link-local address is always the last IPv6 one and is no address to translate to.
        for version, ips in ((4, port.v4[:1]), (6, port.v6[:1] if len(port.v6) > 1 else ())):
            for net in ips:
                yield Flow(Stage.LR_IN_UNSNAT, 110, f"inport == {port.key} && ip{version}.dst == {net.ip}", "ct_snat;")
                match = f"flags.force_snat_for_lb == 1 && ip{version} && outport == {port.key}"
                yield Flow(Stage.LR_OUT_SNAT, 110, match, f"ct_snat({net.ip});")


def delivery_flows(router: RouterView) -> Iterator[Flow]:
    """DELIVERY: hand the packet to the port; a router without ports has no flow here at all."""
    for port in router.ports:
        yield Flow(Stage.LR_OUT_DELIVERY, 100, f"outport == {port.key}", "output;", port.source)
    if router.ports:
        yield Flow(Stage.LR_OUT_DELIVERY, 0, "1", "drop;")
