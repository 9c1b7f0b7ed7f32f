"""Everything in the Southbound besides flows: port bindings, multicast groups, load balancers, address sets."""

from __future__ import annotations

from collections.abc import Iterator

from frozendict import frozendict

from ytwin.logical.southbound import LogicalFlow, MulticastGroup, PortBinding, SbLoadBalancer, Southbound
from ytwin.northd.balancers import Balancer
from ytwin.northd.collect import Group
from ytwin.northd.model import Model, Router, RouterPort, Switch, SwitchPort

SERVICE_MONITOR_MAC = "0a:00:00:00:fe:fe"
"""Source MAC of health checks where NB_Global does not set svc_monitor_mac; northd would draw a random one."""


def assemble(model: Model, flows: tuple[LogicalFlow, ...]) -> Southbound:
    """The Southbound with these flows."""
    call = model.memo.call
    bindings: dict[str, PortBinding] = {}
    for switch in model.switches.values():
        for port in switch.ports:
            peer_router = None if port.peer is None else model.routers[port.peer.row.router]
            bindings[port.name] = call(_switch_binding, port, peer_router)
    for router in model.routers.values():
        for router_port in router.ports:
            binding = call(_router_binding, router_port, router, model.peer_of.get(router_port.name))
            bindings[binding.name] = binding
            if router_port.is_dgp:
                redirect = call(_redirect_binding, router_port)
                bindings[redirect.name] = redirect
    groups = [group for switch in model.switches.values() for group in call(_multicast_groups, switch)]
    groups += [group for router in model.routers.values() for group in call(_router_multicast_groups, router)]
    return Southbound(
        flows=flows,
        datapaths=(*(s.id for s in model.switches.values()), *(r.id for r in model.routers.values())),
        ports=frozendict(bindings),
        multicast_groups=tuple(groups),
        load_balancers=tuple(
            lb for where, balancers in model.balancer_pieces for lb in call(_load_balancers, where, balancers)
        ),
        address_sets=frozendict(_address_sets(model)),
    )


def _switch_binding(port: SwitchPort, peer_router: Router | None) -> PortBinding:
    row = port.row
    kind, options = row.type, dict(row.options)
    if port.is_router:
        chassis = peer_router.row.options.get("chassis") if peer_router is not None else None
        kind = "patch" if chassis is None else "l3gateway"
        options = {}
        if "router-port" in row.options:
            options["peer"] = row.options["router-port"]
        if chassis is not None:
            options["l3gateway-chassis"] = chassis
    return PortBinding(
        name=row.name,
        datapath=port.where[0],
        type=kind,
        mac=tuple(sorted(set(row.addresses))),
        port_security=tuple(sorted(set(row.port_security))),
        options=frozendict(options),
        tunnel_key=port.tunnel_key,
    )


def _router_mac(port: RouterPort) -> tuple[str, ...]:
    return (" ".join((port.row.mac, *sorted(set(port.row.networks)))),)


def _router_binding(port: RouterPort, router: Router, peer: SwitchPort | None) -> PortBinding:
    chassis = router.row.options.get("chassis")
    options = {}
    if peer is not None:
        options["peer"] = peer.name
        if port.gateway_chassis:
            options["chassis-redirect-port"] = f"cr-{port.name}"
    if chassis is not None:
        options["l3gateway-chassis"] = chassis
    return PortBinding(
        name=port.name,
        datapath=router.id,
        type="patch" if chassis is None else "l3gateway",
        mac=_router_mac(port),
        options=frozendict(options),
        tunnel_key=port.tunnel_key,
    )


def _redirect_binding(port: RouterPort) -> PortBinding:
    options = {"distributed-port": port.name}
    redirect_type = port.row.options.get("redirect-type")
    if redirect_type is not None:
        options["redirect-type"] = redirect_type
    if redirect_type != "bridged":
        options["always-redirect"] = "true"
    return PortBinding(
        name=port.cr_name,
        datapath=port.where[0],
        type="chassisredirect",
        mac=_router_mac(port),
        options=frozendict(options),
        gateway_chassis=tuple((c.chassis_name, c.priority) for c in port.gateway_chassis),
        tunnel_key=port.cr_tunnel_key,
    )


def _multicast_groups(switch: Switch) -> tuple[MulticastGroup, ...]:
    members = {
        "_MC_flood": switch.ports,
        "_MC_flood_l2": tuple(port for port in switch.ports if not port.is_router),
        "_MC_unknown": tuple(port for port in switch.ports if port.unknown),
    }
    return tuple(
        MulticastGroup(switch.id, name, tuple(sorted(port.name for port in ports)))
        for name, ports in members.items()
        if ports
    )


def _router_multicast_groups(router: Router) -> tuple[MulticastGroup, ...]:
    """Routers have one only for ports with the option mcast_flood."""
    flooded = sorted(port.name for port in router.ports if port.row.options.get("mcast_flood", "").lower() == "true")
    return (MulticastGroup(router.id, "_MC_static", tuple(flooded)),) if flooded else ()


def _load_balancers(where: Group, balancers: tuple[Balancer, ...]) -> tuple[SbLoadBalancer, ...]:
    return tuple(
        SbLoadBalancer(
            lb.row.name,
            lb.row.vips,
            lb.row.protocol,
            frozendict({**lb.row.options, "hairpin_orig_tuple": "true"}),
            where,
        )
        for lb in balancers
    )


def _address_sets(model: Model) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "svc_monitor_mac", (model.northbound.options.get("svc_monitor_mac", SERVICE_MONITOR_MAC),)
    for name, router in model.routers.items():
        vips = model.router_balancers[name].vips
        for family, addresses in ((4, vips.v4_reachable), (6, vips.v6_reachable)):
            if addresses:
                yield f"_rtr_lb_{router.tunnel_key}_ip{family}", addresses
