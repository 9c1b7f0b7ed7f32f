"""Logical flow tables, compiled on first use, with look-ups that do not grow with the number of flows.

A table that says only `1 -> next;` is skipped. In the others, flows that test the same whole fields (or prefixes of
addresses) sit in one dictionary keyed by those values, so that one look-up finds the few candidates among thousands.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from ytwin.core.errors import Unsupported
from ytwin.logical import actions as act
from ytwin.logical.compile import Matcher, PreparedMatch, prepare
from ytwin.logical.expr import FALSE, Residence, Sets
from ytwin.logical.parse_actions import parse_flow
from ytwin.logical.parse_match import parse_match
from ytwin.logical.southbound import DatapathId, LogicalFlow, Southbound
from ytwin.logical.state import PacketState, reader, writer

Operation = Callable[[PacketState], None]
_PREFIXED = frozenset({"ip4_src", "ip4_dst", "ip6_src", "ip6_dst"})
"""Slots whose masked tests are worth an index of their own: routes and subnets."""
_WORTH_INDEXING = 3
"""Fewer flows than this with one set of keys are tried one by one."""

_REFUSED_BY_OVN = re.compile(r";\s*drop;\s*$")
"""`drop;` may only stand alone. northd 23.03 writes `flags.force_snat_for_lb = 1; drop;` for a VIP without backends on
a router with lb_force_snat_ip; ovn-controller and ovn-trace log an error and go on without that flow."""

UNREADABLE = "unreadable"
"""Name of the Opaque action that stands for actions outside the subset; its text is the error."""


class Entry:
    """A flow, ready to run: `simple` operations first, then `jump`/`then` (a table) or the `rest` of the actions."""

    __slots__ = ("actions", "flow", "jump", "match", "rest", "simple", "then")

    def __init__(self, flow: LogicalFlow, match: PreparedMatch, actions: tuple[act.Action, ...]) -> None:
        self.flow = flow
        self.match = match
        self.actions = actions
        prepared = list(prepare_actions(actions))
        final = prepared.pop() if prepared and _is_next(prepared[-1], flow.pipeline) else None
        count = next((i for i, a in enumerate(prepared) if not callable(a)), len(prepared))
        self.simple: tuple[Operation, ...] = tuple(prepared[:count])
        self.rest: tuple[Any, ...] = tuple(prepared[count:])
        self.jump = self.then = -1
        if final is not None and not self.rest:
            if self.simple:
                self.then = final.table
            else:
                self.jump = final.table
        elif final is not None:
            self.rest = (*self.rest, final)


def _is_next(action: Any, pipeline: str) -> bool:
    return isinstance(action, act.Next) and action.pipeline == pipeline


class Table:
    """Flows of one table of one datapath, best first."""

    __slots__ = ("_groups", "_linear", "_ties", "entries")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self._ties: dict[int, Table] = {}
        self._groups: list[tuple[int, Callable[[PacketState], Any], dict[Any, list[tuple[int, Matcher, Entry]]]]] = []
        self._linear: list[tuple[int, Matcher, Entry]] = []
        self._index()

    def _index(self) -> None:
        by_signature: dict[tuple[tuple[str, int], ...], list[tuple[int, Entry, dict[str, Any]]]] = defaultdict(list)
        for rank, entry in enumerate(self.entries):
            keys: dict[str, Any] = dict(entry.match.keys())
            masks = dict.fromkeys(keys, -1)
            for slot, mask, value in entry.match.masked():
                if slot in _PREFIXED and slot not in masks:
                    masks[slot], keys[slot] = mask, value
            by_signature[tuple(sorted(masks.items()))].append((rank, entry, keys))
        for signature, members in by_signature.items():
            if not signature or len(members) < _WORTH_INDEXING:
                self._linear += [(rank, entry.match.matcher(), entry) for rank, entry, _ in members]
                continue
            whole = [slot for slot, mask in signature if mask == -1]
            found: dict[Any, list[tuple[int, Matcher, Entry]]] = defaultdict(list)
            for rank, entry, keys in members:
                values = tuple(keys[slot] for slot, _ in signature)
                key = values[0] if len(values) == 1 else values
                found[key].append((rank, entry.match.matcher(whole), entry))
            self._groups.append((members[0][0], _key_reader(signature), dict(found)))
        self._groups.sort(key=lambda group: group[0])
        self._linear.sort(key=lambda item: item[0])

    def lookup(self, state: PacketState, env: Residence) -> Entry | None:
        """The flow of highest priority that matches; of equal ones the first in the canonical order."""
        best, result = 1 << 30, None
        for first, read, index in self._groups:
            if first > best:
                break
            for rank, matches, entry in index.get(read(state), ()):
                if rank > best:
                    break
                if matches(state, env):
                    best, result = rank, entry
                    break
        for rank, matches, entry in self._linear:
            if rank > best:
                break
            if matches(state, env):
                return entry
        return result

    def ambiguous(self, state: PacketState, env: Residence, won: LogicalFlow) -> bool:
        """Whether another flow of the winner's priority, with other actions, matches too: OVN leaves open which one acts."""
        if won.priority not in self._ties:
            self._ties[won.priority] = Table([e for e in self.entries if e.flow.priority == won.priority])
        return self._ties[won.priority].second(state, env, won)

    def second(self, state: PacketState, env: Residence, won: LogicalFlow) -> bool:
        """Whether a flow with other actions than the winner's matches."""
        candidates = list(self._linear)
        for _, read, index in self._groups:
            candidates += index.get(read(state), ())
        return any(e.flow is not won and e.flow.actions != won.actions and m(state, env) for _, m, e in candidates)


