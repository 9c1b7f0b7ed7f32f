"""Which fields end up in the datapath flows of a pass, and which logical flow is to blame. Pure.

ovs-vswitchd matches in a datapath flow everything that it looked at while it decided. Facts of OVS 3.1's classifier and of
ovn-controller 23.03, confirmed by the lab's comparison (`python -m experiments.recirculation`):

- One OpenFlow table holds the flows of one logical table number of *all* datapaths of the chassis, routers' and switches'. Flows
  of the same mask are one subtable; subtables are visited by their highest priority, down to that of the match found.
- A subtable is searched in stages: metadata with registers and conntrack's fields, then Ethernet, then IP, then ports. A stage
  that finds nothing ends the search, but its own fields count as looked at. The logical datapath is in the first stage, as are
  ct_state, ct_mark and ct_label. So what any flow of the table at or above the priority of the match says about these is looked
  at, whichever datapath it is of; of the later stages only what flows of the packet's own datapath say.
- Registers and metadata are internal to ovs-vswitchd and leave no trace in the datapath.
- A select group with fields to hash looks at these fields whole, one with dp_hash at the low bits of the hash.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from ytwin.datapath.program import Examined
from ytwin.logical import actions as act
from ytwin.logical.compile import WHOLE, AllOf, AnyOf, Lowered, Relation, Test
from ytwin.logical.expr import Bool, Residence
from ytwin.logical.fields import SYMBOLS, parts
from ytwin.logical.southbound import DatapathId, LogicalFlow
from ytwin.trace.fabric import Fabric
from ytwin.trace.tables import Program
from ytwin.trace.types import Hop, Packet, World

_CONNTRACK_WORD = re.compile(r"\bct(?:_mark|_label|_state)?\b[.\w]*(?:\[[\d.]+\])?(?:\s*[!=]=\s*[\w./]+)?")
_HEADER_WORD = re.compile(r"\b(?:eth|vlan|ip|ip4|ip6|tcp|udp|sctp|icmp|icmp4|icmp6|arp|nd)\b[.\w]*|/")
"""Words of matches that name fields; two flows with the same words look at the same fields."""
_CONNTRACK_SLOTS = frozenset({"ct_state", "ct_mark", "ct_label"})
_HEADERS = {
    slot: symbol.name
    for symbol in SYMBOLS.values()
    for slot in symbol.slots
    if "." in symbol.name and not symbol.name.startswith(("ct", "pkt", "reg", "xx", "flags")) and not symbol.newer
} | {"tp_src": "{protocol}.src", "tp_dst": "{protocol}.dst"}
"""Slots of packet headers and the names of their fields."""
_PREREQUISITE = {
    "ip4": (4, ""),
    "ip6": (6, ""),
    "tcp": (0, "tcp"),
    "arp": (0, "arp"),
    "rarp": (0, "arp"),
    "nd": (0, "nd"),
}
_PREREQUISITE |= {"icmp4": (4, "icmp"), "icmp6": (6, "icmp")}
"""First part of a field's name -> (IP version, protocol) of the packets that have it; 0 and "": any."""
_HASHED = {
    "ip_src": "ip4.src",
    "ip_dst": "ip4.dst",
    "ipv6_src": "ip6.src",
    "ipv6_dst": "ip6.dst",
    "ip_proto": "ip.proto",
}
_HASHED |= {"eth_src": "eth.src", "eth_dst": "eth.dst"}
_HASHED |= {f"{p}_{end}": "{protocol}." + end for p in ("tp", "tcp", "udp", "sctp") for end in ("src", "dst")}
_NATTED = "ct_mark.natted"


class _Word(NamedTuple):
    """A field that the flows of a table look at from this priority on downwards."""

    priority: int
    field: str
    masked: bool
    flow: LogicalFlow


class _Group(NamedTuple):
    """Flows of one table and priority that name the same fields."""

    priority: int
    words: frozenset[str]
    flows: list[LogicalFlow]


_Fields = Callable[[Test | Relation], Iterator[tuple[str, bool]]]


