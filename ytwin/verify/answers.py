"""Answers to the matrix's questions, each traced once for all clients and addresses that cannot differ in it.

`likeness` says who cannot differ, from the flows. What is shared is put into the words of whoever it is for, so that a shared
answer is the one that a trace of its own would give.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from ytwin.datapath import Limit, Overrun, limited, overruns
from ytwin.datapath.passes import stays
from ytwin.logical.addresses import ip_int
from ytwin.logical.southbound import DatapathId
from ytwin.trace import Tracer
from ytwin.trace.tables import Pipeline, Program
from ytwin.trace.types import Conversation, Host, Packet, Verdict, World
from ytwin.verify.likeness import Likeness, Sight, rewritten
from ytwin.verify.report import BackendResult


@dataclass(frozen=True, slots=True)
class Answer:
    """What the matrix keeps of a conversation, after the datapaths' limits."""

    verdict: Verdict
    reason: str
    backends: tuple[BackendResult, ...]
    receivers: tuple[str, ...]
    """Who got the first packet, one per path; "" for nobody."""
    overruns: tuple[Overrun, ...]


class _Watched(Program):
    """Notes which datapaths were walked."""

    visited: set[DatapathId]

    def pipeline(self, datapath: DatapathId, pipeline: str) -> Pipeline:
        self.visited.add(datapath)
        return super().pipeline(datapath, pipeline)


_Seen = tuple[tuple[int, Sight], ...]
_Kept = tuple[Answer, Host, str]
"""An answer, and the client and address it was traced for."""


class Answers:
    """Asks a Tracer. With `share`, one trace serves all questions of one kind."""

    nearness_matters = False
    """Whether a path to the next chassis is another than one on the client's own, where both deliver alike."""

    def __init__(
        self,
        world: World,
        limits: Mapping[str, Limit],
        share: bool = True,
        unlike: Mapping[str, Hashable] | None = None,
    ) -> None:
        """`unlike` by chassis: what else tells chassis apart for the asker; clients on unlike chassis share nothing."""
        self.vpc_of = {host.name: host.vpc for host in world.hosts}
        self._chassis_of = {host.name: host.chassis for host in world.hosts}
        self._limits = limits
        self._tracer = Tracer(world)
        self._program = _Watched(world.southbound)
        self._program.visited = set()
        self._tracer.program = self._program
        self._likeness = Likeness(world, limits, unlike or {}) if share else None
        self._numbers: dict[Hashable, int] = {}
        self._classes: dict[Host, int] = {}
        self._routes: dict[tuple[int, str], tuple[int, str] | None] = {}
        self._related: dict[str, frozenset[Host]] = {}
        self._neighbours: dict[tuple[str, str], tuple[str, ...]] = {}
        self._plain = False
        """Whether all went well in the last conversation, and would if client and backends were placed otherwise."""
        self._kept: dict[Hashable, dict[tuple[DatapathId, ...], dict[_Seen, _Kept]]] = {}
        self.traced = 0
        """Conversations walked so far."""

    def ask(self, client: Host, address: str, port: int, protocol: str) -> Answer:
        """The client calls the address."""
        return _told(self._kept_for(client, address, port, protocol), client, address)

    def _kept_for(self, client: Host, address: str, port: int, protocol: str) -> _Kept:
        """The answer that serves for this question, traced now if there is none."""
        likeness = self._likeness
        if likeness is None or self._tracer.fabric.owns(client, ip_int(address)):
            return self._trace(client, address, port, protocol), client, address
        route = self._route(likeness, client, address)
        if route is None:  # decided by the host alone, in no time, and said in its name
            return self._trace(client, address, port, protocol), client, address
        who = (self._class(likeness, client), route, port, protocol)
        anywhere = (*who, address, client in self._related_to(likeness, address) and client.name)
        exact = (*anywhere, self._beside(likeness, client, address))
        kept = (
            self._find(likeness, anywhere, client, None)
            or self._find(likeness, exact, client, None)
            or (self._find(likeness, who, client, address) if route[1] else None)
        )
        if kept is None:
            self._program.visited.clear()
            answer = self._trace(client, address, port, protocol)
            kept, places = (answer, client, address), tuple(sorted(self._program.visited))
            seen = _seen(likeness, places, client, address) if route[1] else None
            key: Hashable = who
            if seen is None:
                key = anywhere if self._plain and likeness.placeless(places) else exact
                seen = _seen(likeness, places, client, None)
            assert seen is not None
            self._kept.setdefault(key, {}).setdefault(places, {})[seen] = kept
        return kept

    def _find(self, likeness: Likeness, key: Hashable, client: Host, address: str | None) -> _Kept | None:
        """The answer of a walk that would go through the same datapaths in the same way; they decide, so they are compared."""
        for places, by_sight in self._kept.get(key, {}).items():
            seen = _seen(likeness, places, client, address)
            if seen is not None and seen in by_sight:
                return by_sight[seen]
        return None

    def _class(self, likeness: Likeness, client: Host) -> int:
        found = self._classes.get(client)
        if found is None:
            kind = likeness.kind(client)
            found = self._classes[client] = self._numbers.setdefault(kind, len(self._numbers))
        return found

    def _route(self, likeness: Likeness, client: Host, address: str) -> tuple[int, str] | None:
        """(which of its addresses a client sends from, by which next hop; "" for the address itself)."""
        key = (self._class(likeness, client), address)
        if key not in self._routes:
            found = self._tracer.route(client, address)
            if found is None:
                self._routes[key] = None
            else:
                own = [ip_int(a.partition("/")[0]) for a in client.addresses]
                self._routes[key] = own.index(ip_int(found[0])), "" if ip_int(found[1]) == ip_int(address) else found[1]
        return self._routes[key]

    def _related_to(self, likeness: Likeness, address: str) -> frozenset[Host]:
        found = self._related.get(address)
        if found is None:
            found = self._related[address] = likeness.related(address)
        return found

    def _beside(self, likeness: Likeness, client: Host, address: str) -> tuple[str, ...]:
        """Who of those that may answer is on the client's chassis."""
        key = (client.chassis, address)
        found = self._neighbours.get(key)
        if found is None:
            related = self._related_to(likeness, address)
            found = self._neighbours[key] = tuple(sorted(h.name for h in related if h.chassis == client.chassis))
        return found

    def _trace(self, client: Host, address: str, port: int, protocol: str) -> Answer:
        self.traced += 1
        traced = self._converse(client, address, port, protocol)
        judged = limited(traced, self._limits)
        well = judged.verdict is Verdict.DELIVERED and not self.nearness_matters
        self._plain = well and self._is_plain(client, traced)
        results = tuple(
            BackendResult(
                name=path.backend,
                forward=path.forward.verdict.value,
                reply=path.reply.verdict.value if path.reply is not None else "",
                client_seen_as=path.client_seen_as,
            )
            for path in judged.paths
            if path.address
        )
        receivers = tuple(path.forward.receiver for path in judged.paths)
        return Answer(judged.verdict, said(judged), results, receivers, tuple(overruns(traced, self._limits)))

    def _converse(self, client: Host, address: str, port: int, protocol: str) -> Conversation:
        return self._tracer.converse(client, address, port, protocol)

    def _is_plain(self, client: Host, conversation: Conversation) -> bool:
        """Whether it makes no difference which backends are beside the client, as far as the walks show.

        No walk could overrun: were all its passes on one chassis, they would fit. No router tracks connections, whose
        memory is its chassis's. No third chassis takes part.
        """
        least = min((limit.recirculations for limit in self._limits.values()), default=1 << 30)
        for path in conversation.paths:
            ends = {client.chassis, self._chassis_of.get(path.backend, "")}
            for walk in (path.forward, path.reply, path.second):
                if walk is None or sum(len(stay.recirculations) + 1 for stay in stays(walk)) >= least:
                    return False
                for hop in walk.hops:
                    tracks = hop.datapath.kind == "router" and hop.flow is not None and "ct_" in hop.flow.actions
                    if tracks or hop.chassis not in ends:
                        return False
        return True


