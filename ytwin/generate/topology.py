"""`generate`: cluster, VPCs, Subnets and gateways; workloads and Services are made in their own modules."""

from __future__ import annotations

from random import Random

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.generate.draw import DEFAULT_VPC, Draw, Gateway, Net, prefix_for, subnet_networks
from ytwin.generate.services import add_services
from ytwin.generate.workloads import add_bystanders
from ytwin.resources.model import (
    ClusterNetwork,
    ClusterNetworkSpec,
    EipGateway,
    EipGatewaySpec,
    Metadata,
    NetworkCard,
    NetworkCardSpec,
    Node,
    NodeAddress,
    NodeStatus,
    Resource,
    Subnet,
    SubnetSpec,
    Vpc,
    VpcPolicyRoute,
    VpcSpec,
    VpcStaticRoute,
)

_FAMILIES = (frozenset((4,)), frozenset((6,)), frozenset((4, 6)), frozenset((4, 6)))
_CARDS: tuple[tuple[str, str, int, float], ...] = (
    ("none", "", 1, 25.0),
    ("SmartNIC", "ConnectX-6 Dx", 2, 100.0),
    ("DPU", "BlueField-2", 2, 100.0),
    ("DPU", "CONFLUX-2200E", 2, 100.0),
)


def generate(
    nodes: int = 3,
    vpcs: int = 3,
    subnets: int = 5,
    services: int = 6,
    backends: int = 3,
    seed: int = 0,
    plain: bool = False,
) -> tuple[Resource, ...]:
    """A topology with that many nodes, VPCs (the default one included), Subnets, YusurServices, and backends per Service.

    At least one of each but Services and backends; at least one Subnet per VPC. InvalidInput if a number is negative or too large
    for the address plan.
    """
    _check(nodes=nodes, vpcs=vpcs, subnets=subnets, services=services, backends=backends)
    names = tuple(f"node{i}" for i in range(1, max(nodes, 1) + 1))
    draw = Draw(Random(seed), plain, names)
    _add_nodes(draw)
    _add_network(draw, services)
    _add_vpcs(draw, max(vpcs, 1), max(subnets, vpcs, 1), services * backends)
    _add_gateways(draw, services)
    add_bystanders(draw)
    add_services(draw, services, backends)
    return tuple(draw.objects)


def _check(**numbers: int) -> None:
    limits = {"nodes": 2000, "vpcs": 2000, "subnets": 2000, "services": 100_000, "backends": 1000}
    problems = [
        Problem(Location(path=f"--{name}"), "value", f"{name} is {number}", f"use 0 to {limits[name]}")
        for name, number in numbers.items()
        if not 0 <= number <= limits[name]
    ]
    if problems:
        raise InvalidInput(problems)


def _add_nodes(draw: Draw) -> None:
    over_six = draw.chance(0.1)
    for index, name in enumerate(draw.nodes):
        address = (
            f"fd00:192:168::{index + 11:x}" if over_six else f"192.168.{(index + 11) // 250}.{(index + 11) % 250 + 1}"
        )
        metadata = Metadata(name=name)
        status = NodeStatus(addresses=(NodeAddress(type="InternalIP", address=address),))
        if draw.chance(0.2):
            other = (
                f"fd00:192:169::{index + 11:x}"
                if over_six
                else f"192.169.{(index + 11) // 250}.{(index + 11) % 250 + 1}"
            )
            metadata = Metadata(name=name, annotations={"iaas.yusur.io/encap-ip": other})
        draw.objects.append(Node(metadata=metadata, status=status))
        if draw.chance(0.8):
            kind, model, ports, speed = draw.pick(_CARDS)
            spec = NetworkCardSpec(
                node=name, type=kind, model=model, ports=ports, port_speed_gbps=speed, hw_offload=not draw.chance(0.2)
            )
            draw.objects.append(NetworkCard(metadata=Metadata(name=f"{name}-card"), spec=spec))


def _add_network(draw: Draw, services: int) -> None:
    if draw.plain:
        spec = ClusterNetworkSpec(service_cidr="10.96.0.0/12")
    else:
        small = services <= 4000
        spec = ClusterNetworkSpec(
            service_cidr=draw.pick(("10.233.0.0/18,fd00:10:233::/112",) if small else ())
            if small and draw.chance(0.5)
            else "10.96.0.0/12,fd00:10:96::/108",
            mtu=draw.pick((1400, 1400, 8900)),
            datapath=draw.pick(("system", "netdev")),
        )
    draw.objects.append(ClusterNetwork(metadata=Metadata(name="cluster"), spec=spec))