class Examiner:
    """Answers for one World; remembers what it found out about each table, so that a packet costs no walk over flows."""

    def __init__(self, world: World, program: Program, fabric: Fabric) -> None:
        self._program = program
        self._fabric = fabric
        self._flows: dict[tuple[str, int], list[LogicalFlow]] = defaultdict(list)
        for flow in world.southbound.flows:
            self._flows[flow.pipeline, flow.table].append(flow)
        self._balanced = any(balancer.vips for balancer in world.southbound.load_balancers)
        self._local: dict[str, frozenset[DatapathId]] = {}
        self._groups: dict[tuple[object, ...], list[_Group]] = {}
        self._conntrack: dict[tuple[str, str, int], tuple[_Word, ...]] = {}
        self._headers: dict[tuple[str, DatapathId, str, int], tuple[_Word, ...]] = {}
        self._answers: dict[tuple[object, ...], tuple[Examined, ...]] = {}

    def of(self, hop: Hop, before: Packet) -> tuple[Examined, ...]:
        """What the look-up of a packet in the hop's table looks at; `before`: the packet as the table met it."""
        priority = hop.flow.priority if hop.flow is not None else -1
        version = 6 if ":" in before.ip_dst else 4
        key = (hop.chassis, hop.datapath, hop.pipeline, hop.table, priority, version, before.protocol)
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = tuple(self._find(hop, priority, version, before.protocol))
        return found

    def _find(self, hop: Hop, priority: int, version: int, protocol: str) -> Iterator[Examined]:
        for word in _down_to(priority, self._conntrack_words(hop)):
            owner = hop.datapath if hop.datapath in word.flow.datapaths else word.flow.datapaths[0]
            yield Examined(word.field, word.masked, word.flow.stage, owner.name, word.flow)
        for word in _down_to(priority, self._header_words(hop)):
            if _has(word.field, version, protocol):
                name = word.field.format(protocol=protocol)
                yield Examined(name, word.masked, hop.stage, hop.datapath.name, word.flow)

    def by_action(self, action: act.Action, hop: Hop) -> Iterator[Examined]:
        """What the tables look at that ovn-controller fills for an action: hairpin detection looks for balanced connections."""
        if isinstance(action, act.Result) and action.function == "chk_lb_hairpin" and self._balanced:
            assert hop.flow is not None
            yield Examined(_NATTED, True, hop.stage, hop.datapath.name, hop.flow)

    # --- tables --------------------------------------------------------------------------------------------------------

    def _conntrack_words(self, hop: Hop) -> tuple[_Word, ...]:
        key = (hop.chassis, hop.pipeline, hop.table)
        if key not in self._conntrack:
            if key[1:] not in self._groups:
                self._groups[key[1:]] = _grouped(self._flows[hop.pipeline, hop.table], _CONNTRACK_WORD)
            local = self.local(hop.chassis)
            words = self._words(hop.chassis, self._groups[key[1:]], local, _conntrack_fields)
            self._conntrack[key] = tuple(words)
        return self._conntrack[key]

    def _header_words(self, hop: Hop) -> tuple[_Word, ...]:
        key = (hop.chassis, hop.datapath, hop.pipeline, hop.table)
        if key not in self._headers:
            own = frozenset({hop.datapath})
            if key[1:] not in self._groups:
                flows = [f for f in self._flows[hop.pipeline, hop.table] if hop.datapath in f.datapaths]
                self._groups[key[1:]] = _grouped(flows, _HEADER_WORD)
            self._headers[key] = tuple(self._words(hop.chassis, self._groups[key[1:]], own, _header_fields))
        return self._headers[key]

    def _words(
        self, chassis: str, groups: list[_Group], datapaths: frozenset[DatapathId], fields: _Fields
    ) -> Iterator[_Word]:
        """Every field once, at the highest priority that names it. Of flows with the same words only one is parsed."""
        here = self._fabric.residence(chassis)
        known: set[str] = set()
        told: set[tuple[str, bool]] = set()
        for group in groups:
            if group.words <= known:
                continue
            for flow in group.flows:
                if datapaths.isdisjoint(flow.datapaths):
                    continue
                tests = _tests(self._program.entry(flow).match.term, here)
                for name, masked in (word for test in tests or () for word in fields(test)):
                    if (name, masked) not in told:
                        told.add((name, masked))
                        yield _Word(group.priority, name, masked, flow)
                if "is_chassis_resident" not in flow.match:
                    known |= group.words
                    break

    def local(self, chassis: str) -> frozenset[DatapathId]:
        """The datapaths whose flows ovn-controller puts into this chassis: those of its ports, and what patch ports lead to.

        The way does not go on through a gateway port that redirects always and whose chassis this is not.
        """
        if chassis not in self._local:
            ports = self._fabric.ports
            leads: dict[DatapathId, list[DatapathId]] = defaultdict(list)
            waiting = []
            for port in ports.values():
                peer = ports.get(port.options.get("peer", ""))
                if peer is not None and self._adds_peer(port.name, chassis):
                    leads[port.datapath].append(peer.datapath)
                if port.chassis == chassis or chassis in {name for name, _ in port.gateway_chassis}:
                    waiting.append(port.datapath)
            found: set[DatapathId] = set()
            while waiting:
                datapath = waiting.pop()
                if datapath not in found:
                    found.add(datapath)
                    waiting += leads[datapath]
            self._local[chassis] = frozenset(found)
        return self._local[chassis]

    def _adds_peer(self, name: str, chassis: str) -> bool:
        port = self._fabric.ports[name]
        if port.type == "l3gateway":
            return port.chassis == chassis
        if port.type != "patch":
            return False
        redirect = self._fabric.ports.get(port.options.get("chassis-redirect-port", ""))
        if redirect is None or redirect.options.get("always-redirect", "false") != "true":
            return True
        return redirect.chassis == chassis or chassis in {other for other, _ in redirect.gateway_chassis}


