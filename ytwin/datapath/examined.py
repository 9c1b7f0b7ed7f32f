"""Which fields end up in the datapath flow of a pass, and which logical flow is to blame. Pure.

ovs-vswitchd matches in a datapath flow everything that it looked at while it decided what to do with a packet:

- what the look-ups in its tables depended on (see `classifier`), whichever flow won;
- headers that an action sets, reads into a register, or decrements;
- what a select group hashes: its fields whole, or the low bits of the datapath's hash;
- what flows say that ovn-controller writes beside the logical ones: port security, hairpin detection, learned affinity;
- ECN, which a tunnel header takes over.

All of that adds up over the pass, also for headers that were set meanwhile. Registers and metadata are internal to ovs-vswitchd
and leave no trace in the datapath.

Not told, because no logical flow is to blame: what OVS looks at for itself. It always matches the port of entry, the recirc_id,
the Ethernet type and whether the packet is a fragment; on tunnels with BFD (between gateway chassis) also the IP protocol and a
bit of UDP's port; at ports that have an IP address the protocol and destination. Nor is what other connections have taught:
a few bits of the destination where a hairpinned one left a flow for its replies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from ytwin.datapath.classifier import CONNTRACK, POSITION, WIDTHS, Classifier, Conjunction, Looked, conjunctions
from ytwin.datapath.program import Examined
from ytwin.logical import actions as act
from ytwin.logical.compile import WHOLE
from ytwin.logical.expr import Residence
from ytwin.logical.fields import SYMBOLS, FieldRef, parts
from ytwin.logical.southbound import DatapathId, LogicalFlow, PortBinding
from ytwin.logical.state import CT_DNAT, CT_TRK
from ytwin.trace.fabric import Fabric
from ytwin.trace.tables import Program
from ytwin.trace.types import Hop, Packet, World

_HEADERS = {
    slot: symbol.name
    for symbol in SYMBOLS.values()
    for slot in symbol.slots
    if symbol.name.partition(".")[0] in ("eth", "vlan", "ip", "ip4", "ip6", "tcp", "icmp4", "arp", "nd")
} | {"tp_src": "{protocol}.src", "tp_dst": "{protocol}.dst"}
"""Slots of packet headers and the names of their fields."""
_IPV4, _IPV6 = frozenset({"ip4_src", "ip4_dst"}), frozenset({"ip6_src", "ip6_dst", "ip6_label"})
_TRANSPORT = frozenset({"tcp", "udp", "sctp"})
_HASHED = {"ip_src": "ip4_src", "ip_dst": "ip4_dst", "ipv6_src": "ip6_src", "ipv6_dst": "ip6_dst"}
_HASHED |= {f"{p}_{end}": f"tp_{end}" for p in ("tp", "tcp", "udp", "sctp") for end in ("src", "dst")}
_NATTED = 1 << 1
"""Bit of ct_mark: a load balancer chose this connection's backend."""
_FIRST_BIT = 1 << 31
_REMEMBERED = 16384
"""Look-ups: those before the choice of a backend are the same for every backend."""
DP_HASH, CT_PROTOCOL = "dp_hash", "ct_nw_proto"
"""Fields that no logical flow can name."""


