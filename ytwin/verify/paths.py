"""Every delivered conversation that `check` asks about, each walked once for all the questions it stands for.

`check` keeps of a conversation only whether it holds. What a path costs needs the walks themselves, and here clients share one
only if their backends are as near to them and their nodes are alike in what matters (the card, say).

Of few questions each is walked, or shared by what `likeness` reads from the flows. Of many, those are taken for alike that agree
in protocol, family and kind of address, in how the Service balances, in what client and backends are (a node or not, and kinds
that the asker names), in what their nodes are like, and in whether a backend is on the client's own node, or is the client: what
differs then is which Service, Subnet or port it is, and no cost is made of that.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Mapping
from dataclasses import dataclass

from ytwin.datapath import Limit, limited
from ytwin.resources.addresses import version_of
from ytwin.resources.model import Endpoints, YusurService
from ytwin.resources.snapshot import Snapshot
from ytwin.trace.types import Conversation, Host, Verdict, World
from ytwin.verify.answers import Answers
from ytwin.verify.expect import Target, expectation
from ytwin.verify.matrix import Progress, representatives, service_questions

MANY = 500
"""Questions from which on those that look alike are walked once: about five seconds of walking."""

Question = tuple[Host, Target]
Wanted = Callable[[Host, Target], bool]


@dataclass(frozen=True, slots=True)
class Delivered:
    """A conversation that was walked, whole; `questions` begins with its own."""

    conversation: Conversation
    backends: frozenset[str]
    """Those to which a path is delivered, also by the datapaths on the way; may be none."""
    questions: tuple[Question, ...]

    @property
    def service(self) -> str:
        """ "namespace/name"."""
        return self.questions[0][1].service


class _Conversations(Answers):
    """Keeps the conversations behind the answers."""

    nearness_matters = True

    def __init__(self, world: World, limits: Mapping[str, Limit], unlike: Mapping[str, Hashable]) -> None:
        super().__init__(world, limits, unlike=unlike)
        self._unlike = unlike
        self._walked: dict[tuple[str, str, int, str], Conversation] = {}

    def stands_for(self, client: Host, address: str, port: int, protocol: str) -> Conversation:
        """The conversation that serves for this question."""
        _, asked, called = self._kept_for(client, address, port, protocol)
        return self._walked[asked.name, called, port, protocol]

    def _converse(self, client: Host, address: str, port: int, protocol: str) -> Conversation:
        found = super()._converse(client, address, port, protocol)
        self._walked[client.name, address, port, protocol] = found
        return found

    def nearness(self, client: Host, address: str, kinds: Container[str]) -> Hashable:
        """Of the hosts that may answer: is it the client, is it on its chassis, what are its chassis and itself like?"""
        assert self._likeness is not None
        return frozenset(
            (h is client, h.chassis == client.chassis, self._unlike.get(h.chassis), h.kind in kinds and h.kind)
            for h in self._related_to(self._likeness, address)
        )


def promised(
    snapshot: Snapshot,
    world: World,
    limits: Mapping[str, Limit],
    unlike: Mapping[str, Hashable],
    clients: Iterable[Host] | None = None,
    wanted: Wanted | None = None,
    progress: Progress | None = None,
    kinds: Iterable[str] = (),
) -> tuple[Delivered, ...]:
    """Conversations of Services in the order of their first questions.

    Asked are `clients` (by default one of each kind, VPC, Subnet and node, as in `check`), about every address and port that is
    promised to them and `wanted`. `unlike` by chassis: what tells nodes apart; `kinds` of hosts that matter, beside Node and
    outside. What a datapath's limit drops is no delivered path; a conversation without any has no `backends`.
    """
    answers, apart = _Conversations(world, limits, unlike), frozenset((*kinds, "Node"))
    hosts = representatives(world.hosts) if clients is None else tuple(clients)
    asked = [
        (client, target)
        for client, target in service_questions(snapshot, hosts)
        if (wanted is None or wanted(client, target)) and expectation(snapshot, client, target).reachable
    ]
    # Conversations live as long as `answers`, so that their identities stay their own.
    balancing = {f"{s.namespace}/{s.name}": _balancing(snapshot, s) for s in snapshot.all(YusurService)}
    first: dict[Hashable, Conversation] = {}
    found: dict[int, tuple[Conversation, list[Question]]] = {}
    reached: dict[int, frozenset[str]] = {}
    for done, (client, target) in enumerate(asked, 1):
        how = balancing[target.service], unlike.get(client.chassis)
        key = (how, _looks(answers, client, target, apart)) if len(asked) > MANY else (client, target)
        traced = first.get(key)
        if traced is None:
            traced = answers.stands_for(client, target.address, target.port, target.protocol)
            if id(traced) not in reached:
                reached[id(traced)] = _reached(traced, limits)
            if reached[id(traced)]:  # one that fails stands for itself only
                first[key] = traced
        found.setdefault(id(traced), (traced, []))[1].append((client, target))
        if progress is not None:
            progress(done, len(asked))
    return tuple(Delivered(traced, reached[id(traced)], tuple(questions)) for traced, questions in found.values())


def _looks(answers: _Conversations, client: Host, target: Target, kinds: Container[str]) -> Hashable:
    called = (target.kind, target.gateway, target.protocol, version_of(target.address), len(target.vpcs) > 1)
    who = client.name if client.kind == "outside" else client.kind in kinds and client.kind
    return called, who, answers.nearness(client, target.address, kinds)


def _balancing(snapshot: Snapshot, service: YusurService) -> Hashable:
    endpoints = snapshot.get(Endpoints, service.name, service.namespace)
    # One backend needs no choice, so the flows of its connections do not look at the client's port.
    chosen = frozenset(len(subset.addresses) > 1 for subset in endpoints.subsets) if endpoints is not None else None
    return service.spec.balancing, service.spec.session_affinity, chosen


def _reached(conversation: Conversation, limits: Mapping[str, Limit]) -> frozenset[str]:
    return frozenset(p.backend for p in limited(conversation, limits).paths if p.verdict is Verdict.DELIVERED)
