"""What the ovn-trace program would print for a packet: one world without chassis, no conntrack, no replies.

This is not how OVN forwards; it is how ovn-trace 23.03 simulates it, so that the two can be compared line by line. Known
differences to forwarding are ovn-trace's own: every port is resident, `ct()` answers what `--ct` says (else trk|est), nothing is
translated back, `ct_snat;` on a gateway router ends the trace, `flags` and registers survive patch ports, ICMP type and
transport port share storage.

Not judged (`Trace.unjudged` says why): a choice that ovn-trace makes at random, a VIP that several load balancers share in a
hairpin check, equal-priority flows that both match, and `nd_na_router`, at which ovn-trace 23.03 aborts (and its daemon with it:
trace here first, and send it only what is judged).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ytwin.core.errors import Unsupported
from ytwin.logical.addresses import ip_int
from ytwin.logical.compile import prepare
from ytwin.logical.expr import parse_match
from ytwin.logical.fields import CT_STATE_BITS
from ytwin.logical.southbound import INGRESS, DatapathId, LogicalFlow, Southbound
from ytwin.logical.state import CT_EST, CT_TRK, PacketState
from ytwin.trace.tables import Program

DEFAULT_CT = CT_TRK | CT_EST
ACTION, ERROR, OUTPUT, MODIFY = "action", "error", "output", "modify"
TABLE, PIPELINE, TRANSFORMATION = "table", "pipeline", "transformation"
_LEAVES = frozenset({ACTION, ERROR, OUTPUT, MODIFY})
_TITLES = frozenset({PIPELINE, TRANSFORMATION})


@dataclass(slots=True)
class Node:
    """A line of the output and what stands under it."""

    kind: str
    text: str
    always_indent: bool = False
    subs: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """A table that was passed: the flow that matched, None for none."""

    datapath: DatapathId
    pipeline: str
    table: int
    flow: LogicalFlow | None


@dataclass(frozen=True, slots=True)
class Trace:
    """`text` is `ovn-trace --detailed` without the `#` line, sources and UUIDs: compare it with `normalize(output)`."""

    text: str
    minimal: str
    """`ovn-trace --minimal`, without the `#` line."""
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    """Ports that the packet, or a copy of it, left the logical network by."""
    unjudged: str
    """Why ovn-trace's answer cannot be compared; "" if it can."""


