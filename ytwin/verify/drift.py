"""A Southbound that was read, held against the one its Northbound compiles to: which flow of which row is missing or foreign.

Flows are compared by what they are called and say: datapath, pipeline, stage, priority, match and actions. Tunnel keys, which
every northd gives as it likes, do not count. Stages move with OVN's versions, so flows of another version are not compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from ytwin.logical.southbound import DatapathId, LogicalFlow, Southbound
from ytwin.trace import Tracer
from ytwin.trace.types import Conversation, Hop, World
from ytwin.verify.report import Cell, Finding, Report, Severity

_SHOWN = 20
"""Findings of one code: a Southbound of another cluster lacks everything, which need not be said ten thousand times."""
_KEYED_SET = re.compile(r"\$rtr_lb_\d+_")
"""Address sets of a router's load balancers are called by its tunnel key."""
_TABLES = {"switch": "Logical_Switch", "router": "Logical_Router"}

Place = tuple[str, str, int, str]
"""Pipeline, stage, priority, match."""


def _text(text: str) -> str:
    return _KEYED_SET.sub("$rtr_lb_*_", text) if "$rtr_lb_" in text else text


def _place(flow: LogicalFlow) -> Place:
    return flow.pipeline, flow.stage, flow.priority, _text(flow.match)


class _Flows:
    """Flows by their place; those of one place differ in actions or in datapaths."""

    def __init__(self, flows: Iterable[LogicalFlow]) -> None:
        self._by_place: dict[Place, list[LogicalFlow]] = {}
        for flow in flows:
            self._by_place.setdefault(_place(flow), []).append(flow)

    def at(self, flow: LogicalFlow) -> list[LogicalFlow]:
        return self._by_place.get(_place(flow), [])

    def same(self, flow: LogicalFlow) -> list[LogicalFlow]:
        """Those that do the same at the same place, on whichever datapaths."""
        actions = _text(flow.actions)
        return [other for other in self.at(flow) if _text(other.actions) == actions]

    def lacking(self, flow: LogicalFlow) -> tuple[DatapathId, ...]:
        """Datapaths of `flow` that have no such flow here."""
        same = self.same(flow)
        if any(other.datapaths == flow.datapaths for other in same):
            return ()
        present = {datapath for other in same for datapath in other.datapaths}
        return tuple(datapath for datapath in flow.datapaths if datapath not in present)

    def has(self, datapath: DatapathId, flow: LogicalFlow) -> bool:
        return any(datapath in other.datapaths for other in self.same(flow))

    def instead(self, datapath: DatapathId, flow: LogicalFlow) -> LogicalFlow | None:
        """What is here at the place of `flow` and does something else."""
        return next((other for other in self.at(flow) if datapath in other.datapaths), None)


