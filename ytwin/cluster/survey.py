"""A twin as a Cluster: every Service, its clients and backends, and the classes of their paths, each traced once.

A path's class is decided by what the flows can make of it: the kind of address called, its gateway, protocol and family, how the
Service balances, and whether between several; the VPC; whether client and backend are nodes, share a Subnet, share a chassis, or
are on the chassis of one of the path's gateways. Names, and how many of all these there are, decide nothing; tests hold shared
costs against those of every pair.

Who calls: of a ClusterIP the workloads of its VPC that are not its backends (its backends, if there are no others), all alike;
of an EIP the outside. A Service's traffic is shared equally by its ports, and by the backends of each. A client that is chosen
as its own backend counts like a neighbour on its node.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ytwin.cluster.classes import check_profiles, path_class, slots_of
from ytwin.cluster.flows import Flow, named, notes_on
from ytwin.cluster.types import Cluster, Floats, Mode, Offered, PathClass, Rate, Rows
from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.datapath import Limit, limited, programs
from ytwin.datapath.program import Program
from ytwin.hardware.model import HardwareProfile
from ytwin.resources.addresses import version_of
from ytwin.resources.model import Endpoints, Node, YusurService
from ytwin.resources.snapshot import ObjectId, Snapshot
from ytwin.resources.workload import workloads
from ytwin.trace import Tracer
from ytwin.trace.types import Host, Verdict, World
from ytwin.verify.expect import EIP, Target, expectation, targets

OUTSIDE = "outside"
DIRECT = "direct"
"""Kind of a Target that is a workload's own address."""
GATEWAYS = ("chassisredirect", "l3gateway")
"""Port types that live on one chassis for all."""


def survey(
    snapshot: Snapshot,
    world: World,
    limits: Mapping[str, Limit],
    cards: Mapping[str, HardwareProfile],
    services: int | None = None,
) -> Cluster:
    """All Services with the clients that they are for. `cards` by chassis; `services`: that kube-proxy has, None: these.

    InvalidInput: a chassis without card, or OVN on some and kube-proxy on others."""
    room = _Survey(snapshot, world, limits, cards, services)
    for service in room.services:
        room.add_service(service)
    return room.cluster()


def surveyed_flows(
    snapshot: Snapshot,
    world: World,
    limits: Mapping[str, Limit],
    cards: Mapping[str, HardwareProfile],
    flows: Sequence[Flow],
) -> tuple[Cluster, Offered]:
    """The same for measured flows. InvalidInput: names that are not of this cluster, each with file and line."""
    room = _Survey(snapshot, world, limits, cards)
    rates: list[Floats] = []
    bulk: list[bool] = []
    problems: list[Problem] = []
    for flow in flows:
        try:
            for portion, handshake in room.add_flow(flow):
                rates.append(flow.rates(handshake) * portion)
                bulk.append(flow.bulk)
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(problems)
    cluster = room.cluster()
    shaped = np.array(rates).reshape(len(bulk), len(Rate))
    return cluster, Offered(shaped, np.array(bulk, dtype=np.bool_), named(flows), notes_on(flows, cluster.profiles))


@dataclass(frozen=True, slots=True)
class _Cell:
    """What tells clients, or backends, apart."""

    kind: str
    """Node, workload or the outside host's name; a workload's own where a card's rule names it."""
    vpc: str
    subnet: str
    place: str
    """The chassis of a gateway on the way; "" for all others."""
    userspace: bool

    def looks(self) -> Hashable:
        """Without the Subnet: of two it matters only whether they are the same."""
        return (self.kind, self.vpc, self.place, self.userspace)


