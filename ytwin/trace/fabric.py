"""Between the pipelines: what ovn-controller's physical flows do. Patch ports, tunnels, gateway chassis, localnet, the hosts.

A tunnel carries the datapath, the logical input port and the logical output port, nothing else: registers, flags and
conntrack state stay behind. A patch port clears them too.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ytwin.logical.addresses import ip_int, mac_int
from ytwin.logical.expr import Residence
from ytwin.logical.southbound import EGRESS, INGRESS, DatapathId, PortBinding
from ytwin.logical.state import (
    ARP_REPLY,
    ARP_REQUEST,
    ETH_ARP,
    ETH_IPV6,
    ICMPV6,
    ND_NA,
    ND_NS,
    PacketState,
)
from ytwin.trace.flight import ABSORBED, DELIVERED, End, Flight
from ytwin.trace.hairpin import Hairpins
from ytwin.trace.types import Host, World

if TYPE_CHECKING:
    from ytwin.trace.executor import Run

FLAG_LOOPBACK = 1 << 0
FLAG_LOCAL_ONLY = 1 << 4
"""Bits of `flags` that the physical flows read."""
_MULTICAST_BIT = 1 << 40

OUTSIDE = "outside"
"""Host.kind of what sits beyond a localnet port."""


class _Chassis:
    """Residence of ports as one chassis sees it."""

    __slots__ = ("_fabric", "_name")

    def __init__(self, fabric: Fabric, name: str) -> None:
        self._fabric, self._name = fabric, name

    def resident(self, port: str) -> bool:
        return self._fabric.resident(self._name, port)


def router_owns_gateway(port: PortBinding) -> bool:
    """Port types that live on one chassis only and are reached from others by a tunnel."""
    return port.type in ("l3gateway", "chassisredirect")


class Fabric:
    """A World, indexed for walking."""

    def __init__(self, world: World) -> None:
        southbound = world.southbound
        self.ports = southbound.ports
        self.groups = {(g.datapath, g.name): g.ports for g in southbound.multicast_groups}
        self.hairpins = Hairpins(southbound.load_balancers)
        self.chassis = frozenset(world.chassis)
        self.localnet_chassis = dict(world.localnet_chassis)
        self.localnet_of: dict[DatapathId, PortBinding] = {}
        for port in southbound.ports.values():
            if port.type == "localnet":
                self.localnet_of.setdefault(port.datapath, port)
        self._residences: dict[str, _Chassis] = {}
        self.hosts_on: dict[str, list[Host]] = defaultdict(list)
        for host in world.hosts:
            self.hosts_on[host.port].append(host)
        self._macs = {host: mac_int(host.mac) for host in world.hosts}
        self._addresses = {h: frozenset(ip_int(a.partition("/")[0]) for a in h.addresses) for h in world.hosts}

    # --- names ---------------------------------------------------------------------------------------------------------

    def distributed(self, port: str) -> str:
        """The router port that a chassisredirect port stands for; any other port itself."""
        binding = self.ports.get(port)
        if binding is not None and binding.type == "chassisredirect":
            return binding.options.get("distributed-port", port)
        return port

    def owns(self, host: Host, address: int) -> bool:
        """Whether an address is the host's."""
        return address in self._addresses[host]

    def mac(self, host: Host) -> int:
        return self._macs[host]

    def resident(self, chassis: str, port: str) -> bool:
        """`is_chassis_resident("port")` on a chassis."""
        binding = self.ports.get(port)
        return binding is not None and binding.chassis == chassis and chassis != ""

    def residence(self, chassis: str) -> Residence:
        """What `is_chassis_resident` says on a chassis."""
        found = self._residences.get(chassis)
        if found is None:
            found = self._residences[chassis] = _Chassis(self, chassis)
        return found

    def zone_of(self, port: PortBinding) -> str:
        """Conntrack zone that ovn-controller gives a port on its chassis; patch ports have none."""
        return f"port:{port.name}" if port.type in ("", "localnet", "l3gateway") else ""

    # --- out of the ingress pipeline -----------------------------------------------------------------------------------

    def leave_ingress(self, run: Run, flight: Flight) -> None:
        """`output` in an ingress pipeline: find the chassis of the output port and go to its egress pipeline."""
        outport = flight.state.outport
        if not outport:
            run.drop(flight, f"{flight.datapath}: output to no port")
            return
        group = self.groups.get((flight.datapath, outport))
        if group is not None:
            self._multicast(run, flight, group)
            return
        port = self.ports.get(outport)
        if port is None or port.datapath != flight.datapath:
            run.drop(flight, f"{flight.datapath} has no port {outport}")
            return
        self._unicast(run, flight, port)

    def _unicast(self, run: Run, flight: Flight, port: PortBinding) -> None:
        here = flight.chassis
        if port.type == "patch":
            self._local(run, flight, port)
        elif port.type == "localnet":
            if here in self.localnet_chassis.get(port.name, ()):
                self._local(run, flight, port)
            else:
                run.drop(flight, f"{here} maps no physical network for localnet port {port.name}")
        elif port.chassis == here:
            self._local(run, flight, port)
        elif not router_owns_gateway(port) and port.datapath in self.localnet_of:
            # A switch with a localnet port reaches its other chassis through the physical network.
            self._unicast(run, flight, self.localnet_of[port.datapath])
        elif not port.chassis or port.chassis not in self.chassis:
            what = "no live gateway chassis" if router_owns_gateway(port) else "not bound to a live chassis"
            run.drop(flight, f"{port.name}: {what}")
        else:
            self._tunnel(flight, port.chassis, port.name)
            self._unicast(run, flight, port)

    @staticmethod
    def _tunnel(flight: Flight, chassis: str, outport: str) -> None:
        if flight.trail is not None:
            flight.trail.say(f"tunnel to {chassis}")
        state = flight.state
        state.clear_registers()
        state.clear_ct()
        state.flags = 0
        state.outport = outport
        flight.chassis, flight.port_zone = chassis, ""

    def _local(self, run: Run, flight: Flight, port: PortBinding) -> None:
        """The output port is on this chassis: check for a packet that would go back, then the egress pipeline."""
        state = flight.state
        if port.type == "chassisredirect":
            distributed = self.ports.get(port.options.get("distributed-port", ""))
            if distributed is None:
                run.drop(flight, f"{port.name}: its distributed port is not in the Southbound")
                return
            port = distributed
        state.outport = port.name
        if state.inport == port.name and not state.flags & FLAG_LOOPBACK:
            run.drop(flight, f"{port.name}: would leave by the port it came in, without flags.loopback")
            return
        if port.type == "localnet" and state.flags & FLAG_LOCAL_ONLY:
            run.drop(flight, f"{port.name}: local only")
            return
        state.clear_registers()
        flight.port_zone = self.zone_of(port) or flight.port_zone
        run.go(flight, EGRESS, 0)

    def _multicast(self, run: Run, flight: Flight, group: tuple[str, ...]) -> None:
        """Every port of the group but the one it came from; patch ports on the sender's chassis only."""
        here = flight.chassis
        remote: set[str] = set()
        flooded = flight.datapath in self.localnet_of
        members = [self.ports[name] for name in group if name in self.ports]
        for port in members:
            if port.type == "patch" or self._here(port, here):
                self._copy_to(run, flight, port)
            elif port.type != "localnet" and port.chassis in self.chassis and not flooded:
                remote.add(port.chassis)
        if flight.state.flags & FLAG_LOCAL_ONLY:
            return
        for chassis in sorted(remote):
            copy = flight.fork()
            self._tunnel(copy, chassis, flight.state.outport)
            for port in members:
                if port.type != "patch" and self._here(port, chassis):
                    self._copy_to(run, copy, port)

    def _here(self, port: PortBinding, chassis: str) -> bool:
        if port.type == "localnet":
            return chassis in self.localnet_chassis.get(port.name, ())
        return port.chassis == chassis

    def _copy_to(self, run: Run, flight: Flight, port: PortBinding) -> None:
        if flight.state.inport == port.name and not flight.state.flags & FLAG_LOOPBACK:
            return
        self._local(run, flight.fork(), port)

    # --- out of the egress pipeline ------------------------------------------------------------------------------------

    def leave_egress(self, run: Run, flight: Flight) -> None:
        """`output` in an egress pipeline: into the peer datapath, or out of the logical network."""
        port = self.ports[flight.state.outport]
        if port.type in ("patch", "l3gateway"):
            peer = self.ports.get(port.options.get("peer", ""))
            if peer is None:
                run.drop(flight, f"{port.name} has no peer")
                return
            state = flight.state
            state.clear_registers()
            state.clear_ct()
            state.flags = 0
            state.inport, state.outport = peer.name, ""
            flight.datapath, flight.port_zone = peer.datapath, self.zone_of(peer)
            run.go(flight, INGRESS, 0)
        elif port.type == "localnet":
            self._physical(run, flight, port)
        else:
            self._deliver(run, flight, port.name, self.hosts_on.get(port.name, []))

    def _physical(self, run: Run, flight: Flight, port: PortBinding) -> None:
        """Onto the physical network: to the hosts outside, or else into the other chassis that map it."""
        hosts = [h for h in self.hosts_on.get(port.name, []) if self._accepts(h, flight.state)]
        asked = self._asked(flight.state)
        if hosts and (asked is None or any(self.owns(h, asked) for h in hosts)):
            self._deliver(run, flight, port.name, hosts)
            return
        others = [c for c in self.localnet_chassis.get(port.name, ()) if c != flight.chassis]
        for chassis in others:
            copy = flight.fork()
            if copy.trail is not None:
                copy.trail.say(f"physical network to {chassis}")
            self.enter(run, copy, port.name, chassis)
        if not others:
            self._deliver(run, flight, port.name, [])

    def enter(self, run: Run, flight: Flight, port: str, chassis: str) -> None:
        """A frame comes in by a port of a switch on a chassis."""
        binding = self.ports[port]
        state = flight.state
        state.clear_registers()
        state.clear_ct()
        state.flags = 0
        state.inport, state.outport = port, ""
        flight.datapath, flight.chassis, flight.port_zone = binding.datapath, chassis, self.zone_of(binding)
        run.go(flight, INGRESS, 0)

    # --- hosts ---------------------------------------------------------------------------------------------------------

    def _accepts(self, host: Host, state: PacketState) -> bool:
        return state.eth_dst == self._macs[host] or bool(state.eth_dst & _MULTICAST_BIT)

    @staticmethod
    def _asked(state: PacketState) -> int | None:
        """The address that an ARP or ND question is about."""
        if state.eth_type == ETH_ARP and state.arp_op == ARP_REQUEST:
            return state.arp_tpa
        if state.eth_type == ETH_IPV6 and state.ip_proto == ICMPV6 and state.icmp_type == ND_NS:
            return state.nd_target
        return None

    def _deliver(self, run: Run, flight: Flight, port: str, hosts: list[Host]) -> None:
        """Out of a port. Hosts answer questions about their addresses, and learn from answers to theirs."""
        state = flight.state
        run.ends.append(End(DELIVERED, flight, port, ""))
        asked = self._asked(state)
        for host in hosts:
            if not self._accepts(host, state):
                continue
            if asked is not None and self.owns(host, asked):
                run.ends[-1].kind = ABSORBED
                run.ends[-1].reason = f"answered by {host.name}"
                self._answer(run, flight, host)
            elif state.eth_type == ETH_ARP and state.arp_op == ARP_REPLY and self.owns(host, state.arp_tpa):
                run.memory.host_neighbors[host.name, state.arp_spa] = state.arp_sha
            elif state.ip_proto == ICMPV6 and state.icmp_type == ND_NA and self.owns(host, state.ip6_dst):
                run.memory.host_neighbors[host.name, state.nd_target] = state.nd_tll or state.eth_src

    def _answer(self, run: Run, flight: Flight, host: Host) -> None:
        state, mac = flight.state, self._macs[host]
        reply = PacketState(eth_src=mac, eth_dst=state.eth_src)
        if state.eth_type == ETH_ARP:
            reply.eth_type, reply.arp_op = ETH_ARP, ARP_REPLY
            reply.arp_sha, reply.arp_spa = mac, state.arp_tpa
            reply.arp_tha, reply.arp_tpa = state.arp_sha, state.arp_spa
        else:
            reply.eth_type, reply.ip_proto, reply.ip_ttl = ETH_IPV6, ICMPV6, 255
            reply.icmp_type, reply.nd_target, reply.nd_tll = ND_NA, state.nd_target, mac
            reply.ip6_src, reply.ip6_dst = state.nd_target, state.ip6_src
        self.send(run, host, reply, origin="answer")

    def send(self, run: Run, host: Host, state: PacketState, origin: str = "", length_bytes: int = 0) -> None:
        """A host sends a frame; one from outside comes in on every chassis that maps the physical network."""
        places = self.localnet_chassis.get(host.port, ()) if host.kind == OUTSIDE else (host.chassis,)
        binding = self.ports.get(host.port)
        if binding is None:
            return  # a Southbound that was read may lack the port
        for chassis in places:
            if chassis not in self.chassis:
                continue
            flight = Flight(state.copy(), chassis, binding.datapath, "")
            flight.origin, flight.length_bytes = origin, length_bytes
            self.enter(run, flight, host.port, chassis)