def _add_vpcs(draw: Draw, vpcs: int, subnets: int, workloads: int) -> None:
    names = [DEFAULT_VPC, *(f"vpc{i}" for i in range(1, vpcs))]
    # Room for all backends to fall into one Subnet of a random topology; a plain one spreads them evenly.
    prefix = prefix_for(workloads * 2 // subnets + 64 if draw.plain else workloads + 64, subnets)
    sequence = [*names, *(draw.pick(names) for _ in range(subnets - vpcs))]
    if draw.plain:
        sequence = [names[i % vpcs] for i in range(subnets)]
    mode = {name: draw.pick(_FAMILIES) if not draw.plain else _FAMILIES[0] for name in names}
    for index, vpc in enumerate(sequence):
        own = draw.nets.setdefault(vpc, [])
        families = mode[vpc]
        if len(families) == 2 and draw.chance(0.3):
            families = draw.pick(_FAMILIES)
        twin = _twin(draw, vpc, names)
        networks = twin.networks if twin is not None else subnet_networks(index, families, prefix)
        own.append(Net(f"subnet{index}", vpc, networks))
    for vpc in names:
        for net in draw.nets[vpc]:
            draw.objects.append(_subnet(draw, net))
        _add_vpc(draw, vpc)


def _twin(draw: Draw, vpc: str, names: list[str]) -> Net | None:
    """A Subnet of another VPC whose CIDRs the first Subnet of this one repeats."""
    if draw.nets[vpc] or vpc == DEFAULT_VPC or not draw.chance(0.2):
        return None
    others = [net for name in names if name not in (vpc, DEFAULT_VPC) for net in draw.nets.get(name, [])]
    if not others:
        return None
    draw.twins.add(vpc)
    return draw.pick(others)


def _subnet(draw: Draw, net: Net) -> Subnet:
    first = draw.next("default-subnet") == 0
    last = {network.version: str(network[-2]) for network in net.networks}
    protocol = "Dual" if len(net.networks) == 2 else f"IPv{net.networks[0].version}"
    spec = SubnetSpec(
        vpc="" if net.vpc == DEFAULT_VPC and draw.chance(0.5) else net.vpc,
        protocol=draw.pick(("", protocol)),
        cidr_block=",".join(map(str, net.networks)),
        gateway=",".join(last[n.version] for n in net.networks) if draw.chance(0.2) else "",
        exclude_ips=tuple(f"{n[2]}..{n[5]}" for n in net.networks) if draw.chance(0.3) else (),
        namespaces=(f"team-{net.name}",) if draw.chance(0.3) else (),
        default=first,
        mtu=1400 if draw.chance(0.1) else 0,
    )
    if spec.namespaces:
        draw.counters[f"namespace {net.name}"] = 1
    return Subnet(metadata=Metadata(name=net.name), spec=spec)


def _add_vpc(draw: Draw, vpc: str) -> None:
    if vpc == DEFAULT_VPC and not draw.chance(0.5):
        return  # the default VPC exists without being written
    routes: list[VpcStaticRoute] = []
    policies: list[VpcPolicyRoute] = []
    for net in draw.nets[vpc]:
        network = draw.pick(net.networks)
        hop = str(network[7])
        elsewhere = (
            f"172.31.{draw.next('elsewhere') % 256}.0/24"
            if network.version == 4
            else f"fd31:{draw.next('elsewhere'):x}::/64"
        )
        ip = f"ip{network.version}"
        if draw.chance(0.25):
            routes.append(VpcStaticRoute(cidr=elsewhere, next_hop_ip=hop, policy=draw.pick(("", "policyDst"))))
        elif draw.chance(0.1):
            # Of a source that is nobody's: one of a workload would send all that it says, replies too, to that next hop.
            routes.append(VpcStaticRoute(cidr=elsewhere, next_hop_ip=hop, policy="policySrc"))
        if draw.chance(0.25):
            action = draw.pick(("allow", "drop", "reroute"))
            policies.append(
                VpcPolicyRoute(
                    priority=draw.next(f"policy {vpc}", 100),
                    match=f"{ip}.src == {network} && {ip}.dst == {elsewhere}",
                    action=action,
                    next_hop_ip=hop if action == "reroute" else "",
                )
            )
    spec = VpcSpec(static_routes=tuple(routes), policy_routes=tuple(policies))
    draw.objects.append(Vpc(metadata=Metadata(name=vpc), spec=spec))


def _add_gateways(draw: Draw, services: int) -> None:
    if draw.plain:
        return
    for index in range(draw.random.randint(0, 3)):
        families = draw.pick(_FAMILIES)
        gateway = Gateway(f"eipgw{index}", families)
        nodes = draw.some(draw.nodes)[:3]
        draw.random.shuffle(nodes)
        vlan = draw.random.randint(1, 4094) if draw.chance(0.4) else None
        whole = [[f"192.0.{2 + index}.0/24"], [f"2001:db8:{index:x}::/64"]]
        pools = [[f"200.{index}.0.0/16"], [f"2001:db8:e{index:x}::/112"]]
        if services < 100 and draw.chance(0.4):
            pools = [[f"200.{index}.0.{low}-200.{index}.0.{low + 60}" for low in (10, 120)], pools[1]]
        chosen = [i for i, version in enumerate((4, 6)) if version in families]
        spec = EipGatewaySpec(
            nodes=tuple(nodes),
            network_name=f"external{index}" if draw.chance(0.5) else f"provider{index}",
            vlan=vlan,
            cidr_block=",".join(whole[i][0] for i in chosen),
            uplink=",".join((f"192.0.{2 + index}.2", f"2001:db8:{index:x}::2")[i] for i in chosen),
            gateway=",".join((f"192.0.{2 + index}.1", f"2001:db8:{index:x}::1")[i] for i in chosen),
            pools=tuple(text for i in chosen for text in pools[i]),
        )
        draw.objects.append(EipGateway(metadata=Metadata(name=gateway.name), spec=spec))
        draw.gateways.append(gateway)
