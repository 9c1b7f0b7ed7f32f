"""Collecting logical flows, and merging those that several datapaths share into one row with a datapath group.

A flow's identity is its stage, priority, match and actions. Every flow function returns a tuple of LogicalFlow rows made by a
`Flows`; a `Collector` joins them. A function is told its datapaths as one tuple, so a flow of a hundred switches is made once.
"""

from __future__ import annotations

from collections.abc import Iterable

from ytwin.logical.southbound import DatapathId, LogicalFlow
from ytwin.northd.stages import Stage

Group = tuple[DatapathId, ...]
"""The datapaths of a flow, sorted and without duplicates."""


class Flows:
    """Logical flows of one pure function: `add` them, then return `done()`."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: list[LogicalFlow] = []

    def add(self, where: Group, stage: Stage, priority: int, match: str, actions: str, source: str = "") -> None:
        """One flow of all datapaths of `where` (nothing when `where` is empty); `source` is the NB row's key as text."""
        if where:
            row = LogicalFlow(where, stage.pipeline, stage.table, stage.label, priority, match, actions, source)
            self._rows.append(row)

    def done(self) -> tuple[LogicalFlow, ...]:
        """The flows added so far, in order."""
        return tuple(self._rows)


def group_of(datapaths: Iterable[DatapathId]) -> Group:
    """Sorted, each once."""
    return tuple(sorted(set(datapaths)))


class Collector:
    """Joins the flows of all functions; equal flows become one with the union of their datapaths."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int, str, str], LogicalFlow] = {}
        self._more: dict[tuple[str, int, str, str], dict[int, Group]] = {}
        """For flows met more than once: all their groups by identity."""

    def extend(self, flows: Iterable[LogicalFlow]) -> None:
        """Take in ready-made flows."""
        rows = self._rows
        for flow in flows:
            key = (flow.stage, flow.priority, flow.match, flow.actions)
            known = rows.setdefault(key, flow)
            if known is not flow and known.datapaths is not flow.datapaths:
                groups = self._more.setdefault(key, {id(known.datapaths): known.datapaths})
                groups[id(flow.datapaths)] = flow.datapaths

    def add(self, where: Group, stage: Stage, priority: int, match: str, actions: str, source: str = "") -> None:
        """Take in one flow; see `Flows.add`."""
        flows = Flows()
        flows.add(where, stage, priority, match, actions, source)
        self.extend(flows.done())

    def done(self) -> tuple[LogicalFlow, ...]:
        """All flows in the order in which they were first met (which carries no meaning)."""
        joined: dict[frozenset[int], Group] = {}
        for key, groups in self._more.items():
            ids = frozenset(groups)
            if ids not in joined:
                joined[ids] = group_of(datapath for group in groups.values() for datapath in group)
            row = self._rows[key]
            self._rows[key] = LogicalFlow(
                joined[ids], row.pipeline, row.table, row.stage, row.priority, row.match, row.actions, row.source
            )
        return tuple(self._rows.values())