def _key_reader(signature: tuple[tuple[str, int], ...]) -> Callable[[PacketState], Any]:
    if all(mask == -1 for _, mask in signature):
        return attrgetter(*(slot for slot, _ in signature))
    if len(signature) == 1:
        ((slot, mask),) = signature
        read = attrgetter(slot)
        return lambda state: read(state) & mask
    slots = attrgetter(*(slot for slot, _ in signature))
    masks = tuple(mask for _, mask in signature)

    def key(state: PacketState) -> tuple[Any, ...]:
        return tuple(v if m == -1 else v & m for v, m in zip(slots(state), masks, strict=True))

    return key


class Pipeline:
    """Tables of one pipeline of one datapath."""

    __slots__ = ("_compile", "_flows", "_skip", "_stages", "_tables")

    def __init__(self, flows: Iterable[LogicalFlow], compile_flow: Callable[[LogicalFlow], Entry]) -> None:
        self._compile = compile_flow
        self._flows: dict[int, list[LogicalFlow]] = defaultdict(list)
        for flow in flows:
            self._flows[flow.table].append(flow)
        self._stages = {table: group[0].stage for table, group in self._flows.items()}
        self._tables: dict[int, Table] = {}
        last = max(self._flows, default=0)
        self._skip = list(range(last + 2))
        for table in range(last, -1, -1):
            group = self._flows.get(table, ())
            if len(group) == 1 and group[0].match.strip() == "1" and group[0].actions.strip() == "next;":
                self._skip[table] = self._skip[table + 1]

    def skip(self, table: int) -> int:
        """The first table from this one on that is not just `1 -> next;`."""
        return self._skip[table] if table < len(self._skip) else table

    def stage(self, table: int) -> str:
        """Stage name of a table."""
        return self._stages.get(table, "")

    def table(self, number: int) -> Table:
        """The compiled table."""
        found = self._tables.get(number)
        if found is None:
            flows = sorted(self._flows.get(number, ()), key=lambda f: (-f.priority, f.match, f.actions))
            entries = [entry for entry in map(self._compile, flows) if not entry.match.never]
            found = self._tables[number] = Table(entries)
        return found

    def lookup(self, table: int, state: PacketState, env: Residence) -> Entry | None:
        """The flow that the packet meets in a table; None if none matches."""
        found = self._tables.get(table)
        return (found or self.table(table)).lookup(state, env)