def normalize(text: str) -> str:
    """Output of the program without what depends on the database's UUIDs and on northd's source lines."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    cleaned = [re.sub(r" \(northd\.c:\d+\):", ":", re.sub(r", uuid [0-9a-f]{8}$", "", line)) for line in lines]
    return "\n".join(line.rstrip() for line in cleaned).strip("\n")


def parse_microflow(text: str) -> PacketState:
    """A packet from an expression that says what it is: `inport == "p" && eth.src == ... && ip4.src == ... && tcp.dst == 80`."""
    prepared = prepare(parse_match(text))
    state = PacketState()
    for slot, value in prepared.keys().items():
        setattr(state, slot, value)
    for slot, mask, bits in prepared.masked():
        setattr(state, slot, (getattr(state, slot) & ~mask) | bits)
    if not prepared.matcher()(state, _EVERYWHERE):
        raise Unsupported(f"microflow `{text}` leaves something open: only conjunctions of equalities describe a packet")
    return state


class _Everywhere:
    def resident(self, port: str) -> bool:  # noqa: ARG002 - a Residence
        return True


_EVERYWHERE = _Everywhere()


def ct_bits(text: str) -> int:
    """`new,est` and the like as ct_state bits; trk comes with every answer of the tracker."""
    bits = CT_TRK
    for word in re.split(r"[,|]", text):
        if word:
            bits |= 1 << CT_STATE_BITS[word]
    return bits


def ct_names(state: int) -> str:
    """ct_state as ovn-trace prints it."""
    return "|".join(name for name, bit in CT_STATE_BITS.items() if state & (1 << bit)) or "0"


class Imitation:
    """ovn-trace over one Southbound. Keeps compiled tables between traces."""

    def __init__(self, southbound: Southbound, program: Program | None = None) -> None:
        self.southbound = southbound
        self.program = program if program is not None else Program(southbound)
        self.groups = {(g.datapath, g.name): g.ports for g in southbound.multicast_groups}
        self.neighbors = {(b.port, ip_int(b.ip)): b.mac for b in southbound.mac_bindings}
        self.peers: dict[str, str] = {}
        self.gateways: set[DatapathId] = set()
        for port in southbound.ports.values():
            peer = port.options.get("peer", "")
            if port.type in ("patch", "l3gateway") and peer in southbound.ports:
                self.peers[port.name] = peer
                self.peers[peer] = port.name
            if port.type == "l3gateway":
                self.gateways.add(port.datapath)

    def resident(self, port: str) -> bool:
        """Every port that exists is resident."""
        return not port or port in self.southbound.ports

    def trace(
        self,
        packet: str | PacketState,
        ct: Sequence[str] = (),
        lb_dst: str = "",
        backends: Sequence[str] = (),
    ) -> Trace:
        """Trace a microflow. `ct`: what each look-up answers, in order. `lb_dst`: `--lb-dst`, an address.

        `backends` ("IP:PORT" or "IP") are taken in order where ovn-trace would pick at random: what a real run has picked.
        """
        from ytwin.trace.ovntrace_run import ImitationRun  # noqa: PLC0415 - the two know each other

        state = parse_microflow(packet) if isinstance(packet, str) else packet.copy()
        run = ImitationRun(self, [ct_bits(c) for c in ct], lb_dst, list(backends))
        port = self.southbound.ports.get(state.inport)
        if port is None:
            raise Unsupported(f"no port {state.inport!r} in the Southbound")
        root = Node(PIPELINE, f'ingress(dp="{port.datapath.name}", inport="{state.inport}")')
        run.go(port.datapath, state, 0, INGRESS, root.subs)
        return Trace(render([root]), minimal([root]), tuple(run.steps), tuple(run.outputs), run.unjudged)


def trace_like_ovn(
    southbound: Southbound,
    microflow: str | PacketState,
    ct_flags: Sequence[str] = (),
    lb_dst: str = "",
    backends: Sequence[str] = (),
) -> Trace:
    """One trace; use `Imitation` for many over one Southbound."""
    return Imitation(southbound).trace(microflow, ct_flags, lb_dst, backends)


def render(roots: list[Node]) -> str:
    """The detailed form: one line per node, deeper where ovn-trace indents."""
    lines: list[str] = []
    stack: list[tuple[Node, int, bool]] = [(n, 0, i == len(roots) - 1) for i, n in reversed(list(enumerate(roots)))]
    while stack:
        node, level, last = stack.pop()
        if node.kind == MODIFY:
            continue
        more = int(not last or node.always_indent or node.kind in _LEAVES)
        indent = " " * ((level + more) * 4)
        if node.kind in _TITLES:
            lines += ["", indent + node.text, indent + "-" * len(node.text)]
        else:
            lines.append(indent + node.text)
        count = len(node.subs)
        stack += [(n, level + 2 * more, i == count - 1) for i, n in reversed(list(enumerate(node.subs)))]
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def minimal(roots: list[Node]) -> str:
    """The minimal form: only what can be seen from outside."""
    lines: list[str] = []

    def show(nodes: list[Node], level: int) -> None:
        stack = list(reversed(nodes))
        while stack:
            node = stack.pop()
            if node.kind in (ACTION, PIPELINE, TABLE, OUTPUT):
                stack += reversed(node.subs)
                continue
            indent = " " * (level * 4)
            kept = _visible(node.subs)
            if kept:
                lines.append(f"{indent}{node.text} {{")
                show(node.subs, level + 1)
                lines.append(f"{indent}}};")
            else:
                lines.append(f"{indent}{node.text};")

    show(roots, 0)
    return "\n".join(lines)


def _visible(nodes: list[Node]) -> bool:
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node.kind not in (ACTION, PIPELINE, TABLE, OUTPUT):
            return True
        stack += node.subs
    return False