class Examiner:
    """Answers for one World. Keeps the tables of each chassis, so that a packet costs no walk over flows."""

    def __init__(self, world: World, program: Program, fabric: Fabric) -> None:
        self._program = program
        self._fabric = fabric
        self._flows: dict[tuple[str, int], list[LogicalFlow]] = defaultdict(list)
        for flow in world.southbound.flows:
            self._flows[flow.pipeline, flow.table].append(flow)
        self._sorted: set[tuple[str, int]] = set()
        balancers = [balancer for balancer in world.southbound.load_balancers if balancer.vips]
        self.balanced = bool(balancers)
        """Whether there are load balancers, so that hairpin detection has flows."""
        self.by_tuple = any(b.options.get("hairpin_orig_tuple", "false") != "true" for b in balancers)
        """Whether hairpin detection asks conntrack for the VIP, as older OVN does, instead of registers."""
        texts = [flow.match for flow in world.southbound.flows if ".natted" in flow.match]
        by_label = texts and not any("ct_mark.natted" in text for text in texts)
        self.natted = "ct_label" if by_label else "ct_mark"
        """Where balanced connections are marked: older OVN has it in the label."""
        self._local: dict[str, frozenset[DatapathId]] = {}
        self._made: dict[LogicalFlow, list[Conjunction]] = {}
        self._tables: dict[tuple[str, str, int], Classifier] = {}
        self._shared: dict[tuple[object, ...], Classifier] = {}
        self._looked: dict[tuple[object, ...], tuple[Looked, ...]] = {}

    def look_up(self, hop: Hop) -> tuple[Looked, ...]:
        """What the look-up of the hop's table looked at. The hop must be of a Tracer that records every table."""
        priority = hop.flow.priority if hop.flow is not None else -1
        values = (*hop.seen[:-1], hop.datapath)  # the last one is conntrack's own, which flows cannot see
        key = (hop.chassis, hop.pipeline, hop.table, priority, values)
        found = self._looked.get(key)
        if found is None:
            if len(self._looked) > _REMEMBERED:
                self._looked.clear()
            found = self._looked[key] = tuple(self._table(hop).look_up(values, priority))
        return found

    def port(self, name: object) -> PortBinding | None:
        """A port by its name."""
        return self._fabric.ports.get(str(name))

    # --- tables --------------------------------------------------------------------------------------------------------

    def _table(self, hop: Hop) -> Classifier:
        key = (hop.chassis, hop.pipeline, hop.table)
        found = self._tables.get(key)
        if found is None:
            found = self._tables[key] = self._shared_table(*key)
        return found

    def _shared_table(self, chassis: str, pipeline: str, table: int) -> Classifier:
        """Chassis with the same datapaths share a table, unless a flow of it asks where a port lives."""
        flows = self._flows[pipeline, table]
        if (pipeline, table) not in self._sorted:
            flows.sort(key=lambda f: (-f.priority, f.match, f.actions))
            self._sorted.add((pipeline, table))
        local, here = self.local(chassis), self._fabric.residence(chassis)
        asks = any("is_chassis_resident" in flow.match for flow in flows)
        key = (pipeline, table, local, chassis if asks else "")
        if key not in self._shared:
            mine = ((f, tuple(d for d in f.datapaths if d in local)) for f in flows)
            self._shared[key] = Classifier((f, d, self._conjunctions(f, here)) for f, d in mine if d)
        return self._shared[key]

    def _conjunctions(self, flow: LogicalFlow, here: Residence) -> list[Conjunction]:
        if "is_chassis_resident" in flow.match:
            return conjunctions(self._program.entry(flow).match.term, here)
        if flow not in self._made:
            self._made[flow] = conjunctions(self._program.entry(flow).match.term, here)
        return self._made[flow]

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


