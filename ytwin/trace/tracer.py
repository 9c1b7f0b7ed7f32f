"""The room's door: walks of single packets, and whole conversations of a client with an address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from ytwin.core.errors import Unsupported
from ytwin.logical.addresses import ip_int, mac_text
from ytwin.logical.state import (
    ICMP,
    ICMPV6,
    PROTOCOLS,
    PacketState,
    arp_request,
    echo,
    neighbor_solicitation,
    transport,
)
from ytwin.trace.conntrack import TCP_RST
from ytwin.trace.conversation import converse
from ytwin.trace.executor import Run
from ytwin.trace.fabric import Fabric
from ytwin.trace.flight import ABSORBED, DELIVERED, UNANSWERED, End, Flight
from ytwin.trace.generated import is_icmp_error
from ytwin.trace.memory import Memory
from ytwin.trace.result import hops_of, packet_of
from ytwin.trace.tables import Program
from ytwin.trace.types import Conversation, Hop, Host, Packet, Verdict, Walk, World

_MAX_WALKS = 4096
"""Choices followed for one packet; more is refused by name rather than cut off in silence."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way that a packet can go: the walk, what the network remembers after it, the packet as it was received."""

    walk: Walk
    memory: Memory
    arrived: PacketState | None
    receiver: Host | None
    learned_affinity: bool = False


