"""What should hold and what does: the matrix of clients x Services, isolation, lints. Pure.

`check` is the room's one door. Expectations come from the Kubernetes objects alone (`expect`), answers from the trace (`matrix`),
so a mistake in the compiler cannot excuse itself. What a node's datapath would drop
counts as dropped.
"""

from __future__ import annotations

from collections.abc import Mapping

from ytwin.datapath import Limit
from ytwin.northbound.rows import Northbound
from ytwin.resources.snapshot import Snapshot
from ytwin.trace.types import World
from ytwin.verify.asked import asked, nothing_to_check
from ytwin.verify.lints import lint
from ytwin.verify.lints.context import LintContext
from ytwin.verify.matrix import NO_LIMITS, Progress, matrix
from ytwin.verify.observed import lost_clients, recirculation_limits
from ytwin.verify.report import BackendResult, Cell, Finding, Report, Severity

__all__ = ["BackendResult", "Cell", "Finding", "Report", "Severity", "check"]


def check(
    snapshot: Snapshot,
    northbound: Northbound,
    world: World,
    exhaustive: bool = False,
    progress: Progress | None = None,
    limits: Mapping[str, Limit] = NO_LIMITS,
) -> Report:
    """Matrix and lints of a reconciled Snapshot, the Northbound compiled from it and the World built from both.

    `exhaustive` asks for every host as a client instead of one per kind, VPC, Subnet and chassis. `limits` (by chassis, see
    `ytwin.datapath.limits_of`) says what the nodes' datapaths allow; a chassis without one allows everything.
    """
    cells = matrix(snapshot, world, exhaustive, progress, limits)
    found = (
        *nothing_to_check(snapshot),
        *lint(LintContext(snapshot, northbound)),
        *recirculation_limits(cells),
        *lost_clients(snapshot, world),
    )
    return Report(cells, found, asked(snapshot, world, cells, exhaustive))