@dataclass
class Mask:
    """The match of one pass's datapath flow while it comes about."""

    examiner: Examiner
    _bits: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Slot -> bits that are matched."""
    _asked: dict[tuple[str, int], tuple[LogicalFlow, str, str]] = field(default_factory=dict)
    """(slot, bit; 0 for headers) -> the first flow, stage and datapath that asked for it."""

    def look_up(self, hop: Hop) -> None:
        """The hop's table."""
        for slot, mask, flow in self.examiner.look_up(hop):
            owner = hop.datapath if hop.datapath in flow.datapaths else flow.datapaths[0]
            self._add(slot, mask, flow, flow.stage, owner.name)

    def apply(self, action: act.Action, hop: Hop, following: Hop | None, packet: Packet) -> None:
        """An action of the flow that won; `packet` as it is by then, `following`: the table that met its results."""
        if isinstance(action, act.Load):
            self._field(action.target, hop)
        elif isinstance(action, act.Move):
            self._field(action.target, hop)
            self._field(action.source, hop)
        elif isinstance(action, act.Exchange):
            self._field(action.left, hop)
            self._field(action.right, hop)
        elif isinstance(action, act.Push | act.Pop):
            self._field(action.field, hop)
        elif isinstance(action, act.DecTtl):
            self._whole(hop, "ip_ttl")
        elif isinstance(action, act.Result):
            self._result(action, hop, following, packet)
        elif isinstance(action, act.CtSnatToVip):
            if self.examiner.by_tuple:
                self._original_tuple(hop)
        elif isinstance(action, act.CommitLbAff):
            self._whole(hop, *_ends(packet, "src"))

    def group(self, hash_fields: Iterable[str], hop: Hop) -> None:
        """The choice among the buckets of a select group; without fields by the hash that the datapath made."""
        names = list(hash_fields)
        if not names:
            self._one(DP_HASH, 1, hop)
        for name in names:
            self._whole(hop, _HASHED.get(name, name))

    def rewrite(self, header: str, hop: Hop) -> None:
        """A set of the Ethernet header matches both addresses, one of the IP header the protocol (seen on the wire)."""
        if header == "eth":
            self._whole(hop, "eth_src", "eth_dst")
        elif header == "ip":
            self._whole(hop, "ip_proto")

    def encapsulate(self, hop: Hop) -> None:
        """A tunnel header takes ECN over."""
        self._whole(hop, "ip_ecn")

    def done(self, packet: Packet) -> tuple[Examined, ...]:
        """The fields by name; `packet`: any of the pass, for its family and protocol."""
        return tuple(self._named(packet))

    # --- what actions look at ------------------------------------------------------------------------------------------

    def _result(self, action: act.Result, hop: Hop, following: Hop | None, packet: Packet) -> None:
        hit = following is not None and _is_set(action.target, following)
        ends = (*_ends(packet, "src"), *_ends(packet, "dst"), "ip_proto")
        if action.function in ("check_in_port_sec", "check_out_port_sec"):
            self._port_security(action.function == "check_in_port_sec", hop, packet)
        elif action.function == "chk_lb_hairpin" and self.examiner.balanced:
            self._one(self.examiner.natted, _NATTED, hop)
            if self.examiner.by_tuple:
                self._original_tuple(hop)
            if hit:
                self._whole(hop, *ends, "tp_dst")
            elif _balanced_here(hop) and ":" in packet.ip_dst:
                self._whole(hop, *ends)
            elif _balanced_here(hop):
                self._one("ip4_src", _FIRST_BIT, hop)  # the trie of backends says no after some bits
        elif action.function == "chk_lb_hairpin_reply" and hit:
            self._whole(hop, *ends, "tp_src")
        elif action.function == "chk_lb_aff" and hit:
            self._whole(hop, *ends, "tp_dst")

    def _original_tuple(self, hop: Hop) -> None:
        """Flows that look for the VIP in conntrack's original tuple: its protocol is of the first stage, so it always counts."""
        self._one("ct_state", CT_TRK | CT_DNAT, hop)
        self._whole(hop, CT_PROTOCOL)

    def _port_security(self, incoming: bool, hop: Hop, packet: Packet) -> None:
        port = self.examiner.port(hop.seen[POSITION["inport" if incoming else "outport"]])
        if port is not None and port.port_security:
            end = "src" if incoming else "dst"
            self._whole(hop, f"eth_{end}")
            if any(" " in entry for entry in port.port_security):
                self._whole(hop, *_ends(packet, end))

    def _field(self, ref: FieldRef, hop: Hop) -> None:
        if ref.width:
            for part in parts(ref):
                if part.slot in _HEADERS:
                    self._one(part.slot, ((1 << part.width) - 1) << part.slot_low, hop)

    def _whole(self, hop: Hop, *slots: str) -> None:
        for slot in slots:
            self._one(slot, WHOLE, hop)

    def _one(self, slot: str, mask: int, hop: Hop) -> None:
        assert hop.flow is not None
        self._add(slot, mask, hop.flow, hop.stage, hop.datapath.name)

    def _add(self, slot: str, mask: int, flow: LogicalFlow, stage: str, datapath: str) -> None:
        if slot not in CONNTRACK and slot not in _HEADERS and slot not in (DP_HASH, CT_PROTOCOL):
            return
        full = (1 << WIDTHS.get(slot, 32)) - 1
        new = (full if mask == WHOLE else mask) & ~self._bits[slot]
        if not new:
            return
        self._bits[slot] |= new
        if slot in CONNTRACK:
            for bit in range(new.bit_length()):
                if new >> bit & 1:
                    self._asked.setdefault((slot, bit), (flow, stage, datapath))
        else:
            self._asked.setdefault((slot, 0), (flow, stage, datapath))

    # --- names ---------------------------------------------------------------------------------------------------------

    def _named(self, packet: Packet) -> Iterator[Examined]:
        told: set[str] = set()
        for (slot, bit), (flow, stage, datapath) in self._asked.items():
            masked = self._bits[slot] != (1 << WIDTHS.get(slot, 32)) - 1
            name = _name(slot, bit, packet) if masked or slot not in CONNTRACK else slot
            if name and name not in told:
                told.add(name)
                yield Examined(name, masked, stage, datapath, flow)


def _is_set(target: FieldRef, hop: Hop) -> bool:
    """Whether a one-bit field was set when the packet came to the hop's table."""
    (part,) = parts(target)
    value = hop.seen[POSITION[part.slot]]
    assert isinstance(value, int)
    return bool(value >> part.slot_low & 1)


def _balanced_here(hop: Hop) -> bool:
    """Whether hairpin detection gets as far as the packet's addresses: conntrack and registers know the VIP."""
    mark, vip = hop.seen[POSITION["ct_mark"]], [hop.seen[POSITION[reg]] for reg in ("reg1", "reg4", "reg7")]
    return isinstance(mark, int) and bool(mark & _NATTED) and any(vip)


def _ends(packet: Packet, end: str) -> tuple[str]:
    return (f"ip{6 if ':' in packet.ip_dst else 4}_{end}",)


def _name(slot: str, bit: int, packet: Packet) -> str:
    """ "" for fields that the packet does not have."""
    if slot in CONNTRACK:
        return _bit_name(slot, bit)
    if slot in (_IPV4 if ":" in packet.ip_dst else _IPV6):
        return ""
    if slot in ("tp_src", "tp_dst") and packet.protocol not in _TRANSPORT:
        return ""
    return _HEADERS.get(slot, slot).format(protocol=packet.protocol)


@cache
def _bit_name(slot: str, bit: int) -> str:
    """The part of a conntrack field that a bit belongs to, as 23.03 calls it; the field where it has no name."""
    for symbol in SYMBOLS.values():
        if symbol.parent == slot and not symbol.newer and 0 <= bit - symbol.parent_low < symbol.width:
            return symbol.name
    return slot
