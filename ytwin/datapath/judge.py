"""Holds a traced conversation against what the datapaths on its way allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ytwin.datapath.costs import DP_HASH
from ytwin.datapath.limits import Limit
from ytwin.datapath.passes import Entry, Stay, stays
from ytwin.trace.types import Conversation, Path, Verdict, Walk

FIRST, REPLY, SECOND = "first packet", "reply", "second packet"


@dataclass(frozen=True, slots=True)
class Overrun:
    """A walk that takes more passes on one chassis than its datapath allows."""

    walk: str
    """"first packet", "reply" or "second packet"."""
    backend: str
    stay: Stay
    limit: Limit

    @property
    def depth(self) -> int:
        """What the walk counts against the limit."""
        return self.stay.depth(self.limit)

    @property
    def why(self) -> str:
        """One sentence: how many, where, the limit, and each of the causes."""
        stay, limit = self.stay, self.limit
        popped = self.depth - len(stay.recirculations)
        what = f"{len(stay.recirculations)} recirculations" + (" after taking off the tunnel header" if popped else "")
        causes = "; ".join(str(r) for r in stay.recirculations)
        return (
            f"{self.walk} needs {what} on {stay.chassis}; {limit.datapath} ({limit.origin}) drops it after "
            f"{limit.recirculations - popped}: {causes}"
        )

    @property
    def remedy(self) -> str:
        """What to change, the cheapest first."""
        over = self.depth - self.limit.recirculations
        hashing = sum(r.cause == DP_HASH for r in self.stay.recirculations)
        ways = []
        if hashing:
            rows = sorted({r.source for r in self.stay.recirculations if r.cause == DP_HASH and r.source})
            what = f" for {', '.join(rows)}" if rows else ""
            enough = "" if hashing >= over else f", which saves {hashing} of the {over} that are too many"
            ways.append(f"balancing.algorithm hash and no session affinity (both balance with dp_hash){what}{enough}")
        if self.stay.entry is Entry.PORT or hashing < over:
            ways.append("the backend, or the client, on another node than the gateways on the path")
        if self.limit.datapath == "netdev":
            ways.append("the kernel datapath (ClusterNetwork datapath: system)")
        return "; or ".join(ways)


def overruns(conversation: Conversation, limits: Mapping[str, Limit]) -> Iterator[Overrun]:
    """Every stay of every walk that is too long. A chassis without a limit (an empty mapping, say) allows everything."""
    for path in conversation.paths:
        yield from _overruns(path, limits)


def _overruns(path: Path, limits: Mapping[str, Limit]) -> Iterator[Overrun]:
    for name, walk in ((FIRST, path.forward), (REPLY, path.reply), (SECOND, path.second)):
        for stay in stays(walk) if walk is not None else ():
            limit = limits.get(stay.chassis)
            if limit is not None and stay.depth(limit) > limit.recirculations:
                yield Overrun(name, path.backend, stay, limit)


def limited(conversation: Conversation, limits: Mapping[str, Limit]) -> Conversation:
    """The conversation as it happens on these datapaths: a walk that takes too many passes is dropped, and nothing follows it.

    The trace judges the flows; this judges what carries them out. Paths that fail for another reason before keep it.
    """
    paths = tuple(_limited(path, limits) for path in conversation.paths)
    if paths == conversation.paths:
        return conversation
    failed = next(path for path in paths if path.verdict is not Verdict.DELIVERED)
    return replace(conversation, paths=paths, verdict=failed.verdict, reason=failed.reason)


def _limited(path: Path, limits: Mapping[str, Limit]) -> Path:
    first = next(_overruns(path, limits), None)
    if first is None:
        return path
    reason = f"recirculation limit: {first.why}"
    if first.walk == FIRST:
        lost = _dropped(path.forward, reason)
        return replace(
            path, verdict=Verdict.DROPPED, forward=lost, reply=None, second=None, client_seen_as="", reason=reason
        )
    if first.walk == REPLY:
        reply = _dropped(path.reply, reason)
        return replace(path, verdict=Verdict.REPLY_LOST, reply=reply, second=None, reason=reason)
    return replace(path, verdict=Verdict.DROPPED, second=_dropped(path.second, reason), reason=reason)


def _dropped(walk: Walk | None, reason: str) -> Walk:
    assert walk is not None
    return replace(walk, verdict=Verdict.DROPPED, received=None, receiver="", port="", reason=reason)
