"""Load balancers on routers: DEFRAG, LB_AFF_CHECK, DNAT, LB_AFF_LEARN, UNDNAT and the SNAT exception, one balancer at a time.

A `Site` is a set of routers on which a balancer has the same flows: routers without distributed gateway port (DGP) share them, a
router with DGPs has its own, because they name the first of those ports.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ytwin.core.memo import Memo
from ytwin.logical.southbound import DatapathId, LogicalFlow
from ytwin.northd.balancers import Balancer, Vip, empty_event, wants_event
from ytwin.northd.collect import Flows, Group, group_of
from ytwin.northd.router import registers as reg
from ytwin.northd.router.flow import DROP
from ytwin.northd.router.view import RouterView
from ytwin.northd.stages import ROUTER, Stage

NORMAL, SKIP_SNAT, FORCE_SNAT = "", "skip_snat", "force_snat"
"""What becomes of the source address of a balanced connection; the texts are OVN's names of the flags."""

SNAT_TABLE = Stage.LR_OUT_SNAT.table


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """Routers alike. `gateway_key` and `cr_key` name the first DGP in quotes, "" if there is none."""

    force_snat: bool
    gateway_key: str
    cr_key: str
    where: Group


def sites_of(memo: Memo, views: Sequence[RouterView]) -> tuple[Site, ...]:
    """The sites of these routers, the same objects as long as what is in them stays the same."""
    alike: dict[tuple[bool, str, str], list[str]] = {}
    for view in views:
        force = view.force_snat_router_ip or bool(view.lb_force_snat)
        first = view.gateway_ports[0] if view.gateway_ports else None
        # Port names are unique, so two routers with a DGP never fall together.
        kind = (force, first.key, first.cr_key) if first else (force, "", "")
        alike.setdefault(kind, []).append(view.name)
    sites = []
    for (force, gateway, cr), names in alike.items():
        sites.append(memo.call(_site, force, sys.intern(gateway), sys.intern(cr), *map(sys.intern, names)))
    result: tuple[Site, ...] = memo.call(_sites, *sites)
    return result


def _site(force_snat: bool, gateway_key: str, cr_key: str, *routers: str) -> Site:
    where = group_of(DatapathId(ROUTER, name) for name in routers)
    return Site(force_snat, gateway_key, cr_key, where)


def _sites(*sites: Site) -> tuple[Site, ...]:
    return sites


def balancers_flows(sites: tuple[Site, ...], event: bool, *balancers: Balancer) -> tuple[LogicalFlow, ...]:
    """All flows of load balancers on the routers of `sites`; `event`: controller events are on for all load balancers."""
    flows = Flows()
    everywhere = group_of(datapath for site in sites for datapath in site.where)
    for balancer in balancers:
        _flows(flows, balancer, sites, everywhere, event)
    return flows.done()


def _flows(flows: Flows, balancer: Balancer, sites: tuple[Site, ...], everywhere: Group, event: bool) -> None:
    for vip in balancer.vips:
        if wants_event(balancer, vip, event):
            flows.add(everywhere, Stage.LR_IN_DNAT, 130, *empty_event(balancer, vip), balancer.source)
        match = f"ip && ip{vip.family}.dst == {vip.ip}"
        flows.add(everywhere, Stage.LR_IN_DEFRAG, 100, match, "ct_dnat;", balancer.source)
        _nat_flows(flows, balancer, vip, sites)
        if balancer.affinity_timeout:
            for force in (True, False):
                where = group_of(dp for site in sites if site.force_snat == force for dp in site.where)
                treatment = FORCE_SNAT if force else SKIP_SNAT if balancer.skip_snat else NORMAL
                _affinity_flows(flows, balancer, vip, treatment, where)
    if balancer.skip_snat:
        flows.add(everywhere, Stage.LR_OUT_SNAT, 120, "flags.skip_snat_for_lb == 1 && ip", "next;")


def new_connection_match(balancer: Balancer, vip: Vip) -> str:
    """Packets that open a connection to the VIP."""
    ip = f"ip{vip.family}"
    port = f" && {balancer.protocol} && {balancer.protocol}.dst == {vip.port}" if vip.port else ""
    return f"ct.new && !ct.rel && {ip} && {ip}.dst == {vip.ip}{port}"