@dataclass(frozen=True)
class Drift:
    """`compiled` is what should be, `observed` what was read."""

    compiled: Southbound
    observed: Southbound

    @cached_property
    def _wanted(self) -> _Flows:
        return _Flows(self.compiled.flows)

    @cached_property
    def _found(self) -> _Flows:
        return _Flows(self.observed.flows)

    @cached_property
    def comparable(self) -> bool:
        """Whether every stage that was read is where the compiler has it: else it is of another version."""
        stages = {(flow.pipeline, flow.stage): flow.table for flow in self.compiled.flows}
        return all(stages.get((flow.pipeline, flow.stage), flow.table) == flow.table for flow in self.observed.flows)

    @cached_property
    def named(self) -> Southbound:
        """What was read, each flow with the Northbound row that the compiler makes it from, where there is one.

        A flow that the compiler does not make keeps the stage hint: the first digits of its row's UUID.
        """
        if not self.comparable:
            return self.observed
        return replace(self.observed, flows=tuple(self._with_row(flow) for flow in self.observed.flows))

    def _with_row(self, flow: LogicalFlow) -> LogicalFlow:
        here = set(flow.datapaths)
        same = (other for other in self._wanted.same(flow) if not here.isdisjoint(other.datapaths))
        source = next((other.source for other in same if other.source), "")
        return replace(flow, source=source) if source else flow

    # --- findings ------------------------------------------------------------------------------------------------------

    def findings(self) -> Iterator[Finding]:
        """One per row whose flows are missing or changed, one per datapath with foreign flows, and what else differs."""
        if not self.comparable:
            what = "its stages are not those of OVN 23.03, so its flows are traced, but not compared one by one"
            yield Finding("other-ovn-version", Severity.INFO, "Southbound", what)
            return
        lost = sorted(self.compiled.ports.keys() - self.observed.ports.keys())
        yield from _shortened("port-missing", [(f"Port_Binding/{name}", "the Southbound lacks it") for name in lost])
        yield from _shortened("balancer-differs", list(self._balancers()))
        yield from _shortened("group-differs", list(self._groups()))
        yield from _shortened("flow-missing", _grouped(self._missing(), "the Southbound lacks", "of it"))
        yield from _shortened("flow-foreign", _grouped(self._foreign(), "nothing in the input makes", "here"))

    def _balancers(self) -> Iterator[tuple[str, str]]:
        """Southbound Load_Balancers: hairpin traffic looks at them, besides the flows."""
        found = {lb.name: lb for lb in self.observed.load_balancers}
        for lb in self.compiled.load_balancers:
            other = found.get(lb.name)
            if other is None:
                yield (
                    f"Load_Balancer/{lb.name}",
                    "the Southbound has no Load_Balancer of it, which traffic back to its sender needs",
                )
            elif (other.vips, other.protocol, other.datapaths) != (lb.vips, lb.protocol, lb.datapaths):
                yield f"Load_Balancer/{lb.name}", "the Southbound's Load_Balancer has other vips, protocol or datapaths"

    def _groups(self) -> Iterator[tuple[str, str]]:
        found = {(group.datapath, group.name): group.ports for group in self.observed.multicast_groups}
        for group in self.compiled.multicast_groups:
            ports = found.get((group.datapath, group.name))
            if ports is None:
                yield _row_of(group.datapath), f"the Southbound lacks the Multicast_Group {group.name} of it"
            elif ports != group.ports:
                differing = ", ".join(sorted(set(ports) ^ set(group.ports)))
                yield _row_of(group.datapath), f"Multicast_Group {group.name} of it differs in {differing}"

    def _missing(self) -> Iterator[tuple[str, str]]:
        for flow in self.compiled.flows:
            lacking = self._found.lacking(flow)
            if lacking:
                instead = self._found.instead(lacking[0], flow)
                hint = f"; it has {instead.actions} there" if instead is not None else ""
                yield flow.source or _row_of(lacking[0]), f"{_names(lacking)}: {flow}{hint}"

    def _foreign(self) -> Iterator[tuple[str, str]]:
        for flow in self.observed.flows:
            lacking = self._wanted.lacking(flow)
            # Where the compiler has another flow at the same place, that one is reported as missing.
            lacking = tuple(datapath for datapath in lacking if self._wanted.instead(datapath, flow) is None)
            if lacking:
                yield _row_of(lacking[0]), f"{_names(lacking)}: {flow}"

    # --- one conversation ----------------------------------------------------------------------------------------------

    def reason(self, observed: Conversation, compiled: Conversation) -> str:
        """The first flow in which the two part: one that only the compiler has, else one that only was read; "" if none."""
        if not self.comparable:
            return ""
        for hop in _hops(compiled):
            flow = hop.flow
            if flow is None or self._found.has(hop.datapath, flow):
                continue
            instead = self._found.instead(hop.datapath, flow)
            what = f"does {instead.actions} there" if instead is not None else "lacks it"
            return f"{_kind_and_name(hop.datapath)} should have {_flow_and_row(flow)}; the Southbound {what}"
        for hop in _hops(observed):
            if hop.flow is not None and not self._wanted.has(hop.datapath, hop.flow):
                return f"{_kind_and_name(hop.datapath)} has {_flow_and_row(hop.flow)}, which nothing in the input makes"
        return self._lost_beside(compiled)

    def _lost_beside(self, compiled: Conversation) -> str:
        """A missing flow of a row that the conversation needs, where it goes by: a retransmission does not show all it met."""
        hops = list(_hops(compiled))
        rows = {hop.flow.source for hop in hops if hop.flow is not None and hop.flow.source}
        visited = {hop.datapath for hop in hops}
        for flow in self.compiled.flows:
            if flow.source in rows:
                for datapath in self._found.lacking(flow):
                    if datapath in visited:
                        what = f"{_kind_and_name(datapath)} should have {_flow_and_row(flow)}"
                        return f"{what}; the Southbound lacks it"
        return ""