class Program:
    """All pipelines of a Southbound; compiles what is used and shares what datapaths share."""

    def __init__(self, southbound: Southbound, watch_ambiguity: bool = False, every_table: bool = False) -> None:
        self.watch_ambiguity = watch_ambiguity
        """Note where several flows of one priority match: slower, for single questions."""
        self.every_table = every_table
        """Leave no table out of the walks, also where nothing was done but `next;`, and record the packet as each met it."""
        self._sets = Sets(southbound.address_sets, southbound.port_groups)
        self._entries: dict[int, Entry] = {}
        self._pipelines: dict[tuple[DatapathId, str], Pipeline] = {}
        self._prepared: dict[tuple[act.Action, ...], tuple[Any, ...]] = {}
        flows: dict[tuple[DatapathId, str], list[LogicalFlow]] = defaultdict(list)
        for flow in southbound.flows:
            for datapath in flow.datapaths:
                flows[datapath, flow.pipeline].append(flow)
        self._flows = flows

    def pipeline(self, datapath: DatapathId, pipeline: str) -> Pipeline:
        """ "ingress" or "egress" of a datapath."""
        key = (datapath, pipeline)
        found = self._pipelines.get(key)
        if found is None:
            found = self._pipelines[key] = Pipeline(self._flows.get(key, ()), self.entry)
        return found

    def entry(self, flow: LogicalFlow) -> Entry:
        """The flow, compiled."""
        found = self._entries.get(id(flow))
        if found is None:
            if _REFUSED_BY_OVN.search(flow.actions):
                found = self._entries[id(flow)] = Entry(flow, prepare(FALSE), ())
                return found
            try:
                match, actions = parse_flow(flow.match, flow.actions, flow.pipeline, flow.table)
                found = Entry(flow, prepare(match, self._sets), actions)
            except Unsupported as error:
                found = self._unreadable(flow, error)
            self._entries[id(flow)] = found
        return found

    def _unreadable(self, flow: LogicalFlow, error: Unsupported) -> Entry:
        """A flow whose actions are outside the subset is an error only for the packet that meets it."""
        where = f"{flow.datapaths[0]} {flow.pipeline} table {flow.table}"
        text = f"{where}: flow `{flow}` is outside the language the trace knows: {error}"
        try:
            match = prepare(parse_match(flow.match), self._sets)
        except Unsupported:
            raise Unsupported(text) from error
        return Entry(flow, match, (act.Opaque(UNREADABLE, text),))

    def prepare(self, actions: tuple[act.Action, ...]) -> tuple[Any, ...]:
        """Actions with the simple ones as operations."""
        found = self._prepared.get(actions)
        if found is None:
            found = self._prepared[actions] = tuple(prepare_actions(actions))
        return found


def prepare_actions(actions: tuple[act.Action, ...]) -> list[Any]:
    """Loads, moves and the like as functions of the packet; all other actions as they are."""
    stack: list[Any] = []
    prepared: list[Any] = []
    if any(isinstance(a, act.Push) for a in actions):
        prepared.append(lambda _: stack.clear())
    return prepared + [_operation(action, stack) for action in actions]


def _operation(action: act.Action, stack: list[Any]) -> Any:
    if isinstance(action, act.Load):
        return _load(writer(action.target), action.value)
    if isinstance(action, act.Move):
        return _move(writer(action.target), reader(action.source))
    if isinstance(action, act.Exchange):
        return _exchange(action)
    if isinstance(action, act.DecTtl):
        return _decrement_ttl
    if isinstance(action, act.CtClear):
        return PacketState.clear_ct
    if isinstance(action, act.Push):
        read = reader(action.field)
        return lambda state: stack.append(read(state))
    if isinstance(action, act.Pop):
        write = writer(action.field)
        return lambda state: write(state, stack.pop()) if stack else None
    return action


def _load(write: Callable[[PacketState, Any], None], value: Any) -> Operation:
    return lambda state: write(state, value)


def _move(write: Callable[[PacketState, Any], None], read: Callable[[PacketState], Any]) -> Operation:
    return lambda state: write(state, read(state))


def _exchange(action: act.Exchange) -> Operation:
    write_left, write_right = writer(action.left), writer(action.right)
    read_left, read_right = reader(action.left), reader(action.right)

    def swap(state: PacketState) -> None:
        left, right = read_left(state), read_right(state)
        write_left(state, right)
        write_right(state, left)

    return swap


def _decrement_ttl(state: PacketState) -> None:
    if state.ip_ttl:
        state.ip_ttl -= 1