class Tracer:
    """Walks packets through a World. Keeps compiled tables between calls, and nothing else.

    `watch_ambiguity`: hops say where several flows of one priority match and do different things. OVN leaves open which one
    acts; a walk takes the first by match text. `every_table`: hops tell of every table, also of those that only say `next;`, and
    what the packet was before it.
    """

    def __init__(self, world: World, watch_ambiguity: bool = False, every_table: bool = False) -> None:
        self.world = world
        self.program = Program(world.southbound, watch_ambiguity, every_table)
        self.fabric = Fabric(world)
        self._start = Memory.of(world.southbound, world.userspace)

    def memory(self) -> Memory:
        """What the network remembers before anything was sent: the Southbound's MAC bindings."""
        return self._start.copy()

    # --- one packet ----------------------------------------------------------------------------------------------------

    def send(
        self, host: Host, state: PacketState, memory: Memory | None = None, length_bytes: int = 0
    ) -> tuple[Outcome, ...]:
        """Every way that a frame sent by a host can go; `memory` stays as it was."""
        start = memory if memory is not None else self._start
        return self._explore(lambda run: self.fabric.send(run, host, state, "", length_bytes), state, start, host.name)

    def walk(
        self, port: str, state: PacketState, memory: Memory | None = None, chassis: str = "", length_bytes: int = 0
    ) -> tuple[Outcome, ...]:
        """Every way that a frame which enters by a logical switch port can go.

        `chassis` "" means where the port is bound; for a localnet port, every chassis that maps it.
        Nobody needs to own the frame's addresses.
        """
        start = memory if memory is not None else self._start
        binding = self.fabric.ports[port]
        mapped = self.fabric.localnet_chassis.get(port, ()) if binding.type == "localnet" else (binding.chassis,)
        places = (chassis,) if chassis else tuple(filter(None, mapped))

        def inject(run: Run) -> None:
            for place in places:
                flight = Flight(state.copy(), place, binding.datapath, "")
                flight.length_bytes = length_bytes
                self.fabric.enter(run, flight, port, place)

        return self._explore(inject, state, start, "")

    def _explore(
        self, inject: Callable[[Run], None], sent: PacketState, start: Memory, sender: str
    ) -> tuple[Outcome, ...]:
        outcomes: list[Outcome] = []
        pending: list[tuple[int, ...]] = [()]
        while pending:
            choices = pending.pop()
            run = Run(self.program, self.fabric, start.copy(), choices)
            inject(run)
            run.finish()
            taken = (*choices, *(0,) * (len(run.alternatives) - len(choices)))
            for position in range(len(run.alternatives) - 1, len(choices) - 1, -1):
                pending += [(*taken[:position], other) for other in range(run.alternatives[position] - 1, 0, -1)]
            outcomes.append(self._judge(run, sent, sender))
            if len(outcomes) > _MAX_WALKS:
                raise Unsupported(f"one packet has more than {_MAX_WALKS} ways to go")
        return tuple(outcomes)

    def _judge(self, run: Run, sent: PacketState, sender: str) -> Outcome:
        """The end that counts: a delivery to an owner, before an answer by OVN, before anything that was lost."""
        packet = packet_of(sent)
        best: tuple[int, End, Host | None] | None = None
        for end in run.ends:
            host = self._owner(end) if end.kind == DELIVERED else None
            rank = self._rank(end, host, sender)
            if best is None or rank < best[0]:
                best = (rank, end, host)
        if best is None:
            known = sent.inport in self.fabric.ports
            reason = "no chassis takes the frame" if known else f"port {sent.inport} is not in the Southbound"
            walk = Walk((), Verdict.DROPPED, packet, None, "", "", reason)
            return Outcome(walk, run.memory, None, None)
        _, end, host = best
        hops, state = hops_of(end.flight.trail), end.flight.state
        origin = end.flight.origin
        received = packet_of(state) if end.kind == DELIVERED else None
        verdict, reason = Verdict.DROPPED, end.reason
        if end.kind == UNANSWERED:
            verdict = Verdict.UNANSWERED_ARP
        elif origin and origin not in ("clone", "answer"):
            answer = "TCP reset" if state.tcp_flags & TCP_RST else "ICMP error" if is_icmp_error(state) else origin
            unheard = ", which gets lost" if host is None else _ignored(packet, packet_of(state))
            verdict = Verdict.DROPPED if _ttl_ran_out(state) or unheard else Verdict.REJECTED
            reason = f"answered with {answer}{unheard}, by {_source_of(hops)}"
            if _ttl_ran_out(state):
                reason = f"TTL ran out on the way (a routing loop?): {reason}"
        elif end.kind == DELIVERED and host is not None:
            verdict, reason = Verdict.DELIVERED, f"delivered to {host.name}"
        elif end.kind == DELIVERED:
            reason = f"left by {end.port}, where nobody has {packet_of(state).ip_dst}"
        elif end.kind == ABSORBED:
            verdict = Verdict.DELIVERED if origin == "answer" or "answered by" in end.reason else Verdict.DROPPED
        name = host.name if host is not None and verdict is Verdict.DELIVERED else ""
        walk = Walk(hops, verdict, packet, received, name, end.port, reason)
        arrived = state if end.kind == DELIVERED else None
        return Outcome(walk, run.memory, arrived, host, end.learned_affinity)

    def _owner(self, end: End) -> Host | None:
        """The host at the port that takes the packet as its own: MAC and IP address."""
        state = end.flight.state
        for host in self.fabric.hosts_on.get(end.port, ()):
            if self.fabric.mac(host) == state.eth_dst and self.fabric.owns(host, state.ip_dst):
                return host
        return None

    @staticmethod
    def _rank(end: End, host: Host | None, sender: str) -> int:
        generated = end.flight.origin not in ("", "clone")
        if end.kind == DELIVERED and host is not None:
            return 0 if not generated else 1 if host.name == sender else 2
        if end.kind == UNANSWERED:
            return 3
        if end.kind == ABSORBED:
            return 4
        if end.kind == DELIVERED:
            return 5
        # Of several drops the one that got furthest explains most.
        depth, mark = 0, end.flight.trail
        while mark is not None and depth < 900:
            depth, mark = depth + 1, mark.before
        return 1000 - depth

    # --- hosts ---------------------------------------------------------------------------------------------------------

    def route(self, host: Host, address: str) -> tuple[str, str] | None:
        """(source address, next hop) that a host uses towards an address; None: no route, or no address of the family."""
        target = ip_address(address)
        sources = [a.partition("/") for a in host.addresses if (":" in a) == (target.version == 6)]
        if not sources:
            return None
        best: tuple[int, str, str] | None = None
        for own, _, length in sources:
            network = ip_network(f"{own}/{length or target.max_prefixlen}", strict=False)
            if target in network and (best is None or network.prefixlen > best[0]):
                best = (network.prefixlen, own, address)
        for route in host.routes:
            if (":" in route.prefix) != (target.version == 6):
                continue
            network = ip_network(route.prefix, strict=False)
            if target in network and (best is None or network.prefixlen > best[0]):
                via = route.via or address
                own = next(
                    (o for o, _, n in sources if ip_address(via) in ip_network(f"{o}/{n}", strict=False)), sources[0][0]
                )
                best = (network.prefixlen, own, via)
        return None if best is None else (str(ip_address(best[1])), str(ip_address(best[2])))

    def resolve(self, host: Host, source: str, address: str, memory: Memory) -> tuple[str, Walk | None]:
        """The MAC a host learns for a next hop by asking; `memory` learns with it. ("", the lost walk) if nobody answers."""
        key = (host.name, ip_int(address))
        if key not in memory.host_neighbors:
            question = neighbor_solicitation if ":" in address else arp_request
            state = question(host.port, host.mac, source, address)
            run = Run(self.program, self.fabric, memory)
            self.fabric.send(run, host, state)
            run.finish()
            if key not in memory.host_neighbors:
                return "", self._judge(run, state, host.name).walk
        return mac_text(memory.host_neighbors[key]), None

    # --- conversations -------------------------------------------------------------------------------------------------

    def converse(self, client: Host, address: str, port: int = 0, protocol: str = "icmp") -> Conversation:
        """The client calls the address: every backend that could answer, its reply, and the packet after that.

        `protocol`: tcp, udp, sctp or icmp (echo; `port` is ignored).
        """
        return converse(self, client, address, port, protocol)

    def frame(
        self,
        host: Host,
        ends: tuple[str, str],
        mac: str,
        protocol: str,
        ports: tuple[int, int],
        *,
        flags: int = 0,
        reply: bool = False,
    ) -> PacketState:
        """A packet of a conversation as the host sends it; `ends` and `ports` are (source, destination)."""
        macs = (host.mac, mac)
        if protocol not in PROTOCOLS:
            return echo(host.port, macs, ends, reply=reply)
        state = transport(protocol, host.port, macs, ends, ports)
        state.tcp_flags = flags if protocol == "tcp" else 0
        return state


def _ignored(sent: Packet, answer: Packet) -> str:
    """Why the sender takes no notice of a TCP reset: it comes from elsewhere than it called; "" if it listens."""
    called, source = (sent.ip_dst, sent.dst_port), (answer.ip_src, answer.src_port)
    if answer.protocol != "tcp" or source == called:
        return ""
    return f" from {answer.ip_src}, which {sent.ip_src} never called and ignores"


def _ttl_ran_out(state: PacketState) -> bool:
    """The packet is ICMP's or ICMPv6's "time exceeded"."""
    return (state.ip_proto, state.icmp_type) in ((ICMP, 11), (ICMPV6, 3))


def _source_of(hops: tuple[Hop, ...]) -> str:
    """The flow that made OVN answer."""
    for hop in reversed(hops):
        flow = hop.flow
        if flow is not None and "OVN answers" in hop.note:
            return f"{flow}" + (f", from {flow.source}" if flow.source else "")
    return "a flow"