def explained(report: Report, drift: Drift, observed: World, compiled: World) -> Report:
    """The Report of a Southbound that was read, with the drift's findings; each failed cell says where it parts."""
    hosts = {host.name: host for host in observed.hosts}
    here, there = Tracer(observed), Tracer(compiled)

    def with_parting(cell: Cell) -> Cell:
        question = (hosts[cell.client], cell.address, cell.port, cell.protocol)
        parting = drift.reason(here.converse(*question), there.converse(*question))
        return replace(cell, reason=f"{cell.reason}; {parting}") if parting else cell

    cells = tuple(cell if cell.holds else with_parting(cell) for cell in report.cells)
    found = (*drift.findings(), *_elsewhere(drift.observed, compiled.southbound))
    return replace(report, cells=cells, findings=(*report.findings, *found))


def _elsewhere(observed: Southbound, bound: Southbound) -> Iterator[Finding]:
    """Ports that a live cluster has bound otherwise than the input says; a Southbound without any chassis is not live."""
    if not any(port.chassis for port in observed.ports.values()):
        return
    found = []
    for name, port in sorted(observed.ports.items()):
        wanted = bound.ports[name].chassis if name in bound.ports else ""
        if wanted and port.chassis != wanted:
            where = f"is bound to {port.chassis}" if port.chassis else "is not bound"
            found.append(
                (f"Port_Binding/{name}", f"{where}, and by the input belongs on {wanted}; traced as if it were there")
            )
    yield from _shortened("port-elsewhere", found)


def _hops(conversation: Conversation) -> Iterator[Hop]:
    for path in conversation.paths:
        for walk in (path.forward, path.reply, path.second):
            if walk is not None:
                yield from walk.hops


def _flow_and_row(flow: LogicalFlow) -> str:
    return f"{flow} from {flow.source}" if flow.source else str(flow)


def _kind_and_name(datapath: DatapathId) -> str:
    return f"{datapath.kind} {datapath.name}"


def _row_of(datapath: DatapathId) -> str:
    return f"{_TABLES[datapath.kind]}/{datapath.name}"


def _names(datapaths: tuple[DatapathId, ...]) -> str:
    more = f" and {len(datapaths) - 1} more" if len(datapaths) > 1 else ""
    return f"{_kind_and_name(datapaths[0])}{more}"


def _grouped(found: Iterable[tuple[str, str]], what: str, whose: str) -> list[tuple[str, str]]:
    groups: dict[str, list[str]] = {}
    for row, text in found:
        groups.setdefault(row, []).append(text)
    return [
        (
            row,
            f"{what} {len(texts)} flow{'s' if len(texts) > 1 else ''} {whose}{', first' if len(texts) > 1 else ''}: {texts[0]}",
        )
        for row, texts in sorted(groups.items())
    ]


def _shortened(code: str, found: list[tuple[str, str]]) -> Iterator[Finding]:
    for row, message in islice(found, _SHOWN):
        yield Finding(code, Severity.WARNING, row, message)
    if len(found) > _SHOWN:
        yield Finding(code, Severity.WARNING, "Southbound", f"and {len(found) - _SHOWN} more rows like these")
