"""What to ask the wire, and what the twin says that it will answer. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from math import ceil, log

from ytwin.datapath import Limit, limited
from ytwin.logical.addresses import endpoint
from ytwin.northbound.rows import LoadBalancer
from ytwin.pipeline import Twin
from ytwin.trace import Tracer
from ytwin.trace.types import Conversation, Host, Path, Verdict
from ytwin.verify.matrix import ISOLATION_PORT, isolation_questions, representatives, service_questions

ANSWER, REFUSED, NOTHING = "answer", "refused", "nothing"
MISS = 1e-6
"""Largest probability with which a backend may stay unseen by chance."""
_MARGIN = 4


@dataclass(frozen=True, slots=True, order=True)
class Outcome:
    """How one connection ends. `seen_as` is the client's address as the backend sees it; `source` where the answer comes from."""

    kind: str
    backend: str = ""
    seen_as: str = ""
    source: str = ""

    def __str__(self) -> str:
        if self.kind != ANSWER:
            return self.kind
        return f"{self.backend} (sees {self.seen_as}, answers from {self.source})"


@dataclass(frozen=True, slots=True)
class Question:
    """One cell of the matrix, and the outcomes that connections may have."""

    client: str
    service: str
    address: str
    port: int
    protocol: str
    verdict: str
    """The twin's, for people."""
    reason: str
    forecast: frozenset[Outcome]
    paths: int
    """Choices of the load balancer, each as likely as any other; 1 without one."""
    affinity: bool
    """A client keeps its backend until the node forgets it: one look shows one of `forecast` only."""
    first_hangs: bool = False
    """The connection that teaches the affinity never gets through; `forecast` is about those after it."""
    constant: bool = False
    """The load balancer hashes nothing that differs between a client's connections: all end in the same one of `forecast`."""

    @property
    def name(self) -> str:
        at = endpoint(self.address, self.port)
        return f"{self.client} -> {self.service} {at}/{self.protocol}"

    @property
    def at_least(self) -> int:
        """Connections to make even when every forecast outcome was seen early: others must have a chance to show."""
        return 2 * self.paths + _MARGIN if self.paths > 1 else 2

    @property
    def at_most(self) -> int:
        """Connections after which a backend that was never seen is missing with probability 1 - MISS: n (1 - 1/n)^k <= MISS."""
        if self.paths < 2:
            return 3
        if self.constant:
            return self.at_least
        return max(self.at_least, ceil(log(MISS / self.paths) / log(1 - 1 / self.paths)))

    def miss_probability(self, connections: int) -> float:
        """Bound on the probability that some backend had no connection, of `connections`."""
        if self.paths < 2 or self.constant:
            return 0.0
        return min(1.0, self.paths * float((1 - 1 / self.paths) ** connections))


def questions(twin: Twin, limits: Mapping[str, Limit], exhaustive: bool = False) -> tuple[Question, ...]:
    """Every cell that `ytwin check` has, in its order, forecast for datapaths with these `limits` (chassis -> Limit)."""
    tracer = Tracer(twin.world)
    # The kernel's tracker lets even the connection through that teaches an affinity, as every tracker does with those after it.
    later = Tracer(replace(twin.world, userspace=frozenset()))
    hosts = twin.world.hosts if exhaustive else representatives(twin.world.hosts)
    sticky, constant = _vips(twin, _is_sticky), _vips(twin, _is_constant)
    found = []
    for client, target in service_questions(twin.snapshot, hosts):
        vip = (target.address, target.port, target.protocol)
        answer = limited(tracer.converse(client, *vip), limits)
        first_hangs = False
        if vip in sticky and twin.world.userspace:
            after = limited(later.converse(client, *vip), limits)
            first_hangs = not _delivered(answer) and _delivered(after)
            answer = after if first_hangs else answer
        asked = _question(client, target.service, target.address, target.port, answer)
        several = len(asked.forecast) > 1
        found.append(
            replace(
                asked,
                affinity=vip in sticky and (several or first_hangs),
                constant=several and vip in constant - sticky,
                first_hangs=first_hangs,
            )
        )
    for client, victim, address in isolation_questions(twin.world):
        answer = limited(tracer.converse(client, address, ISOLATION_PORT, "tcp"), limits)
        found.append(_question(client, f"isolation:{victim.subnet}", address, ISOLATION_PORT, answer))
    return tuple(found)


def server_ports(asked: Iterable[Question], twin: Twin) -> frozenset[tuple[str, int]]:
    """(protocol, port) that a packet of any question may arrive at: what is called, and every backend's."""
    ports = {(question.protocol, question.port) for question in asked}
    for row in twin.northbound.of_type(LoadBalancer):
        for backends in row.vips.values():
            for backend in backends.split(","):
                if backend:
                    ports.add((row.protocol, int(backend.rpartition(":")[2])))
    return frozenset(ports)


def _delivered(answer: Conversation) -> bool:
    """Whether some backend answers."""
    return any(path.verdict is Verdict.DELIVERED for path in answer.paths)


def _is_sticky(row: LoadBalancer) -> bool:
    return row.options.get("affinity_timeout", "0") != "0"


def _is_constant(row: LoadBalancer) -> bool:
    """No selection fields mean dp_hash, which hashes ports too."""
    return bool(row.selection_fields) and "tp_src" not in row.selection_fields


def _vips(twin: Twin, condition: Callable[[LoadBalancer], bool]) -> set[tuple[str, int, str]]:
    found = set()
    for row in twin.northbound.of_type(LoadBalancer):
        if condition(row):
            for vip in row.vips:
                address, _, port = vip.rpartition(":")
                found.add((str(ip_address(address.strip("[]"))), int(port), row.protocol))
    return found


def _question(client: Host, service: str, address: str, port: int, answer: Conversation) -> Question:
    canonical = str(ip_address(address))
    if not answer.paths:
        own = answer.verdict is Verdict.DELIVERED
        forecast = {Outcome(ANSWER, client.name, canonical, canonical) if own else _failure(answer.verdict)}
    else:
        forecast = {_outcome(path, canonical, answer.protocol) for path in answer.paths}
    return Question(
        client=client.name,
        service=service,
        address=canonical,
        port=port,
        protocol=answer.protocol,
        verdict=answer.verdict.value,
        reason=answer.reason,
        forecast=frozenset(forecast),
        paths=max(1, len(answer.paths)),
        affinity=False,
    )


def _outcome(path: Path, address: str, protocol: str) -> Outcome:
    if path.verdict is Verdict.REPLY_NOT_TRANSLATED and protocol == "udp":
        # A datagram from a wrong address is still seen; TCP resets it.
        received, arrived = path.reply and path.reply.received, path.forward.received
        source = received.ip_src if received else arrived.ip_dst if arrived else address
        return Outcome(ANSWER, path.backend, _host_part(path.client_seen_as), str(ip_address(source)))
    if path.verdict is not Verdict.DELIVERED:
        return _failure(path.verdict)
    return Outcome(ANSWER, path.backend, _host_part(path.client_seen_as), address)


def _failure(verdict: Verdict) -> Outcome:
    return Outcome(REFUSED if verdict is Verdict.REJECTED else NOTHING)


def _host_part(endpoint: str) -> str:
    """ "IP:PORT" or "[IP6]:PORT", without the port."""
    text = endpoint[1:].partition("]")[0] if endpoint.startswith("[") else endpoint
    if not endpoint.startswith("[") and endpoint.count(":") == 1:
        text = endpoint.partition(":")[0]
    return str(ip_address(text))
