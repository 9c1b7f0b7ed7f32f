"""A client calls an address: the first packet to every backend, the backend's reply, and the packet after that.

Both ends behave as hosts do: they choose a source address and a next hop by their own routes, and ask for its MAC.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ytwin.core.errors import Unsupported
from ytwin.logical.addresses import endpoint, ip_int, ip_text
from ytwin.logical.state import ICMP, ICMPV6, PROTOCOLS, PacketState
from ytwin.trace.conntrack import TCP_ACK, TCP_SYN, is_echo_reply
from ytwin.trace.memory import Memory
from ytwin.trace.result import packet_of
from ytwin.trace.types import Conversation, Host, Packet, Path, Verdict, Walk

if TYPE_CHECKING:
    from ytwin.trace.tracer import Outcome, Tracer

CLIENT_PORT = 40000
"""Source port of conversations: any ephemeral one."""
_FAMILIES_DIFFER = "has no address of that family"


class Call:
    """What stays the same through one conversation."""

    def __init__(self, tracer: Tracer, client: Host, address: str, port: int, protocol: str) -> None:
        self.tracer = tracer
        self.client = client
        self.address = ip_text(ip_int(address), ":" in address)
        self.port = 0 if protocol == "icmp" else port
        self.client_port = 0 if protocol == "icmp" else CLIENT_PORT
        self.protocol = protocol

    @property
    def destination(self) -> str:
        return endpoint(self.address, self.port)


def converse(tracer: Tracer, client: Host, address: str, port: int, protocol: str) -> Conversation:
    """See `Tracer.converse`."""
    if protocol.lower() not in (*PROTOCOLS, "icmp"):
        raise Unsupported(f"protocol {protocol!r}: tcp, udp, sctp or icmp")
    call = Call(tracer, client, address, port, protocol.lower())
    if tracer.fabric.owns(client, ip_int(address)):
        reason = f"{call.address} is {client.name}'s own address: the packet never leaves it"
        return Conversation(client.name, call.destination, call.protocol, Verdict.DELIVERED, (), reason)
    route = tracer.route(client, call.address)
    if route is None:
        family = 6 if ":" in call.address else 4
        has_family = any((":" in a) == (family == 6) for a in client.addresses)
        why = "has no route to it" if has_family else _FAMILIES_DIFFER
        return Conversation(
            client.name, call.destination, call.protocol, Verdict.NO_ROUTE, (), f"{client.name} {why}: {call.address}"
        )
    source, next_hop = route
    memory = tracer.memory()
    mac, lost = tracer.resolve(client, source, next_hop, memory)
    if not mac:
        return _nobody_answers(call, next_hop, lost)
    first = tracer.frame(
        client, (source, call.address), mac, call.protocol, (call.client_port, call.port), flags=TCP_SYN
    )
    outcomes = _first_packet(tracer, client, first, memory)
    paths = tuple(_follow(call, source, mac, outcome) for outcome in outcomes)
    failed = next((path for path in paths if path.verdict is not Verdict.DELIVERED), None)
    verdict = Verdict.DELIVERED if failed is None else failed.verdict
    reason = failed.reason if failed is not None else _success(paths)
    return Conversation(client.name, call.destination, call.protocol, verdict, paths, reason)


def _success(paths: tuple[Path, ...]) -> str:
    names = sorted({path.backend for path in paths})
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"answered by {shown}"


def _nobody_answers(call: Call, next_hop: str, lost: Walk | None) -> Conversation:
    question = "Neighbour Discovery" if ":" in next_hop else "ARP"
    where = f": {lost.reason}" if lost is not None and lost.reason else ""
    reason = f"{call.client.name} asks for {next_hop} by {question}, and no router or host answers{where}"
    paths: tuple[Path, ...] = ()
    if lost is not None:
        walk = replace(lost, verdict=Verdict.UNANSWERED_ARP, reason=reason)
        paths = (Path(next_hop, "", Verdict.UNANSWERED_ARP, walk, None, None, "", reason),)
    return Conversation(call.client.name, call.destination, call.protocol, Verdict.UNANSWERED_ARP, paths, reason)


def _first_packet(tracer: Tracer, client: Host, first: PacketState, memory: Memory) -> tuple[Outcome, ...]:
    """Every way of the first packet. Where it was lost to learning an affinity, the sender's retransmission instead.

    `commit_lb_aff` of OVN 23.03 drops the packet that learns; every client sends again. A userspace datapath has translated the
    retransmission before the flows see it, so that it learns and is dropped again, for ever: that connection hangs, and only the
    client's next one, from another port, gets through.
    """
    found: list[Outcome] = []
    for outcome in tracer.send(client, first, memory):
        if not outcome.learned_affinity:
            found.append(outcome)
            continue
        for again in tracer.send(client, first, outcome.memory):
            if again.learned_affinity:
                reason = (
                    "the connection that teaches the affinity never gets through a userspace datapath, "
                    f"the client's next one does: {again.walk.reason}"
                )
                found.append(replace(again, walk=replace(again.walk, reason=reason)))
                continue
            note = "retransmission: the first packet only taught the affinity"
            hops = again.walk.hops
            if hops:
                text = f"{note}; {hops[0].note}" if hops[0].note else note
                hops = (replace(hops[0], note=text), *hops[1:])
            found.append(replace(again, walk=replace(again.walk, hops=hops)))
    return tuple(found)


def _follow(call: Call, source: str, mac: str, outcome: Outcome) -> Path:
    """One way of the first packet, to the end of the conversation."""
    forward = outcome.walk
    chosen = _chosen(call, forward)
    if forward.verdict is not Verdict.DELIVERED or outcome.arrived is None or outcome.receiver is None:
        backend = chosen or call.destination
        return Path(backend, chosen, forward.verdict, forward, None, None, "", forward.reason)
    arrived, server = packet_of(outcome.arrived), outcome.receiver
    seen_as = endpoint(arrived.ip_src, arrived.src_port)
    if server.name == call.client.name and _echoed(call, outcome.arrived):
        reason = f"{call.address} answers echo requests itself: it is a router's address"
        return Path("router", chosen, Verdict.DELIVERED, forward, None, None, seen_as, reason)

    def path(verdict: Verdict, reason: str, reply: Walk | None = None, second: Walk | None = None) -> Path:
        return Path(server.name, chosen, verdict, forward, reply, second, seen_as, reason)

    if call.tracer.fabric.owns(server, ip_int(arrived.ip_src)):
        return path(*_from_own_address(call, arrived))
    answer = _reply(call, server, arrived, outcome.memory)
    if isinstance(answer, str):
        return path(Verdict.REPLY_LOST, answer)
    problem = _judge_reply(call, source, answer)
    if problem is not None:
        return path(*problem, answer.walk)
    frame = call.tracer.frame(
        call.client, (source, call.address), mac, call.protocol, (call.client_port, call.port), flags=TCP_ACK
    )
    seconds = call.tracer.send(call.client, frame, answer.memory)
    for second in seconds:
        if second.walk.verdict is not Verdict.DELIVERED:
            return path(second.walk.verdict, f"second packet: {second.walk.reason}", answer.walk, second.walk)
        got = second.walk.received
        if second.walk.receiver != server.name or got is None or not _same_ends(got, arrived):
            reason = (
                f"second packet: goes to {second.walk.receiver} as {got}, the first went to {server.name} as {arrived}"
            )
            return path(Verdict.DROPPED, reason, answer.walk, second.walk)
    return path(Verdict.DELIVERED, f"{server.name} answers", answer.walk, seconds[0].walk)


def _from_own_address(call: Call, arrived: Packet) -> tuple[Verdict, str]:
    """What Linux does with a packet that comes in from the wire with one of the host's own addresses as its source.

    Seen on the wire, and in the kernel: IPv4 refuses it in fib_validate_source() unless accept_local is set; IPv6 has no such
    check, and the answer goes through the loopback device without ever meeting a load balancer.
    """
    if ":" not in arrived.ip_src:
        return (
            Verdict.REPLY_LOST,
            f"{call.client.name} refuses a packet from its own address {arrived.ip_src} (martian source)",
        )
    got = endpoint(arrived.ip_dst, arrived.dst_port)
    return (
        Verdict.REPLY_NOT_TRANSLATED,
        f"{call.client.name} answers itself from {got}, but it called {call.destination}",
    )


def _same_ends(one: Packet, other: Packet) -> bool:
    return (one.ip_src, one.src_port, one.ip_dst, one.dst_port) == (
        other.ip_src,
        other.src_port,
        other.ip_dst,
        other.dst_port,
    )


def _echoed(call: Call, arrived: PacketState) -> bool:
    proto = arrived.ip_proto in (ICMP, ICMPV6)
    return proto and is_echo_reply(arrived) and arrived.ip_src == ip_int(call.address)


def _chosen(call: Call, walk: Walk) -> str:
    """The backend address that a load balancer put into the packet; "" if none did."""
    for hop in walk.hops:
        packet = hop.packet
        changed = (packet.ip_dst, packet.dst_port) != (call.address, call.port)
        if changed and "DNAT" in hop.note:
            return endpoint(packet.ip_dst, packet.dst_port)
    return ""


def _reply(call: Call, server: Host, arrived: Packet, memory: Memory) -> Outcome | str:
    """The server's answer on its way, or why it cannot even send it."""
    route = call.tracer.route(server, arrived.ip_src)
    if route is None:
        return f"reply: {server.name} has no route to {arrived.ip_src}"
    after = memory.copy()
    mac, lost = call.tracer.resolve(server, route[0], route[1], after)
    if not mac:
        where = f": {lost.reason}" if lost is not None else ""
        return f"reply: {server.name} asks for {route[1]} and nobody answers{where}"
    frame = call.tracer.frame(
        server,
        (arrived.ip_dst, arrived.ip_src),
        mac,
        call.protocol,
        (arrived.dst_port, arrived.src_port),
        flags=TCP_SYN | TCP_ACK,
        reply=True,
    )
    outcomes = call.tracer.send(server, frame, after)
    # ECMP may offer several ways back: one that fails is the one to tell about.
    return next((o for o in outcomes if o.walk.receiver != call.client.name), outcomes[0])


def _judge_reply(call: Call, source: str, answer: Outcome) -> tuple[Verdict, str] | None:
    """What is wrong with a reply; None if the client takes it as the answer to what it sent."""
    walk = answer.walk
    got = walk.received
    if walk.verdict is not Verdict.DELIVERED or got is None:
        return Verdict.REPLY_LOST, f"reply: {walk.reason}"
    if walk.receiver != call.client.name:
        return Verdict.REPLY_LOST, f"reply: goes to {walk.receiver or walk.port} instead of {call.client.name}"
    expected = (call.address, call.port, source, call.client_port)
    if (got.ip_src, got.src_port, got.ip_dst, got.dst_port) != expected:
        reason = f"reply: reaches {call.client.name} from {endpoint(got.ip_src, got.src_port)}, but it called {call.destination}"
        return Verdict.REPLY_NOT_TRANSLATED, reason
    return None