@dataclass
class _Listed:
    """Rows as they come."""

    service: list[int] = field(default_factory=list)
    portion: list[float] = field(default_factory=list)
    path_class: list[int] = field(default_factory=list)
    mode: list[int] = field(default_factory=list)
    clients: list[int] = field(default_factory=list)
    gateways: list[tuple[int, ...]] = field(default_factory=list)
    begin: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    node: list[int] = field(default_factory=list)
    part: list[float] = field(default_factory=list)

    def rows(self) -> Rows:
        width = max(map(len, self.gateways), default=0)
        padded = [(*one, *[-1] * (width - len(one))) for one in self.gateways]
        integers = (self.service, self.path_class, self.mode, self.clients, self.begin, self.end, self.node)
        service, path, mode, clients, begin, end, node = (np.array(one, dtype=np.int64) for one in integers)
        gateways = np.array(padded, dtype=np.int64).reshape(len(padded), width)
        portion, part = np.array(self.portion, dtype=np.float64), np.array(self.part, dtype=np.float64)
        return Rows(service, portion, path, mode, clients, gateways, begin, end, node, part)


class _Survey:
    def __init__(
        self,
        snapshot: Snapshot,
        world: World,
        limits: Mapping[str, Limit],
        cards: Mapping[str, HardwareProfile],
        services: int | None = None,
    ) -> None:
        self.snapshot, self.world, self.limits = snapshot, world, limits
        self.nodes = {name: number for number, name in enumerate(world.chassis)}
        missing = [name for name in self.nodes if name not in cards]
        if missing:
            where = Location(path=f"profile of {missing[0]}")
            raise InvalidInput([Problem(where, "profile", "no hardware profile", "give one per chassis")])
        # Profiles are large, and most nodes share theirs: each is compared once.
        single = {id(cards[name]): cards[name] for name in self.nodes}
        self.profiles = tuple(dict.fromkeys(single.values()))
        check_profiles(self.profiles)
        numbers = {key: self.profiles.index(card) for key, card in single.items()}
        self.profile = np.array([numbers[id(cards[name])] for name in self.nodes], dtype=np.int64)
        self.services = {f"{s.namespace}/{s.name}": s for s in snapshot.all(YusurService)}
        self.count = len(self.services) if services is None else services
        self.numbers = {name: number for number, name in enumerate(self.services)}
        self.targets: dict[str, list[Target]] = defaultdict(list)
        for target in targets(snapshot):
            self.targets[target.service].append(target)
        ports = world.southbound.ports.values()
        self.bound = {(p.datapath.name, p.chassis) for p in ports if p.type in GATEWAYS and p.chassis}
        self.named = {rule.when.port_kind for profile in self.profiles for rule in profile.offload}
        self.hosts = {host.name: host for host in world.hosts}
        self.by_address = {
            (host.vpc, address.partition("/")[0]): host for host in world.hosts for address in host.addresses
        }
        self.by_vpc: dict[str, list[Host]] = defaultdict(list)
        for host in world.hosts:
            if host.kind not in ("Node", OUTSIDE):
                self.by_vpc[host.vpc].append(host)
        self.tracer = Tracer(world)
        self.traced: dict[tuple[str, str, int, str], tuple[dict[str, tuple[Program, ...]], str]] = {}
        self.classes: dict[Hashable, tuple[int, tuple[str, ...]] | None] = {}
        self.made: list[PathClass] = []
        self.distributions: dict[bytes, int] = {}
        self.vectors: list[Floats] = []
        self.listed = _Listed()
        self.failures: dict[str, str] = {}

    # --- what is asked ---------------------------------------------------------------------------------------------------

    def add_service(self, name: str) -> None:
        """Its traffic from the clients that it is for."""
        wanted = self.wanted(name, "")
        for target in wanted:
            self.add(target, self.clients_of(target), self.backends_of(target), 1 / len(wanted))

    def wanted(self, name: str, source: str) -> list[Target]:
        """The Service's ports at the address that such a client calls: one family, IPv4 if there is one."""
        known = self.targets[name]
        outside = any(t.kind == EIP for t in known) if not source else source == OUTSIDE
        fitting = [t for t in known if (t.kind == EIP) == outside]
        family = min((version_of(t.address) for t in fitting), default=4)
        return [t for t in fitting if version_of(t.address) == family]

    def clients_of(self, target: Target) -> list[Host]:
        """Hosts that the Service is for."""
        if target.kind == EIP:
            found = [self.hosts[f"outside/{target.gateway}"]] if f"outside/{target.gateway}" in self.hosts else []
        else:
            found = [host for vpc in target.vpcs for host in self.by_vpc[vpc]]
        return [host for host in found if expectation(self.snapshot, host, target).reachable]

    def backends_of(self, target: Target) -> list[Host]:
        """One per address that its Endpoints name; those of lost nodes are hosts no more."""
        return [host for host in self._endpoints(target) if host is not None]

    def _endpoints(self, target: Target) -> list[Host | None]:
        if target.kind == DIRECT:
            return [self.by_address[target.vpcs[0], target.address]]
        namespace, _, name = target.service.partition("/")
        service = self.services[target.service]
        port = next(p for p in service.spec.ports if p.port == target.port and p.protocol.lower() == target.protocol)
        endpoints = self.snapshot.get(Endpoints, name, namespace)
        found: list[Host | None] = []
        for subset in endpoints.subsets if endpoints is not None else ():
            if not any(p.name == port.name and p.protocol == port.protocol for p in subset.ports):
                continue
            for address in subset.addresses:
                if version_of(address.ip) != version_of(target.address):
                    continue
                ref = address.target_ref
                named = str(ObjectId(ref.kind, ref.namespace, ref.name)) if ref is not None else ""
                at = (self.by_address.get((vpc, address.ip)) for vpc in target.vpcs)
                found.append(self.hosts.get(named) or next((h for h in at if h is not None), None))
        return found

    def add_flow(self, flow: Flow) -> Iterator[tuple[float, bool]]:
        """Rows of a measured flow; yields the portion of each, and whether its connections begin with a handshake."""
        before = len(self.listed.portion)
        for target, clients in self._called(flow):
            self.add(target, clients, self.backends_of(target), 1.0)
        for portion, path in zip(self.listed.portion[before:], self.listed.path_class[before:], strict=True):
            yield portion, self.made[path].handshake

    def _called(self, flow: Flow) -> list[tuple[Target, list[Host]]]:
        def wrong(column: str, message: str, hint: str) -> InvalidInput:
            return InvalidInput([Problem(Location(flow.where.file, flow.where.line, column), "name", message, hint)])

        name, _, port = flow.destination.partition(":")
        full = name if "/" in name else f"default/{name}"
        source = flow.source.removeprefix("Node/")
        if source != OUTSIDE and source not in self.nodes:
            raise wrong("src_node", f"no node {source!r}", f"there are {_few(self.nodes)}, and outside")
        if full in self.services:
            found = [t for t in self.wanted(full, flow.source) if port in ("", str(t.port))][:1]
            if not found:
                what = "an EIP" if source == OUTSIDE else "a ClusterIP"
                raise wrong("service", f"{flow.destination} has no such port at {what}", "name a port that it has")
        else:
            found = self._direct(name)
            if not found and self._lost(name):
                self.failures.setdefault(name, "its node is lost")
                return []
            if not found:
                raise wrong("service", f"no Service and no workload {name!r}", f"there are {_few(self.services)}")
        target = found[0]
        if source == OUTSIDE:
            return [(target, [h for h in self.world.hosts if h.name == f"outside/{target.gateway}"])]
        kinds = ("Node",) if flow.source.startswith("Node/") else None
        here = [
            h
            for h in self.world.hosts
            if h.chassis == source
            and ((h.kind in kinds) if kinds else h.kind not in ("Node", OUTSIDE) and h.vpc in target.vpcs)
        ]
        others = [h for h in here if h not in self.backends_of(target)] or here
        if not others:
            vpcs = ", ".join(target.vpcs)
            raise wrong("src_node", f"nothing on {source} is in {vpcs}", "name a node with a client of this Service")
        return [(target, others)]

    def _direct(self, text: str) -> list[Target]:
        for host in self.world.hosts:
            if _is_called(host.name, text) and host.addresses:
                address = min((a.partition("/")[0] for a in host.addresses), key=version_of)
                return [Target(host.name, DIRECT, address, 80, "tcp", (host.vpc,), "")]
        return []

    def _lost(self, text: str) -> bool:
        """Whether it names a workload, or a node, of the input that is no host any more."""
        there = [str(workload.id) for workload in workloads(self.snapshot)]
        there += [f"Node/{node.name}" for node in self.snapshot.all(Node)]
        return any(_is_called(name, text) and name not in self.hosts for name in there)

    # --- rows ------------------------------------------------------------------------------------------------------------

    def add(self, target: Target, clients: Sequence[Host], backends: Sequence[Host], portion: float) -> None:
        """The rows of all pairs of what can be told apart."""
        if not clients or not backends:
            lack = "client" if not clients else "backend"
            self.failures.setdefault(target.service, f"{target.kind} {target.address} has no living {lack}")
            return
        serving = {host.name for host in backends}
        calling = [host for host in clients if host.name not in serving] or clients
        special = self.special(target)
        by_client, by_backend = self.cells(calling, special), self.cells(backends, special)
        for who, callers in by_client.items():
            for whom, serving_hosts in by_backend.items():
                part = portion * len(callers) / len(calling) * len(serving_hosts) / len(backends)
                for mode, caller, server in self.pairs(callers, serving_hosts):
                    self.row(target, (who, whom, mode), (caller, server), (callers, serving_hosts), part)

    def special(self, target: Target) -> set[str]:
        """Chassis of gateways that a path to it, or back, may pass: of its VPCs' routers, and of its EipGateway."""
        ends = f"_{target.gateway}" if target.gateway else ""
        return {c for name, c in self.bound if name in target.vpcs or (ends and name.endswith(ends))}

    def cells(self, hosts: Iterable[Host], special: set[str]) -> dict[_Cell, list[Host]]:
        """Hosts by what tells them apart."""
        found: dict[_Cell, list[Host]] = defaultdict(list)
        for host in hosts:
            place = host.chassis if host.chassis in special else ""
            own = host.kind == "Node" or host.kind in self.named
            kind = host.name if host.kind == OUTSIDE else host.kind if own else "workload"
            found[_Cell(kind, host.vpc, host.subnet, place, host.chassis in self.world.userspace)].append(host)
        return found

    @staticmethod
    def pairs(callers: Sequence[Host], servers: Sequence[Host]) -> Iterator[tuple[Mode, Host, Host]]:
        """A representative of those on one chassis, and of those on two, if there are such."""
        if callers[0].kind == OUTSIDE:
            yield Mode.REMOTE, callers[0], servers[0]
            return
        at: dict[str, list[Host]] = defaultdict(list)
        for host in callers:
            at[host.chassis].append(host)
        local = [(h, s) for s in servers for h in at.get(s.chassis, ())[:2]]
        if local:
            yield Mode.LOCAL, *next((pair for pair in local if pair[0] is not pair[1]), local[0])
        remote = next(((hs[0], s) for s in servers for chassis, hs in at.items() if chassis != s.chassis), None)
        if remote is not None:
            yield Mode.REMOTE, *remote

    def row(
        self,
        target: Target,
        cell: tuple[_Cell, _Cell, Mode],
        pair: tuple[Host, Host],
        hosts: tuple[Sequence[Host], Sequence[Host]],
        part: float,
    ) -> None:
        """One row, unless its paths lead nowhere."""
        found = self.class_of(target, cell, *pair)
        if found is None:
            reason = self.converse(target, pair[0])[1]
            self.failures.setdefault(target.service, f"{pair[0].name} does not reach {pair[1].name}: {reason}")
            return
        number, gateways = found
        listed = self.listed
        listed.service.append(self.numbers.get(target.service, 0))
        listed.portion.append(part)
        listed.path_class.append(number)
        listed.mode.append(int(cell[2]))
        listed.clients.append(-1 if pair[0].kind == OUTSIDE else self.distribution(hosts[0]))
        listed.gateways.append(tuple(self.nodes[chassis] for chassis in gateways))
        listed.begin.append(len(listed.node))
        counts = _counted(self.nodes[host.chassis] for host in hosts[1])
        listed.node += counts
        listed.part += [count / len(hosts[1]) for count in counts.values()]
        listed.end.append(len(listed.node))

    def distribution(self, hosts: Sequence[Host]) -> int:
        """Number of their distribution over the nodes."""
        vector = np.bincount([self.nodes[host.chassis] for host in hosts], minlength=len(self.nodes)) / len(hosts)
        key = vector.tobytes()
        if key not in self.distributions:
            self.distributions[key] = len(self.vectors)
            self.vectors.append(vector)
        return self.distributions[key]

    # --- classes ---------------------------------------------------------------------------------------------------------

    def class_of(
        self, target: Target, cell: tuple[_Cell, _Cell, Mode], caller: Host, server: Host
    ) -> tuple[int, tuple[str, ...]] | None:
        """(number, chassis of its gateways); None: nothing is delivered."""
        who, whom, mode = cell
        same = who.subnet == whom.subnet
        key = (self._looks(target), who.looks(), whom.looks(), mode, same, caller is server)
        if key not in self.classes:
            found = self.converse(target, caller)[0].get(server.name)
            self.classes[key] = self._made(target, caller, server, cell[2], found) if found else None
        return self.classes[key]

    def _looks(self, target: Target) -> Hashable:
        service = self.services.get(target.service)
        how: tuple[Hashable, ...] = ()
        if service is not None:
            # One backend needs no choice, so the flows of its connections do not look at the client's port.
            chosen = len(self._endpoints(target)) > 1
            how = (service.spec.balancing, service.spec.session_affinity, chosen)
        return (target.kind, target.gateway, target.protocol, version_of(target.address), target.vpcs, how)

    def _made(
        self, target: Target, caller: Host, server: Host, mode: Mode, found: tuple[Program, ...]
    ) -> tuple[int, tuple[str, ...]]:
        slots = slots_of(found, caller.chassis, server.chassis)
        name = f"{caller.name} to {target.service} at {server.name} ({mode.name.lower()})"
        self.made.append(path_class(name, found, slots, self.profiles, max(1, self.count)))
        gateways = sorted((slot, chassis) for chassis, slot in slots.items() if slot > 1)
        return len(self.made) - 1, tuple(chassis for _, chassis in gateways)

    def converse(self, target: Target, caller: Host) -> tuple[dict[str, tuple[Program, ...]], str]:
        """Backend -> programs of the path to it, for those delivered; and why the others are not."""
        key = (caller.name, target.address, target.port, target.protocol)
        if key not in self.traced:
            traced = self.tracer.converse(caller, target.address, target.port, target.protocol)
            said = limited(traced, self.limits)
            good = {(p.backend, p.address) for p in said.paths if p.verdict is Verdict.DELIVERED}
            by_backend: dict[str, dict[str, list[Program]]] = defaultdict(lambda: defaultdict(list))
            for program in programs(traced, self.world) if good else ():
                if (program.backend, program.address) in good:
                    by_backend[program.backend][program.address].append(program)
            first = {backend: tuple(next(iter(by.values()))) for backend, by in by_backend.items()}
            self.traced[key] = first, said.reason
        return self.traced[key]

    def cluster(self) -> Cluster:
        """All of it."""
        clients = np.array(self.vectors).reshape(len(self.vectors), len(self.nodes))
        gateways = tuple((number,) for number in range(len(self.nodes)))
        services = tuple(self.services)
        return Cluster(
            tuple(self.nodes),
            self.profiles,
            self.profile,
            tuple(self.made),
            services,
            self.listed.rows(),
            clients,
            gateways,
            unserved=self.failures,
        )


def _is_called(name: str, text: str) -> bool:
    """Whether `KIND/[NAMESPACE/]NAME` means this host."""
    kind, _, rest = text.partition("/")
    return name.partition("/")[0].lower() == kind.lower() and f"/{name}".endswith(f"/{rest}")


def _counted(numbers: Iterable[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for number in numbers:
        found[number] = found.get(number, 0) + 1
    return found


def _few(names: Iterable[str]) -> str:
    listed = sorted(names)
    return f"{', '.join(listed[:8])}{', ...' if len(listed) > 8 else ''}" if listed else "none"
