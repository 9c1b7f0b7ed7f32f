"""One run of the imitation of ovn-trace: its reading of every action, oddities included (see `ovntrace`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ytwin.core.errors import Unsupported
from ytwin.logical import actions as act
from ytwin.logical.addresses import ip_int, mac_int, mac_text, split_endpoint
from ytwin.logical.fields import FieldRef
from ytwin.logical.southbound import EGRESS, INGRESS, DatapathId
from ytwin.logical.state import (
    CT_DNAT,
    CT_EST,
    CT_SNAT,
    CT_TRK,
    ETH_IP,
    ETH_IPV6,
    PacketState,
)
from ytwin.trace import security
from ytwin.trace.fabric import FLAG_LOOPBACK
from ytwin.trace.ovntrace_packets import generate, is_register, note_move, storage
from ytwin.trace.ovntrace_tree import (
    ACTION,
    ERROR,
    MODIFY,
    OUTPUT,
    PIPELINE,
    TABLE,
    TRANSFORMATION,
    Node,
    Step,
    child,
    ct_names,
)
from ytwin.trace.tables import UNREADABLE, prepare_actions

if TYPE_CHECKING:
    from ytwin.trace.ovntrace import Imitation

DEFAULT_CT = CT_TRK | CT_EST
Task = tuple[DatapathId, PacketState, int, str, list[Node]]
"""Where to go on: datapath, packet, table, pipeline, and the list that lines are added to."""
_OMITTED = "/* omitting output because inport == outport && !flags.loopback */"
_DEFAULT_NOTE = " /* default (use --ct to customize) */"
_MAX_TABLES = 200_000


class ImitationRun:
    """State of one trace."""

    def __init__(self, world: Imitation, ct: list[int], lb_dst: str, backends: list[str]) -> None:
        self.world = world
        self.ports = world.southbound.ports
        self.steps: list[Step] = []
        self.outputs: list[str] = []
        self.unjudged = ""
        self._ct = ct
        self._lb_dst = ip_int(lb_dst) if lb_dst else None
        self._lb_v6 = ":" in lb_dst
        self._backends = backends

    # --- tables --------------------------------------------------------------------------------------------------------

    def go(self, datapath: DatapathId, state: PacketState, table: int, pipeline: str, into: list[Node]) -> None:
        """Trace from a table on."""
        task: Task | None = (datapath, state, table, pipeline, into)
        while task is not None:
            task = self._table(*task)

    def _table(
        self, datapath: DatapathId, state: PacketState, table: int, pipeline: str, into: list[Node]
    ) -> Task | None:
        tables = self.world.program.pipeline(datapath, pipeline)
        while True:
            entry = tables.lookup(table, state, self.world)
            if entry is None or not (entry.match.always and entry.jump == table + 1 and not entry.simple):
                break
            table += 1
        self.steps.append(Step(datapath, pipeline, table, entry.flow if entry else None))
        if len(self.steps) > _MAX_TABLES:
            raise Unsupported("ovn-trace would not end on this packet")
        if entry is None:
            stage = tables.stage(table)
            text = f"{stage}: no match (implicit drop)" if stage else "no match (implicit drop)"
            into.append(Node(TABLE, f"{table:2d}. {text}"))
            return None
        flow = entry.flow
        if not self.unjudged and tables.table(table).ambiguous(state, self.world, flow):
            self.unjudged = f"several flows of priority {flow.priority} match in {flow.stage}"
        name = f"{flow.stage}: " if flow.stage else ""
        node = Node(TABLE, f"{table:2d}. {name}{flow.match}, priority {flow.priority}")
        into.append(node)
        return self._actions(entry.actions, datapath, state, table, pipeline, node.subs)

    def _actions(
        self,
        actions: tuple[act.Action, ...],
        datapath: DatapathId,
        state: PacketState,
        table: int,
        pipeline: str,
        into: list[Node],
    ) -> Task | None:
        if not actions:
            into.append(Node(ACTION, "drop;"))
            return None
        stack: list[Any] = []
        for index, action in enumerate(actions):
            into.append(Node(ACTION, act.print_actions((action,), pipeline, table)))
            task = self._act(action, (datapath, state, table, pipeline, into), stack)
            if task is not None:
                if index == len(actions) - 1:
                    return task
                self.go(*task)
        return None

    def _act(self, action: act.Action, at: Task, stack: list[Any]) -> Task | None:
        datapath, state, table, pipeline, into = at
        match action:
            case act.Output():
                return self._output(datapath, state, pipeline, into)
            case act.Next(pipeline=wanted, table=number):
                return self._next(at, wanted, number)
            case act.Load() | act.Move() | act.Exchange():
                self._assign(action, state, into)
            case act.Push(field=ref):
                stack.append(state.get(ref))
                into.append(Node(MODIFY, f"push({ref})"))
            case act.Pop(field=ref):
                if stack:
                    state.set(ref, stack.pop())
                into.append(Node(MODIFY, f"pop({ref})"))
            case act.DecTtl():
                self._decrement(state, into)
            case act.CtNext():
                answer, note = self._next_ct()
                copy = state.copy()
                copy.ct_state = answer
                node = child(into, TRANSFORMATION, f"ct_next(ct_state={ct_names(answer)}{note})")
                return (datapath, copy, table + 1, pipeline, node.subs)
            case act.CtNat():
                return self._ct_nat(action, at)
            case act.CtLb():
                return self._ct_lb(action, at)
            case act.Select():
                return self._select(action, at)
            case act.CtClear():
                state.clear_ct()
            case act.CtSnatToVip():
                self._snat_to_vip(state, into)
            case act.Nested():
                return self._nested(action, at)
            case act.Result():
                self._result(action, state, into)
            case act.NeighborAction():
                self._neighbor(action, state, into)
            case act.FdbAction(function=function, target=target):
                if target is not None:
                    state.set(target, "" if not target.width else 0)
                if function == "lookup_fdb":
                    into.append(Node(ACTION, "/* lookup mac failed in mac learning table. */"))
            case act.Opaque(name=name, text=text, target=target):
                if name == UNREADABLE:
                    raise Unsupported(text)
                if name in ("put_dhcp_opts", "put_dhcpv6_opts", "put_nd_ra_opts") and target is not None:
                    if name != "put_nd_ra_opts":
                        text = "/* We assume that this packet is DHCPDISCOVER or DHCPREQUEST. */"
                        into.append(Node(ERROR, text))
                    state.set(target, 1)
                elif name == "dns_lookup":
                    self._no_dns(target, state, into)
                elif name == "log":
                    self.unjudged = self.unjudged or "log prints the packet"
            case _:
                pass  # ct_commit, put_arp, check_pkt_larger, commit_lb_aff ...: nothing to do for tracing
        return None

    # --- moving on -----------------------------------------------------------------------------------------------------

    def _next(self, at: Task, wanted: str, number: int) -> Task:
        datapath, state, _, pipeline, into = at
        if wanted != pipeline:
            side, port = ("inport", state.inport) if wanted == INGRESS else ("outport", state.outport)
            into = child(into, PIPELINE, f'{wanted}(dp="{datapath.name}", {side}="{port}")').subs
        return (datapath, state, number, wanted, into)

    def _output(self, datapath: DatapathId, state: PacketState, pipeline: str, into: list[Node]) -> Task | None:
        out = state.outport
        if not out:
            into.append(Node(ERROR, "*** output to null logical port"))
            return None
        port, group = self.ports.get(out), self.world.groups.get((datapath, out))
        if pipeline == EGRESS:
            kind = port.type if port is not None else ""
            into.append(Node(OUTPUT, f'/* output to "{out}", type "{kind}" */'))
            peer = self.ports.get(self.world.peers.get(out, ""))
            if peer is None:
                into.append(Node(MODIFY, f'output("{out}")'))
                self.outputs.append(out)
                return None
            node = child(into, PIPELINE, f'ingress(dp="{peer.datapath.name}", inport="{peer.name}")')
            copy = state.copy()
            copy.inport, copy.outport = peer.name, ""
            return (peer.datapath, copy, 0, INGRESS, node.subs)
        loopback = bool(state.flags & FLAG_LOOPBACK)
        copy = state.copy()
        copy.clear_registers()
        copy.flags = 0
        if group is not None:
            self._multicast(datapath, copy, group, loopback, into)
            return None
        if port is not None and port.type == "chassisredirect":
            actual = port.options.get("distributed-port", "")
            text = f'/* Replacing type "{port.type}" outport "{out}" with distributed port "{actual}". */'
            into.append(Node(OUTPUT, text))
            copy.outport = out = actual
        if out == state.inport and not loopback:
            into.append(Node(OUTPUT, _OMITTED))
            return None
        node = child(into, PIPELINE, f'egress(dp="{datapath.name}", inport="{state.inport}", outport="{out}")')
        return (datapath, copy, 0, EGRESS, node.subs)

    def _multicast(
        self, datapath: DatapathId, copy: PacketState, group: tuple[str, ...], loopback: bool, into: list[Node]
    ) -> None:
        parent = child(into, PIPELINE, f'multicast(dp="{datapath.name}", mcgroup="{copy.outport}")')
        inport = copy.inport
        for name in group:
            title = f'egress(dp="{datapath.name}", inport="{inport}", outport="{name}")'
            node = child(parent.subs, PIPELINE, title)
            if name == inport and not loopback:
                node.subs.append(Node(OUTPUT, _OMITTED))
                continue
            node.always_indent = True
            copy.outport = name  # the program reuses the packet from one port to the next, changes included
            self.go(datapath, copy, 0, EGRESS, node.subs)

    # --- packets that OVN makes ----------------------------------------------------------------------------------------

    def _nested(self, action: act.Nested, at: Task) -> Task | None:
        datapath, state, table, pipeline, into = at
        if action.kind == "nd_na_router":
            self.unjudged = self.unjudged or "ovn-trace 23.03 aborts with an assertion at nd_na_router"
        made = generate(action.kind, state)
        if made is None:
            return None
        title, copy = made
        node = child(into, TRANSFORMATION, title)
        return self._actions(action.actions, datapath, copy, table, pipeline, node.subs)

    # --- conntrack -----------------------------------------------------------------------------------------------------

    def _next_ct(self) -> tuple[int, str]:
        if self._ct:
            return self._ct.pop(0), ""
        return DEFAULT_CT, _DEFAULT_NOTE

    def _ct_nat(self, action: act.CtNat, at: Task) -> Task | None:
        datapath, state, table, pipeline, into = at
        copy = state.copy()
        if action.kind == "ct_commit_nat":
            text = "ct_commit_nat /* assuming no un-nat entry, so no change */"
        else:
            to_dst = "dnat" in action.kind
            if not to_dst and not action.address and datapath in self.world.gateways:
                return None
            side = "dst" if to_dst else "src"
            text = f"ct_{side[0]}nat" + ("in_czone" if action.kind.endswith("_in_czone") else "")
            if action.address:
                family = "ip6" if ":" in action.address else "ip4"
                text += f"({family}.{side}={action.address})"
                setattr(copy, f"{family}_{side}", ip_int(action.address))
                copy.ct_state |= CT_DNAT if to_dst else CT_SNAT
            else:
                text += f" /* assuming no un-{side[0]}nat entry, so no change */"
        if not copy.ct_state & CT_TRK:
            answer, note = self._next_ct()
            copy.ct_state |= answer
            text += note
        node = child(into, TRANSFORMATION, text)
        return (datapath, copy, table + 1, pipeline, node.subs)

    def _ct_lb(self, action: act.CtLb, at: Task) -> Task:
        datapath, state, table, pipeline, into = at
        copy = state.copy()
        note = ""
        if state.eth_type in (ETH_IP, ETH_IPV6):
            chosen = self._destination(action, state, into)
            if chosen is not None:
                copy.ct = (state.ip_dst, storage(state)[1])
                setattr(copy, "ip6_dst" if state.is_ipv6 else "ip4_dst", chosen[0])
                if chosen[1]:
                    copy.tp_dst = chosen[1]
                copy.ct_state |= CT_DNAT
            answer, note = self._next_ct()
            copy.ct_state |= answer
        node = child(into, TRANSFORMATION, f"{action.kind}{note}")
        return (datapath, copy, table + 1, pipeline, node.subs)

    def _destination(self, action: act.CtLb, state: PacketState, into: list[Node]) -> tuple[int, int] | None:
        ipv6 = state.is_ipv6
        mine = self._lb_dst is not None and self._lb_v6 == ipv6
        if not action.backends:
            return (self._lb_dst, 0) if mine and self._lb_dst is not None else None
        usable = [(ip_int(b.address), b.port) for b in action.backends if (":" in b.address) == ipv6]
        if not usable:
            into.append(Node(ERROR, "*** no load balancing destination (use --lb-dst)"))
            return None
        if mine:
            for backend in usable:
                if backend[0] == self._lb_dst:
                    self._lb_dst = None
                    return backend
        if len(usable) == 1:
            return usable[0]
        if self._backends:
            address, port = split_endpoint(self._backends.pop(0))
            return next((b for b in usable if b[0] == ip_int(address) and port in (0, b[1])), usable[0])
        self.unjudged = self.unjudged or f"ovn-trace picks one of {len(usable)} backends at random"
        return usable[0]

    def _select(self, action: act.Select, at: Task) -> Task:
        datapath, state, table, pipeline, into = at
        self.unjudged = self.unjudged or "ovn-trace selects a route at random"
        value, _ = action.choices[0]
        copy = state.copy()
        copy.set(action.target, value)
        node = child(into, TRANSFORMATION, f"select: {action.target} = {value}")
        return (datapath, copy, table + 1, pipeline, node.subs)

    def _vip(self, state: PacketState) -> tuple[str, int, int] | None:
        """The first VIP with the address that the packet was load-balanced from."""
        saved = state.ct if isinstance(state.ct, tuple) else None
        if saved is None:
            return None
        found = []
        for balancer in self.world.southbound.load_balancers:
            for key in balancer.vips:
                address, port = split_endpoint(key)
                if (":" in address) == state.is_ipv6 and ip_int(address) == saved[0]:
                    found.append((key, port, saved[1]))
        if len({port for _, port, _ in found}) > 1:
            self.unjudged = self.unjudged or "several load balancers share the VIP: ovn-trace takes any of them"
        return found[0] if found else None

    def _snat_to_vip(self, state: PacketState, into: list[Node]) -> None:
        vip = self._vip(state)
        if vip is not None and vip[1] == vip[2]:
            into.append(Node(ACTION, f"/* nat(src={split_endpoint(vip[0])[0]}) */"))

    # --- look-ups ------------------------------------------------------------------------------------------------------

    def _result(self, action: act.Result, state: PacketState, into: list[Node]) -> None:
        name, value = action.function, 0
        if name == "check_in_port_sec":
            value = int(security.violates_in(state, self.ports[state.inport]))
        elif name == "check_out_port_sec":
            value = int(security.violates_out(state, self.ports[state.outport]))
        elif name in ("chk_lb_hairpin", "chk_lb_hairpin_reply"):
            same = state.ip_src == state.ip_dst and bool(state.ct_state & CT_DNAT)
            vip = self._vip(state) if same else None
            value = int(vip is not None and vip[1] == (vip[2] if name == "chk_lb_hairpin" else storage(state)[1]))
            into.append(Node(MODIFY, f"{action.target} = {value}"))
        elif name == "dns_lookup":
            self._no_dns(action.target, state, into)
            return
        else:
            return  # chk_lb_aff, chk_ecmp_nh ...: the program leaves the field alone
        state.set(action.target, value)

    @staticmethod
    def _no_dns(target: FieldRef | None, state: PacketState, into: list[Node]) -> None:
        if target is not None:
            state.set(target, 0)
        into.append(Node(ERROR, "*** dns_lookup action not implemented"))

    def _neighbor(self, action: act.NeighborAction, state: PacketState, into: list[Node]) -> None:
        if action.function.startswith("put_"):
            return
        mac = self.world.neighbors.get((str(state.get(action.args[0])), state.get_int(action.args[1])))
        if action.function.startswith("get_"):
            state.eth_dst = mac_int(mac) if mac else 0
            into.append(Node(ACTION, f"/* MAC binding to {mac}. */" if mac else "/* No MAC binding. */"))
            into.append(Node(MODIFY, f"eth.dst = {mac_text(state.eth_dst)}"))
            return
        assert action.target is not None
        by_ip = action.function.endswith("_ip")
        hit = mac is not None and (by_ip or mac_int(mac) == state.get_int(action.args[2]))
        if not hit:
            into.append(Node(ACTION, "/* lookup failed - No MAC binding. */"))
        elif by_ip:
            into.append(Node(ACTION, "/* MAC binding found. */"))
        else:
            into.append(Node(ACTION, f"/* MAC binding to {mac_text(state.eth_dst)} found. */"))
        state.set(action.target, int(hit))

    # --- fields --------------------------------------------------------------------------------------------------------

    @staticmethod
    def _decrement(state: PacketState, into: list[Node]) -> None:
        if state.eth_type not in (ETH_IP, ETH_IPV6):
            into.append(Node(ERROR, "*** TTL decrement of non-IP packet"))
        elif state.ip_ttl:
            state.ip_ttl -= 1
            into.append(Node(MODIFY, "ip.ttl--"))
        else:
            into.append(Node(ERROR, "*** TTL underflow"))

    @staticmethod
    def _assign(action: act.Load | act.Move | act.Exchange, state: PacketState, into: list[Node]) -> None:
        if isinstance(action, act.Load):
            if not is_register(action.target):
                into.append(Node(MODIFY, str(action).rstrip(";")))
        elif isinstance(action, act.Move):
            note_move(action.target, action.source, state, into)
        else:
            note_move(action.left, action.right, state, into)
            note_move(action.right, action.left, state, into)
        for operation in prepare_actions((action,)):
            operation(state)