def said(conversation: Conversation) -> str:
    """Why it ended so; where some backends answer and some do not, how many first."""
    tried = [path for path in conversation.paths if path.address]
    failed = sum(path.verdict is not Verdict.DELIVERED for path in tried)
    if not 0 < failed < len(tried):
        return conversation.reason
    return f"{failed} of {len(tried)} backends {'fails' if failed == 1 else 'fail'}: {conversation.reason}"


def _seen(likeness: Likeness, places: tuple[DatapathId, ...], client: Host, address: str | None) -> _Seen | None:
    """What datapaths see of a client, and of an address if it is not given already; None if one can tell it from every other."""
    found: list[tuple[int, Sight]] = []
    for place in places:
        sight: Sight | None = () if address is None else likeness.sight(place, address)
        if sight is None:
            return None
        found.append((likeness.view(client, place), sight))
    return tuple(found)


def _told(kept: _Kept, client: Host, address: str) -> Answer:
    """A shared answer in the words of another client and address."""
    answer, asked, called = kept
    if client is asked and address == called:
        return answer
    words = {asked.name: client.name, asked.port: client.port, asked.mac: client.mac, called: address}
    for old, new in zip(asked.addresses, client.addresses, strict=True):
        words[old.partition("/")[0]] = new.partition("/")[0]
    words[asked.chassis] = client.chassis
    words = {old: new for old, new in words.items() if old != new}
    if not words:
        return answer
    backends = tuple(
        replace(b, name=rewritten(b.name, words), client_seen_as=rewritten(b.client_seen_as, words))
        for b in answer.backends
    )
    elsewhere = tuple(
        replace(
            o,
            backend=rewritten(o.backend, words),
            stay=replace(
                o.stay,
                chassis=words.get(o.stay.chassis, o.stay.chassis),
                packet=_readdressed(o.stay.packet, words),
            ),
        )
        for o in answer.overruns
    )
    return replace(answer, reason=rewritten(answer.reason, words), backends=backends, overruns=elsewhere)


def _readdressed(packet: Packet, words: Mapping[str, str]) -> Packet:
    own = (packet.eth_src, packet.eth_dst, packet.ip_src, packet.ip_dst)
    eth_src, eth_dst, ip_src, ip_dst = (words.get(word, word) for word in own)
    return replace(packet, eth_src=eth_src, eth_dst=eth_dst, ip_src=ip_src, ip_dst=ip_dst)
