"""What a look-up in one OpenFlow table of a chassis looks at: OVS's classifier, for a packet of which the match is known. Pure.

Facts of OVS 3.1 (lib/classifier.c) and of ovn-controller 23.03:

- one OpenFlow table holds the flows of one logical table number of *all* datapaths of the chassis, routers' and switches';
- flows of the same mask are one subtable; subtables are visited by their highest priority, until it is below that of the match
  found. Which comes first of several with the match's own priority is OVS's affair: here all of them are visited;
- a subtable is searched in stages: metadata with registers and conntrack's fields, then Ethernet, then IP, then ports. A stage
  that no flow passes ends the search, and the fields of the stages so far were looked at. The logical datapath is in the first
  stage, and so are ct_state, ct_mark and ct_label;
- for IPv4 addresses a trie of the whole table's prefixes comes before the stage of IP, for ports one of the subtable's before
  giving up: then only as many bits were looked at as it takes to see that no prefix of that length fits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any, NamedTuple

from ytwin.logical.compile import WHOLE, AllOf, AnyOf, Lowered, Relation, Test
from ytwin.logical.expr import Bool, Residence
from ytwin.logical.fields import SYMBOLS, parts
from ytwin.logical.southbound import DatapathId, LogicalFlow
from ytwin.logical.state import FIELD_SLOTS

METADATA = "metadata"
"""The slot of the logical datapath, behind all others."""
POSITION = {slot: number for number, slot in enumerate((*FIELD_SLOTS, METADATA))}
WIDTHS = {slot: s.width // len(s.slots) for s in SYMBOLS.values() for slot in s.slots}
CONNTRACK = frozenset({"ct_state", "ct_mark", "ct_label"})
_L2 = frozenset({"eth_src", "eth_dst", "eth_type", "vlan_tci"})
_L3 = frozenset(
    {"ip_proto", "ip_dscp", "ip_ecn", "ip_ttl", "ip_frag", "ip4_src", "ip4_dst", "ip6_src", "ip6_dst", "ip6_label"}
    | {"arp_op", "arp_spa", "arp_tpa"}
)
_L4 = frozenset(
    {"tp_src", "tp_dst", "tcp_flags", "icmp_type", "icmp_code", "arp_sha", "arp_tha", "nd_target", "nd_sll", "nd_tll"}
)
_TRIES = {"ip4_dst": "ip4_dst", "arp_tpa": "ip4_dst", "ip4_src": "ip4_src", "arp_spa": "ip4_src"}
"""Slots whose prefixes are in a trie (OVS's default), and which; an ARP's addresses are the same field to OVS."""
_MANY = 512
"""Conjunctions of one flow beyond which it is taken as one that may match whatever the values."""


class Unknown(frozenset[Any]):
    """Stands for a value that is none of these; empty: any."""


Conjunction = dict[str, tuple[int, Any]]
"""Slot -> (mask, value)."""


def stage_of(slot: str) -> int:
    """0 metadata, 1 Ethernet, 2 IP, 3 ports and the like."""
    return 1 if slot in _L2 else 2 if slot in _L3 else 3 if slot in _L4 else 0


class Looked(NamedTuple):
    """Bits of a slot that a look-up depended on, and a flow that asks for them."""

    slot: str
    mask: int
    flow: LogicalFlow


class _Trie:
    """Prefixes of one field; knows which lengths fit a value, and how many bits it takes to see that."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._inner: set[int] = {1}
        self._ends: set[int] = set()
        self._lengths: set[int] = set()

    def add(self, value: int, length: int) -> None:
        node = (1 << length) | (value >> (self._width - length))
        if node in self._ends:
            return
        self._ends.add(node)
        self._lengths.add(length)
        while node not in self._inner:
            self._inner.add(node)
            node >>= 1

    def look_up(self, value: int) -> tuple[frozenset[int], int]:
        """(lengths of the prefixes that fit, bits that were compared)."""
        whole = (1 << self._width) | value
        low, high = 0, self._width
        while low < high:  # the longest path that exists
            middle = (low + high + 1) // 2
            if whole >> (self._width - middle) in self._inner:
                low = middle
            else:
                high = middle - 1
        node = whole >> (self._width - low)
        leaf = node * 2 not in self._inner and node * 2 + 1 not in self._inner
        fit = frozenset(n for n in self._lengths if n <= low and whole >> (self._width - n) in self._ends)
        return fit, low if leaf else min(low + 1, self._width)


class _Subtable:
    """Flows of one mask."""

    def __init__(self, mask: tuple[tuple[str, int], ...], flow: LogicalFlow) -> None:
        self.flow = flow
        """The first of highest priority."""
        self.datapaths: set[DatapathId] = set()
        self.loose = False
        """Whether some flow's values are not known."""
        stages = sorted({stage_of(slot) for slot, _ in mask})
        self.stages = [[(slot, bits) for slot, bits in mask if stage_of(slot) == stage] for stage in stages]
        upto = [[part for stage in self.stages[: n + 1] for part in stage] for n in range(len(self.stages))]
        self._readers = [[(POSITION[slot], bits) for slot, bits in some] for some in upto]
        self._slots = upto
        self._found: list[set[tuple[Any, ...]]] = [set() for _ in upto]
        self.prefixes = {slot: _length(bits, 32) for slot, bits in mask if slot in _TRIES}
        ports = dict(mask)
        self.port_mask = (_bits("tp_src", ports.get("tp_src", 0)) << 16) | _bits("tp_dst", ports.get("tp_dst", 0))
        self.port_length = 32 - ((self.port_mask & -self.port_mask).bit_length() - 1) if self.port_mask else 0
        self.port_trie = _Trie(32)

    def add(self, conjunction: Conjunction) -> None:
        if any(isinstance(value, Unknown) for _, value in conjunction.values()):
            self.loose = True
            return
        for slots, found in zip(self._slots, self._found, strict=True):
            found.add(tuple(conjunction[slot][1] for slot, _ in slots))
        if self.port_mask:
            ports = (conjunction.get("tp_src", (0, 0))[1] << 16) | conjunction.get("tp_dst", (0, 0))[1]
            self.port_trie.add(ports, self.port_length)

    def passes(self, number: int, values: tuple[Any, ...]) -> bool:
        """Whether some flow agrees with the packet in this stage and those before."""
        if self.loose:
            return True
        key = [values[at] if bits == WHOLE else values[at] & bits for at, bits in self._readers[number]]
        return tuple(key) in self._found[number]


class Classifier:
    """One OpenFlow table of one chassis."""

    def __init__(self, flows: Iterable[tuple[LogicalFlow, tuple[DatapathId, ...], list[Conjunction]]]) -> None:
        """Flows by falling priority, with those of their datapaths that are on the chassis."""
        subtables: dict[tuple[tuple[str, int], ...], _Subtable] = {}
        self._tries = {"ip4_dst": _Trie(32), "ip4_src": _Trie(32)}
        for flow, datapaths, conjunctions in flows:
            for conjunction in conjunctions:
                mask = ((METADATA, WHOLE), *sorted((slot, bits) for slot, (bits, _) in conjunction.items()))
                subtable = subtables.get(mask)
                if subtable is None:
                    subtable = subtables[mask] = _Subtable(mask, flow)
                subtable.datapaths.update(datapaths)
                for datapath in datapaths:
                    subtable.add({METADATA: (WHOLE, datapath), **conjunction})
                self._remember_prefixes(conjunction)
        self._subtables = sorted(subtables.values(), key=lambda s: -s.flow.priority)
        self._orders: dict[DatapathId, list[_Subtable | Looked]] = {}

    def _remember_prefixes(self, conjunction: Conjunction) -> None:
        for slot, (bits, value) in conjunction.items():
            if slot in _TRIES and not isinstance(value, Unknown) and (length := _length(bits, 32)):
                self._tries[_TRIES[slot]].add(value, length)

    def look_up(self, values: tuple[Any, ...], priority: int) -> Iterator[Looked]:
        """What is looked at until a match of this priority is found; `values` by POSITION."""
        tries: dict[str, tuple[frozenset[int], int]] = {}
        wild: dict[str, int] = defaultdict(int)
        for each in self._order(values[-1]):
            if each.flow.priority < priority:
                break
            found = ((each.slot, each.mask),) if isinstance(each, Looked) else self._visit(each, values, tries, wild)
            for slot, bits in found:
                new = bits & ~wild[slot]
                if new:
                    wild[slot] |= new
                    yield Looked(slot, bits, each.flow)

    def _order(self, datapath: DatapathId) -> list[_Subtable | Looked]:
        """The subtables that have flows of a datapath, and what the others say of conntrack: they end with their first stage."""
        if datapath not in self._orders:
            order: list[_Subtable | Looked] = []
            told: set[tuple[str, int]] = set()
            for subtable in self._subtables:
                if datapath in subtable.datapaths:
                    order.append(subtable)
                    continue
                for slot, bits in subtable.stages[0]:
                    if (slot in CONNTRACK or slot == METADATA) and (slot, bits) not in told:
                        told.add((slot, bits))
                        order.append(Looked(slot, _bits(slot, bits), subtable.flow))
            self._orders[datapath] = order
        return self._orders[datapath]

    def _visit(
        self,
        subtable: _Subtable,
        values: tuple[Any, ...],
        tries: dict[str, tuple[frozenset[int], int]],
        wild: dict[str, int],
    ) -> Iterator[tuple[str, int]]:
        last = len(subtable.stages) - 1
        for number, stage in enumerate(subtable.stages):
            for slot, _ in stage:
                compared = self._unfit(subtable, slot, values, tries, wild)
                if compared:
                    yield slot, compared
                    return
            if subtable.passes(number, values):
                yield from ((slot, _bits(slot, bits)) for slot, bits in stage)
                continue
            if number == last and subtable.port_mask:
                ports = ((values[POSITION["tp_src"]] << 16) | values[POSITION["tp_dst"]]) & subtable.port_mask
                _, compared = subtable.port_trie.look_up(ports)
                looked = subtable.port_mask & _prefix(compared, 32)
                yield from (("tp_src", looked >> 16), ("tp_dst", looked & 0xFFFF))
                return
            yield from ((slot, _bits(slot, bits)) for slot, bits in stage)
            return

    def _unfit(
        self,
        subtable: _Subtable,
        slot: str,
        values: tuple[Any, ...],
        tries: dict[str, tuple[frozenset[int], int]],
        wild: dict[str, int],
    ) -> int:
        """Bits that show that no prefix of the subtable's length fits, so that it is left; 0: go on."""
        length = subtable.prefixes.get(slot, 0)
        if not length or not slot.startswith("ip4"):
            return 0
        if slot not in tries:
            tries[slot] = self._tries[slot].look_up(values[POSITION[slot]])
        fit, compared = tries[slot]
        bits = _prefix(compared, 32)
        return bits if length not in fit and (compared <= length or wild[slot] & bits == bits) else 0


def conjunctions(term: Lowered, here: Residence) -> list[Conjunction]:
    """The flows that ovn-controller makes of a match on this chassis; none if it is false there."""
    found = _disjuncts(term, here)
    if len(found) <= _MANY:
        return found
    slots: dict[str, int] = {}
    for conjunction in found:
        slots |= {slot: mask | slots.get(slot, 0) for slot, (mask, _) in conjunction.items()}
    return [{slot: (mask, Unknown()) for slot, mask in slots.items()}]


def _disjuncts(term: Lowered, here: Residence) -> list[Conjunction]:
    if isinstance(term, Test):
        return _test(term)
    if isinstance(term, Relation):
        return [{part.slot: (WHOLE, Unknown()) for part in parts(term.field)}]
    if isinstance(term, Bool):
        return [{}] if term.value else []
    if isinstance(term, AnyOf):
        return [each for one in term.terms for each in _disjuncts(one, here)]
    if isinstance(term, AllOf):
        found: list[Conjunction] = [{}]
        for one in term.terms:
            both = (_join(a, b) for a, b in product(found, _disjuncts(one, here)))
            found = [each for each in both if each is not None][: _MANY + 1]
        return found
    return [{}] if here.resident(term.port) != term.negated else []


def _test(test: Test) -> list[Conjunction]:
    """`!=` becomes one flow per bit that may differ, as in OVN."""
    if test.positive:
        return [{test.slot: (test.mask, value)} for value in sorted(test.values, key=str)]
    width = WIDTHS.get(test.slot, 0)
    if not width or len(test.values) != 1:
        return [{test.slot: (test.mask, Unknown(test.values))}]
    (value,) = test.values
    assert isinstance(value, int)
    mask = _bits(test.slot, test.mask)
    return [{test.slot: (1 << bit, ~value & (1 << bit))} for bit in range(width) if mask >> bit & 1]


def _join(one: Conjunction, other: Conjunction) -> Conjunction | None:
    """Both; None if they contradict each other."""
    both = dict(one)
    for slot, test in other.items():
        joined = _both(both[slot], test) if slot in both else test
        if joined is None:
            return None
        both[slot] = joined
    return both


def _both(one: tuple[int, Any], other: tuple[int, Any]) -> tuple[int, Any] | None:
    """Two tests of one slot as one."""
    if one[0] != WHOLE or isinstance(one[1], Unknown):
        one, other = other, one
    (mask, value), (more, second) = one, other
    if mask == WHOLE and not isinstance(value, Unknown):
        if isinstance(second, Unknown):
            return None if (value if more == WHOLE else value & more) in second else one
        return one if (value if more == WHOLE else value & more) == second else None
    if isinstance(value, Unknown) or isinstance(second, Unknown):
        return mask | more, Unknown()
    if value & mask & more != second & mask & more:
        return None
    return mask | more, value | second


def _bits(slot: str, mask: int) -> int:
    """The mask as a number of the slot's width; registers that hold names have none."""
    return (1 << (WIDTHS.get(slot) or 32)) - 1 if mask == WHOLE else mask


def _prefix(length: int, width: int) -> int:
    return ((1 << length) - 1) << (width - length)


def _length(mask: int, width: int) -> int:
    """Length of a mask that is a prefix, else 0."""
    if mask == WHOLE:
        return width
    length = mask.bit_count()
    return length if mask == _prefix(length, width) else 0
