"""Real ovn-trace against the twin's imitation of it, packet by packet: every table, flow, action, rewrite and output.

ovn-trace takes what conntrack finds from a list that one daemon uses up over its whole life, and picks backends at random. So
both sides are given the same list, and the twin's trace is tried with every backend until one is what ovn-trace printed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from random import Random

from deployer.jsonrpc import RpcError
from deployer.sandbox import OvnSandbox, TraceDaemon
from experiments.conformance.packets import Packet
from ytwin.core.errors import Unsupported
from ytwin.logical.southbound import Southbound
from ytwin.logical.state import ND_NS
from ytwin.trace.ovntrace import Imitation, Trace, normalize

STATES = (
    ("new", 40),
    ("est", 20),
    ("est,rpl", 12),
    ("est,dnat", 4),
    ("new,dnat", 3),
    ("new,snat", 2),
    ("est,rpl,snat", 3),
    ("rel", 4),
    ("rel,rpl", 3),
    ("new,rel", 3),
    ("inv", 4),
    ("trk", 2),
)
"""Conntrack states that both are told to find, with weights."""
_BATCH = 1000
"""States that one daemon is given."""
_ENOUGH = 400
"""More states than one trace uses up, even in a routing loop until the TTL ends."""
_MOSTLY = 24
"""More states than nearly every trace uses up: tried first, because it is quicker."""
_WAYS = 256
"""Combinations of backends tried for one packet."""
_MINIMAL = "# Minimal trace.\n"
_BACKENDS = re.compile(r"backends=([^;)]*)")
_CT_LINE = re.compile(r"^ *ct_(?P<nat>[ds]nat|commit_nat)?[^;]*$", re.M)
"""A look-up: actions end with a semicolon, titles do not. NAT looks up only what is not tracked yet."""
_FLOW_LINE = re.compile(r" *(?P<place>[ \d]\d\. \w+): (?P<match>.*), priority (?P<priority>\d+)")
_DEFAULT = "/* default (use --ct to customize) */"
_AT_RANDOM = "backends at random"
_SEVERAL = "several flows"


@dataclass(frozen=True)
class Verdict:
    """`unjudged`: why ovn-trace cannot say; else `difference` is "" or what differs, and the rest is what was covered."""

    unjudged: str = ""
    difference: str = ""
    steps: int = 0
    stages: tuple[str, ...] = ()
    end: str = ""


class Judge:
    """Asks one sandbox about packets, with a trace daemon that it renews when conntrack states run out."""

    def __init__(self, ovn: OvnSandbox, southbound: Southbound, random: Random) -> None:
        self._ovn = ovn
        self._ours = Imitation(southbound)
        self._actions: dict[tuple[str, str, str], set[str]] = {}
        for flow in southbound.flows:
            place = f"{flow.table:2d}. {flow.stage}"
            self._actions.setdefault((place, str(flow.priority), flow.match), set()).add(flow.actions)
        self._random = random
        self._daemon: TraceDaemon | None = None
        self._states: list[str] = []

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_daemon()

    def judge(self, packet: Packet) -> Verdict:
        """Compare one packet."""
        if self._daemon is None or len(self._states) < _ENOUGH:
            self._renew()
        assert self._daemon is not None
        ahead = self._states[:_ENOUGH]
        if self._aborts(packet, ahead):
            return Verdict(unjudged="ovn-trace 23.03 ends with a failed assertion at nd_na_router")
        try:
            answer = self._daemon.trace("", packet.microflow, ["--detailed", "--minimal"])
        except RpcError as error:
            self._end_daemon()
            return Verdict(unjudged=f"ovn-trace gave up: {error}")
        if not answer.startswith("#"):
            self._end_daemon()
            return Verdict(unjudged=f"ovn-trace refused the packet: {answer.splitlines()[0]}")
        detailed, _, minimal = answer.partition(_MINIMAL)
        real = (normalize(detailed), minimal.strip("\n"))
        try:
            tried = list(self._ways(packet, ahead, real))
        except Unsupported as error:
            # The twin may not know an action, but it must say so and never guess: not agreement, so it counts as a difference.
            self._end_daemon()
            return Verdict(difference=f"  the twin does not know: {error}\n{_indented(real[0])}")
        ours = tried[-1]
        if self._agrees(ours, real):
            del self._states[: self._used(packet, ahead, ours, self._chosen)]
            return _agreed(ours)
        lookups = _lookups(real[0])
        if any(lookups):
            self._end_daemon()  # how many states it has used up is unknown now
        else:
            del self._states[: len(lookups)]
        reasons = [trace.unjudged for trace in tried if trace.unjudged and _AT_RANDOM not in trace.unjudged]
        if reasons:
            return Verdict(unjudged=re.sub(r"\d+", "N", reasons[0]))
        closest = max(tried, key=lambda trace: _common_lines(trace.text, real[0]))
        return Verdict(difference=_difference(real, closest, ahead, len(tried)))

    def _aborts(self, packet: Packet, ahead: Sequence[str]) -> bool:
        """Whether the packet meets an action that ovn-trace itself does not survive."""
        if packet.state.icmp_type != ND_NS:
            return False
        with suppress(Unsupported):
            trace = self._ours.trace(packet.state, ct=ahead[:_MOSTLY])
            return any(step.flow is not None and "nd_na_router" in step.flow.actions for step in trace.steps)
        return False

    def _ways(self, packet: Packet, ahead: Sequence[str], real: tuple[str, str]) -> Iterator[Trace]:
        """Our trace for every combination of backends; the last one is the one that agrees, if any does."""
        pending: list[tuple[str, ...]] = [()]
        self._chosen: tuple[str, ...] = ()
        for _ in range(_WAYS):
            if not pending:
                return
            chosen = pending.pop()
            trace = self._ours.trace(packet.state, ct=ahead[:_MOSTLY], backends=chosen)
            if _DEFAULT in trace.text:
                trace = self._ours.trace(packet.state, ct=ahead, backends=chosen)
            self._chosen = chosen
            yield trace
            if self._agrees(trace, real):
                return
            if _AT_RANDOM in trace.unjudged:
                choices = _choices(trace, packet.state.is_ipv6)
                if len(choices) > len(chosen):
                    pending += [(*chosen, backend) for backend in reversed(choices[len(chosen)])]

    def _agrees(self, ours: Trace, real: tuple[str, str]) -> bool:
        """The same lines; where flows of one priority match, any of those that do the same."""
        if (ours.unjudged and not ours.unjudged.startswith(_SEVERAL)) or ours.minimal != real[1]:
            return False
        mine, theirs = ours.text.splitlines(), real[0].splitlines()
        return len(mine) == len(theirs) and all(map(self._same_line, mine, theirs))

    def _same_line(self, mine: str, theirs: str) -> bool:
        if mine == theirs:
            return True
        ours, real = _FLOW_LINE.fullmatch(mine), _FLOW_LINE.fullmatch(theirs)
        if ours is None or real is None or (ours["place"], ours["priority"]) != (real["place"], real["priority"]):
            return False
        here = self._actions.get((ours["place"], ours["priority"], ours["match"]), set())
        there = self._actions.get((real["place"], real["priority"], real["match"]), set())
        return len(here) == 1 and here == there

    def _used(self, packet: Packet, ahead: Sequence[str], trace: Trace, chosen: tuple[str, ...]) -> int:
        """How many conntrack states the trace used up: the fewest with which it never falls back on the default."""
        lookups = _lookups(trace.text)
        used = len(lookups)
        if not any(lookups):
            return used
        while used and _DEFAULT not in self._ours.trace(packet.state, ct=ahead[: used - 1], backends=chosen).text:
            used -= 1
        return used

    def _renew(self) -> None:
        self._end_daemon()
        names, weights = zip(*STATES, strict=True)
        self._states = self._random.choices(names, weights, k=_BATCH)
        self._daemon = self._ovn.tracer(self._states)

    def _end_daemon(self) -> None:
        if self._daemon is not None:
            with suppress(RpcError):
                self._daemon.close()
            self._daemon = None


def _common_lines(one: str, other: str) -> int:
    """How many lines two texts begin with together."""
    pairs = zip(one.splitlines(), other.splitlines(), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _lookups(text: str) -> list[str | None]:
    """Conntrack actions of a detailed trace. One without NAT is sure to use up a state; NAT only if nothing did before it."""
    return [found["nat"] for found in _CT_LINE.finditer(text)]


def _choices(trace: Trace, ipv6: bool) -> list[list[str]]:
    """Backends of each flow on the way that has several to choose from."""
    result = []
    for step in trace.steps:
        found = _BACKENDS.search(step.flow.actions) if step.flow is not None else None
        if found:
            usable = [b for b in found[1].split(",") if b and (b.startswith("[") or b.count(":") > 1) == ipv6]
            if len(usable) > 1:
                result.append(usable)
    return result


def _agreed(trace: Trace) -> Verdict:
    stages = tuple(step.flow.stage for step in trace.steps if step.flow is not None)
    if not trace.outputs:
        last = trace.steps[-1]
        end = f"dropped in {last.flow.stage}" if last.flow is not None else "dropped: no flow matches"
    elif len(trace.outputs) > 1:
        end = "left by several ports"
    else:
        end = "left by one port"
    return Verdict(steps=len(trace.steps), stages=stages, end=end)


def _difference(real: tuple[str, str], ours: Trace, states: Sequence[str], tried: int) -> str:
    lines = [f"  conntrack finds: {' '.join(states[:8])} ...; {tried} choices of backends tried, the closest shown"]
    for name, theirs, mine in (("detailed", real[0], ours.text), ("minimal", real[1], ours.minimal)):
        if theirs != mine:
            lines.append(f"  {name} (-: ovn-trace, +: ours)")
            diff = difflib.unified_diff(theirs.splitlines(), mine.splitlines(), lineterm="", n=2)
            lines += [f"    {line}" for line in list(diff)[2:60]]
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()[-12:])