def by_group(hash_fields: Iterable[str], hop: Hop, packet: Packet) -> Iterator[Examined]:
    """What the choice among the buckets of a select group looks at; without fields: the hash that the datapath made."""
    assert hop.flow is not None
    names = list(hash_fields)
    if not names:
        yield Examined("dp_hash", True, hop.stage, hop.datapath.name, hop.flow)
    for name in names:
        field = _HASHED.get(name, name)
        if _has(field, 6 if ":" in packet.ip_dst else 4, packet.protocol):
            field = field.format(protocol=packet.protocol)
            yield Examined(field, False, hop.stage, hop.datapath.name, hop.flow)


def _grouped(flows: Iterable[LogicalFlow], pattern: re.Pattern[str]) -> list[_Group]:
    """Highest priority first; within one priority by the text of the first flow, so that the order of flows does not matter."""
    groups: dict[tuple[int, frozenset[str]], list[LogicalFlow]] = defaultdict(list)
    for flow in sorted(flows, key=lambda f: (-f.priority, f.match, f.actions)):
        words = frozenset(pattern.findall(flow.match))
        if pattern is _HEADER_WORD:
            words |= frozenset(pattern.findall(flow.actions))
        if words:
            groups[flow.priority, words].append(flow)
    return [_Group(priority, words, members) for (priority, words), members in groups.items()]


def _tests(term: Lowered, here: Residence) -> list[Test | Relation] | None:
    """The tests in a match as it is on this chassis; None if it is false there, so that ovn-controller leaves the flow out."""
    if isinstance(term, Test | Relation):
        return [term]
    if isinstance(term, Bool):
        return [] if term.value else None
    if isinstance(term, AllOf | AnyOf):
        found = [_tests(each, here) for each in term.terms]
        if isinstance(term, AllOf) and None in found:
            return None
        if all(tests is None for tests in found):
            return None
        return [test for tests in found for test in tests or ()]
    return [] if here.resident(term.port) != term.negated else None


def _conntrack_fields(test: Test | Relation) -> Iterator[tuple[str, bool]]:
    slots = [(test.slot, test.mask)] if isinstance(test, Test) else [(p.slot, WHOLE) for p in parts(test.field)]
    for slot, mask in slots:
        if slot in _CONNTRACK_SLOTS:
            yield from _bits(slot, mask)


@cache
def _bits(slot: str, mask: int) -> tuple[tuple[str, bool], ...]:
    """Names of the bits of a conntrack field, as far as 23.03 has names for them."""
    if mask == WHOLE:
        return ((slot, False),)
    found = []
    for symbol in SYMBOLS.values():
        bits = ((1 << symbol.width) - 1) << symbol.parent_low
        if symbol.parent == slot and not symbol.newer and mask & bits:
            found.append((symbol.name, True))
            mask &= ~bits
    return (*found, *([(slot, True)] if mask else []))


def _header_fields(test: Test | Relation) -> Iterator[tuple[str, bool]]:
    if isinstance(test, Test):
        if test.slot in _HEADERS:
            yield _HEADERS[test.slot], test.mask != WHOLE
        return
    for part in parts(test.field):
        if part.slot in _HEADERS:
            yield _HEADERS[part.slot], True


def _has(field: str, version: int, protocol: str) -> bool:
    """Whether a packet has the field."""
    need_version, need_protocol = _PREREQUISITE.get(field.partition(".")[0], (0, ""))
    return need_version in (0, version) and need_protocol in ("", protocol)


def _down_to(priority: int, words: tuple[_Word, ...]) -> tuple[_Word, ...]:
    """Words are sorted by falling priority; those of the match's own priority count."""
    return words[: bisect_right(words, -priority, key=lambda word: -word.priority)]
