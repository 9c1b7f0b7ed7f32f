"""What the matrix asked about, and what it left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ytwin.resources.model import YusurService
from ytwin.resources.snapshot import Snapshot
from ytwin.resources.workload import workloads
from ytwin.trace.types import World
from ytwin.verify.matrix import representatives
from ytwin.verify.report import Asked, Cell, Finding, Severity

ISOLATION = "isolation:"


def asked(snapshot: Snapshot, world: World, cells: Iterable[Cell], exhaustive: bool) -> Asked:
    """Counted from the cells; what is left out follows from the hosts."""
    listed = tuple(cells)
    of_services = [cell for cell in listed if not cell.service.startswith(ISOLATION)]
    return Asked(
        clients=len({cell.client for cell in listed}),
        services=len({cell.service for cell in of_services}),
        addresses=len({(cell.address, cell.port, cell.protocol) for cell in of_services}),
        backends=len({backend.name for cell in of_services for backend in cell.backends}),
        isolation_pairs=len(listed) - len(of_services),
        left_out=tuple(_left_out(snapshot, world, exhaustive)),
    )


def _left_out(snapshot: Snapshot, world: World, exhaustive: bool) -> Iterator[str]:
    beside = 0 if exhaustive else len(world.hosts) - len(representatives(world.hosts))
    if beside:
        yield f"{beside} clients of the kind, Subnet and node of another that is asked (--all-clients asks them too)"
    present = {host.name for host in world.hosts}
    absent = sum(str(workload.id) not in present for workload in workloads(snapshot))
    if absent:
        yield f"{absent} workloads on no living node"


def nothing_to_check(snapshot: Snapshot) -> Iterator[Finding]:
    """An input without a Service holds, and says nothing."""
    if not any(True for _ in snapshot.all(YusurService)):
        yield Finding("nothing-to-check", Severity.WARNING, "input", "nothing to check: no YusurService")
