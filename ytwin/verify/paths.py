"""Every delivered conversation that `check` asks about, each walked once for all the questions it stands for.

`check` keeps of a conversation only whether it holds. What a path costs needs the walks themselves, and here clients share one
only if their backends are as near to them and their nodes are alike in what matters (the card, say).

Of few questions each is walked, or shared by what `likeness` reads from the flows. Of many, those are taken for alike that agree
in protocol, family and kind of address, in how the Service balances, in the client's kind, in what their nodes are like, and in
whether a backend is on the client's own node, or is the client: what differs then is which Service, Subnet or port it is, and no
cost is made of that.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

from ytwin.datapath import Limit, limited
from ytwin.resources.addresses import version_of
from ytwin.resources.model import YusurService
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
    """Those to which a path is delivered, also by the datapaths on the way."""
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

    def nearness(self, client: Host, address: str) -> tuple[bool, bool]:
        """Whether some host that may answer is on the client's chassis, and whether some is elsewhere."""
        likeness = self._likeness
        near = (
            {h.chassis == client.chassis for h in self._related_to(likeness, address)} if likeness is not None else ()
        )
        return True in near, False in near


def delivered(
    snapshot: Snapshot,
    world: World,
    limits: Mapping[str, Limit],
    unlike: Mapping[str, Hashable],
    clients: Iterable[Host] | None = None,
    wanted: Wanted | None = None,
    progress: Progress | None = None,
) -> tuple[Delivered, ...]:
    """Conversations of Services in the order of their first questions.

    Asked are `clients` (by default one of each kind, VPC, Subnet and node, as in `check`), about every address and port that is
    promised to them and `wanted`. `unlike` by chassis: what tells nodes apart. What a datapath's limit drops is left out, and so
    is a conversation without a delivered path.
    """
    answers = _Conversations(world, limits, unlike)
    hosts = representatives(world.hosts) if clients is None else tuple(clients)
    asked = [
        (client, target)
        for client, target in service_questions(snapshot, hosts)
        if (wanted is None or wanted(client, target)) and expectation(snapshot, client, target).reachable
    ]
    balancing = {f"{s.namespace}/{s.name}": _balancing(s) for s in snapshot.all(YusurService)}
    first: dict[Hashable, Question] = {}
    found: dict[int, tuple[Conversation, list[Question]]] = {}
    for done, (client, target) in enumerate(asked, 1):
        how = balancing[target.service], unlike.get(client.chassis)
        key = (how, _looks(answers, client, target)) if len(asked) > MANY else (client, target)
        like, at = first.setdefault(key, (client, target))
        traced = answers.stands_for(like, at.address, at.port, at.protocol)
        found.setdefault(id(traced), (traced, []))[1].append((client, target))
        if progress is not None:
            progress(done, len(asked))
    made = (Delivered(traced, _reached(traced, limits), tuple(questions)) for traced, questions in found.values())
    return tuple(one for one in made if one.backends)


def _looks(answers: _Conversations, client: Host, target: Target) -> Hashable:
    called = (target.kind, target.gateway, target.protocol, version_of(target.address), len(target.vpcs) > 1)
    who = client.name if client.kind == "outside" else client.kind
    return called, who, answers.nearness(client, target.address)


def _balancing(service: YusurService) -> Hashable:
    return service.spec.balancing.algorithm, service.spec.session_affinity


def _reached(conversation: Conversation, limits: Mapping[str, Limit]) -> frozenset[str]:
    return frozenset(p.backend for p in limited(conversation, limits).paths if p.verdict is Verdict.DELIVERED)
