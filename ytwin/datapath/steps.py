"""One visit of a chassis, hop by hop, as a list of passes."""

from __future__ import annotations

import re
from dataclasses import replace

from ytwin.datapath.costs import Cost, cost_of
from ytwin.datapath.examined import Examiner, Mask
from ytwin.datapath.passes import Entry
from ytwin.datapath.program import Op, Operation, Pass
from ytwin.logical import actions as act
from ytwin.logical.addresses import endpoint
from ytwin.logical.parse_actions import parse_actions
from ytwin.trace.types import Hop, Packet

_SAID = re.compile(r"ct\(([^)]*)\): (\w+)( reply)?(?:, ([^;]*))?")
"""What the trace notes of a ct(): zone, state, direction, translation."""


class Stepper:
    """Collects the operations and the examined fields of one visit."""

    def __init__(self, examiner: Examiner, packet: Packet) -> None:
        self._examiner = examiner
        self._done: list[Pass] = []
        self._operations: list[Operation] = []
        self._mask = Mask(examiner)
        self._real = self._now = packet
        """As the datapath has it, and as the flows see it: headers are set late."""
        self._setters: dict[str, Hop] = {}
        self._hashed = False
        self._said: dict[object, tuple[str, str]] = {}
        """Datapath -> zone and state of its last look-up."""
        self._begin("packet")

    def done(self) -> tuple[Pass, ...]:
        """The passes, once the packet is gone."""
        return tuple(self._done)

    def enter(self, entry: Entry) -> None:
        """Before the first hop."""
        if entry is Entry.TUNNEL:
            self._operations.append(Operation(Op.TUNNEL_POP, "Geneve"))

    def step(self, hop: Hop, following: Hop | None) -> None:
        """One table: its look-up, then its actions."""
        self._mask.look_up(hop)
        if hop.flow is None:
            return
        cost = cost_of(hop)
        said = list(_SAID.findall(hop.note))
        for action in parse_actions(hop.flow.actions, hop.pipeline, hop.table):
            self._mask.apply(action, hop, following, self._now)
            self._act(action, hop, cost, said)
        self._see(hop)

    def leave(self, way_out: str, hop: Hop, target: str) -> None:
        """Behind the last hop."""
        if way_out == "controller":
            self._end()
            return
        if way_out == "drop":
            self._add(Op.DROP, "", hop)
        else:
            self._set_headers()
            if way_out == "tunnel":
                self._mask.encapsulate(hop)
                self._add(Op.TUNNEL_PUSH, f"Geneve to {target}", hop)
            self._add(Op.OUTPUT, f"tunnel to {target}" if way_out == "tunnel" else target, hop)
        self._end()

    # --- actions -------------------------------------------------------------------------------------------------------

    def _act(self, action: act.Action, hop: Hop, cost: Cost, said: list[tuple[str, str, str, str]]) -> None:
        if isinstance(action, act.CtCommit):
            self._see_ends_of(hop)
            self._commit_only(hop)
        elif isinstance(action, act.CtSnatToVip):
            if "ct(" in hop.note:
                self._look_up(hop, "ct(commit,nat(src))", said, commits=True)
        elif isinstance(action, act.CtNext):
            self._look_up(hop, "ct", said)
            self._recirculate("ct")
        elif isinstance(action, act.CtNat):
            form, commits = _nat_form(action)
            self._look_up(hop, form, said, commits=commits)
            self._recirculate("ct")
        elif isinstance(action, act.CtLb):
            if action.backends:
                self._choose(hop, cost, action.hash_fields)
            form = "ct(commit,nat(dst))" if action.backends else "ct(nat)"
            self._look_up(hop, form, said, commits=bool(action.backends))
            self._recirculate("ct")
        elif isinstance(action, act.Select):
            self._choose(hop, cost, ())
        elif isinstance(action, act.CheckPktLarger):
            self._see_ends_of(hop)
            self._set_headers()
            self._add(Op.CHECK_LENGTH, f"{action.limit_bytes} B", hop)
        elif isinstance(action, act.CommitLbAff):
            self._add(Op.LEARN, f"affinity of {action.vip} to {action.backend} for {action.timeout_s} s", hop)
        elif isinstance(action, act.Result) and action.function == "chk_lb_hairpin":
            if self._now.ip_src == self._now.ip_dst:
                self._add(Op.LEARN, "replies of a hairpinned connection", hop)
        elif isinstance(action, act.Nested) and cost.generates and action.kind != "clone":
            self._add(Op.CONTROLLER, f"{action.kind}: ovn-controller answers", hop)
        elif isinstance(action, act.NeighborAction) and action.function.startswith("put_"):
            self._add(Op.CONTROLLER, f"{action.function}: ovn-controller learns a neighbour", hop)
        elif isinstance(action, act.Opaque) and action.name in ("set_meter", "log"):
            self._add(Op.METER if action.name == "set_meter" else Op.CONTROLLER, action.text, hop)

    def _choose(self, hop: Hop, cost: Cost, hash_fields: tuple[str, ...]) -> None:
        """A select group: by the datapath's hash, which costs a pass unless the packet has one, or by OVS's own."""
        if cost.hashes and not self._hashed:
            self._see_ends_of(hop)
            self._set_headers()
            self._add(Op.DP_HASH, "L4", hop)
            self._hashed = True
            self._recirculate("dp_hash")
        if cost.hashes or hash_fields:
            self._mask.group(hash_fields, hop)

    def _look_up(self, hop: Hop, form: str, said: list[tuple[str, str, str, str]], *, commits: bool = False) -> None:
        self._see_ends_of(hop)
        self._set_headers()
        zone, state, reply, translated = said.pop(0) if said else ("", "", "", "")
        self._said[hop.datapath, hop.pipeline] = (zone, state)
        before, after = self._now, hop.packet
        detail = f"{form} in zone {zone or '0'}: {state}{reply}" + (f", {translated}" if translated else "")
        if (after.ip_dst, after.dst_port) != (before.ip_dst, before.dst_port):
            detail += f", destination {endpoint(after.ip_dst, after.dst_port)}"
        if (after.ip_src, after.src_port) != (before.ip_src, before.src_port):
            detail += f", source {endpoint(after.ip_src, after.src_port)}"
        self._add(Op.CT, detail, hop, state)
        if commits:
            self._add(Op.CT_COMMIT, f"zone {zone or '0'}", hop, state)
        # Conntrack has done that; nothing is set.
        self._now = self._real = replace(
            self._real, ip_src=after.ip_src, ip_dst=after.ip_dst, src_port=after.src_port, dst_port=after.dst_port
        )

    def _commit_only(self, hop: Hop) -> None:
        """`ct_commit {}`: OVN adds nat(src), so that tuples that collide get another port."""
        self._set_headers()
        zone, state = self._said.get((hop.datapath, hop.pipeline), ("", ""))
        self._add(Op.CT, f"ct(commit,nat(src)) in zone {zone or '0'}: {state}", hop, state)
        self._add(Op.CT_COMMIT, f"zone {zone or '0'}", hop, state)

    # --- headers -------------------------------------------------------------------------------------------------------

    def _see_ends_of(self, hop: Hop) -> None:
        """What the flow has set before its ct(): addresses and ports are not among it where NAT follows."""
        after = hop.packet
        self._note(replace(self._now, eth_src=after.eth_src, eth_dst=after.eth_dst, ttl=after.ttl), hop)

    def _see(self, hop: Hop) -> None:
        self._note(hop.packet, hop)

    def _note(self, packet: Packet, hop: Hop) -> None:
        for header in ("eth", "ip", "ports"):
            if _header(packet, header) != _header(self._now, header):
                self._setters[header] = hop
        self._now = packet

    def _set_headers(self) -> None:
        for header in ("eth", "ip", "ports"):
            wanted = _header(self._now, header)
            if wanted != _header(self._real, header):
                self._add(Op.REWRITE, f"{header}: {', '.join(map(str, wanted))}", self._setters[header])
                self._mask.rewrite(header, self._setters[header])
        self._real = self._now

    # --- passes --------------------------------------------------------------------------------------------------------

    def _begin(self, what: str) -> None:
        self._operations = [Operation(Op.LOOKUP, what)]
        self._mask = Mask(self._examiner)

    def _end(self) -> None:
        self._done.append(Pass(tuple(self._operations), self._mask.done(self._now)))

    def _recirculate(self, cause: str) -> None:
        self._end()
        self._begin(f"after {cause}")

    def _add(self, op: Op, detail: str, hop: Hop, ct_state: str = "") -> None:
        self._operations.append(Operation(op, detail, hop.stage, hop.datapath.name, hop.flow, ct_state))


def _header(packet: Packet, header: str) -> tuple[object, ...]:
    if header == "eth":
        return packet.eth_src, packet.eth_dst
    if header == "ip":
        return packet.ip_src, packet.ip_dst, packet.ttl
    return packet.src_port, packet.dst_port


def _nat_form(action: act.CtNat) -> tuple[str, bool]:
    if action.kind == "ct_commit_nat":
        return "ct(commit,nat)", True
    if not action.address:
        return "ct(nat)", False
    return f"ct(commit,nat({'dst' if 'dnat' in action.kind else 'src'}))", True