def new_connection_actions(balancer: Balancer, vip: Vip, treatment: str) -> str:
    """Choose a backend; without one, drop or (option `reject`) answer. The answer leaves from the SNAT table on."""
    flag = f"flags.{treatment}_for_lb = 1; " if treatment else ""
    if not vip.has_backends:
        reject = f"reg0 = 0; reject {{ outport <-> inport; next(pipeline=egress,table={SNAT_TABLE});}};"
        return flag + (reject if balancer.reject else DROP)
    fields = f'; hash_fields="{balancer.selection_fields}"' if balancer.selection_fields else ""
    mark = f"; {treatment}" if treatment else ""
    return f"{flag}ct_lb_mark(backends={vip.backends_text}{fields}{mark});"


def _nat_flows(flows: Flows, balancer: Balancer, vip: Vip, sites: tuple[Site, ...]) -> None:
    """DNAT of new connections and, on a DGP, UNDNAT of what its backends send out by that port."""
    match = new_connection_match(balancer, vip)
    priority = 120 if vip.port else 110
    for site in sites:
        treatment = SKIP_SNAT if balancer.skip_snat else FORCE_SNAT if site.force_snat else NORMAL
        actions = new_connection_actions(balancer, vip, treatment)
        resident = f" && is_chassis_resident({site.cr_key})" if site.cr_key else ""
        where = match if not vip.has_backends and balancer.reject else match + resident
        flows.add(site.where, Stage.LR_IN_DNAT, priority, where, actions, balancer.source)
        if site.cr_key and vip.has_backends:
            back = f"{_from_backends(balancer, vip)} && outport == {site.gateway_key}{resident}"
            # With a SNAT flag the un-DNAT itself is left out, as northd does.
            undnat = f"flags.{treatment}_for_lb = 1; next;" if treatment else "ct_dnat_in_czone;"
            flows.add(site.where, Stage.LR_OUT_UNDNAT, 120, back, undnat, balancer.source)


def _from_backends(balancer: Balancer, vip: Vip) -> str:
    ip = f"ip{vip.family}"

    def one(address: str, port: int) -> str:
        return f"({ip}.src == {address} && {balancer.protocol}.src == {port})" if port else f"({ip}.src == {address})"

    return f"{ip} && ({' || '.join(one(backend.ip, backend.port) for backend in vip.backends())})"


def _endpoint(address: str, port: int | str, family: int) -> str:
    if not port:
        return address
    return f"{address}:{port}" if family == 4 else f"[{address}]:{port}"


def _affinity_flows(flows: Flows, balancer: Balancer, vip: Vip, treatment: str, where: Group) -> None:
    """Session affinity: LB_AFF_CHECK asks for a remembered backend, DNAT 150 uses it, LB_AFF_LEARN remembers a new choice."""
    if not where:
        return
    source = balancer.source
    ip, protocol = f"ip{vip.family}", balancer.protocol
    vip_register, backend_register = reg.NEXT_HOP[vip.family], reg.LB_AFF_BACKEND[vip.family]

    keep_port = f"{reg.ORIG_TP_DPORT} = {protocol}.dst; " if vip.port else ""
    check = f"{vip_register} = {ip}.dst; {keep_port}{reg.KNOWN_LB_SESSION} = chk_lb_aff(); next;"
    flows.add(where, Stage.LR_IN_LB_AFF_CHECK, 100, new_connection_match(balancer, vip), check, source)

    flag, mark = (f"flags.{treatment}_for_lb = 1; ", f"; {treatment}") if treatment else ("", "")
    to_vip = f"{vip_register} == {vip.ip}" + (f" && {reg.ORIG_TP_DPORT} == {vip.port}" if vip.port else "")
    proto = f", proto = {protocol}" if vip.port else ""
    for backend in vip.backends():
        chosen = _endpoint(backend.ip, backend.port, vip.family)
        to_port = f" && {protocol}.dst == {backend.port}" if backend.port else ""
        match = f"{reg.KNOWN_LB_SESSION} == 0 && ct.new && {ip} && {to_vip} && {ip}.dst == {backend.ip}{to_port}"
        learn = (
            f'commit_lb_aff(vip = "{_endpoint(vip.ip, vip.port, vip.family)}", backend = "{chosen}"{proto}, '
            f"timeout = {balancer.affinity_timeout}); /* drop */"
        )
        flows.add(where, Stage.LR_IN_LB_AFF_LEARN, 100, match, learn, source)
        port_match = f" && {reg.LB_AFF_MATCH_PORT} == {backend.port}" if backend.port else ""
        match = f"{reg.KNOWN_LB_SESSION} == 1 && ct.new && {ip} && {backend_register} == {backend.ip}{port_match}"
        use = f"{vip_register} = {vip.ip}; {flag}ct_lb_mark(backends={chosen}{mark});"
        flows.add(where, Stage.LR_IN_DNAT, 150, match, use, source)
