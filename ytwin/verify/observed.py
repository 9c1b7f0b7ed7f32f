"""Findings that need the traced cells or the World, where lints need the objects and rows alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ytwin.datapath import Overrun
from ytwin.logical.addresses import endpoint
from ytwin.resources.model import Node
from ytwin.resources.snapshot import Snapshot
from ytwin.resources.workload import workloads
from ytwin.trace.types import World
from ytwin.verify.report import Cell, Finding, Severity

_SHOWN = 3


def recirculation_limits(cells: Iterable[Cell]) -> Iterator[Finding]:
    """ "Max recirculation depth exceeded": ovn-trace says "output", and the datapath drops every new connection.

    One finding per Service, walk, chassis and causes; the paths that share them are named in it.
    """
    groups: dict[tuple[str, str], list[tuple[Cell, Overrun]]] = {}
    for cell in cells:
        for overrun in cell.overruns:
            groups.setdefault((cell.service, overrun.why), []).append((cell, overrun))
    for (service, why), members in sorted(groups.items()):
        paths = sorted(
            {
                f"{cell.client} -> {cell.protocol} {endpoint(cell.address, cell.port)} -> {overrun.backend}"
                for cell, overrun in members
            }
        )
        shown = ", ".join(paths[:_SHOWN]) + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
        message = f"{shown}: {why}. Remedy: {members[0][1].remedy}"
        yield Finding("recirculation-limit", Severity.ERROR, f"YusurService/{service}", message)


def lost_clients(snapshot: Snapshot, world: World) -> Iterator[Finding]:
    """Who was not asked because its node is lost (`--down`)."""
    alive = set(world.chassis)
    for node in snapshot.all(Node):
        if node.name in alive:
            continue
        names = sorted(str(w.id) for w in workloads(snapshot) if w.node == node.name)
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        message = f"the node is lost: it and {shown or 'no workload'} are not asked as clients"
        yield Finding("node-lost", Severity.INFO, f"Node/{node.name}", message)
