"""The page to read first: every arrow from a topology file to an answer, one short function each.

files -> Snapshot -> reconciled Snapshot -> Northbound + NodeConfigs -> Southbound -> World -> Conversation, Report
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ytwin.controllers import reconcile
from ytwin.core.memo import Memo
from ytwin.datapath import limits_of
from ytwin.logical.southbound import Southbound
from ytwin.nodes import node_configs
from ytwin.nodes.config import NodeConfig
from ytwin.northbound import compile_northbound
from ytwin.northbound.rows import Northbound
from ytwin.northd import northd
from ytwin.resources.codec import decode
from ytwin.resources.snapshot import Snapshot
from ytwin.trace import Tracer
from ytwin.trace.types import Conversation, Host, Verdict, World
from ytwin.trace.world import build_world
from ytwin.verify import Report, check
from ytwin.verify.drift import Drift, explained
from ytwin.verify.matrix import Progress

if TYPE_CHECKING:
    from ytwin.article.reproduce import Reproduction
    from ytwin.cluster import Cluster, Size
    from ytwin.hardware import HardwareProfile


@dataclass(frozen=True)
class Twin:
    """Everything that follows from one topology; each field is made from those above it."""

    snapshot: Snapshot
    """Reconciled: Service, Endpoints and NetworkProbes are in it, and no address is open."""
    northbound: Northbound
    nodes: tuple[NodeConfig, ...]
    southbound: Southbound
    """Unbound: no port has a chassis yet."""
    world: World
    drift: Drift | None = None
    """How a Southbound that was read differs from the compiled one; None where the compiled one is used."""
    world_compiled: World | None = None
    """`world` with the compiled flows, where there is drift."""


def read(files: Mapping[str, str]) -> Snapshot:
    """File name -> YAML text, to a valid Snapshot. InvalidInput carries every problem."""
    return decode(files)


def compile_rows(snapshot: Snapshot, memo: Memo | None = None) -> tuple[Snapshot, Northbound]:
    """Run the controllers, then the ycloud-controller's compiler."""
    reconciled = reconcile(snapshot, memo)
    return reconciled, compile_northbound(reconciled, memo)


def compile_flows(snapshot: Snapshot, memo: Memo | None = None) -> tuple[Snapshot, Northbound, Southbound]:
    """`compile_rows`, then northd. Called again with the same Memo, it costs what changed."""
    reconciled, northbound = compile_rows(snapshot, memo)
    return reconciled, northbound, northd(northbound, memo)


def build(snapshot: Snapshot, southbound: Southbound | None = None, down: Iterable[str] = ()) -> Twin:
    """The whole twin. `southbound` replaces the compiled flows by those of a dump; `down` names nodes that are lost."""
    reconciled, northbound = compile_rows(snapshot)
    nodes = node_configs(reconciled, northbound)
    flows, lost = northd(northbound), tuple(down)
    world = build_world(reconciled, northbound, nodes, flows, lost)
    if southbound is None:
        return Twin(reconciled, northbound, nodes, flows, world)
    drift = Drift(flows, southbound)
    observed = build_world(reconciled, northbound, nodes, drift.named, lost)
    return Twin(reconciled, northbound, nodes, drift.named, observed, drift, world)


def converse(twin: Twin, client: Host, address: str, port: int, protocol: str) -> Conversation:
    """Client calls address. With a Southbound that was read, a failure names the flow where it parts from the compiled."""
    answer = Tracer(twin.world).converse(client, address, port, protocol)
    if twin.drift is None or twin.world_compiled is None or answer.verdict is Verdict.DELIVERED:
        return answer
    should = Tracer(twin.world_compiled).converse(client, address, port, protocol)
    parting = twin.drift.reason(answer, should)
    return replace(answer, reason=f"{answer.reason}; {parting}") if parting else answer


def verify(twin: Twin, exhaustive: bool = False, progress: Progress | None = None) -> Report:
    """The matrix of clients and Services, isolation, and lints, on the datapaths that the nodes run."""
    report = check(twin.snapshot, twin.northbound, twin.world, exhaustive, progress, limits_of(twin.nodes))
    if twin.drift is None or twin.world_compiled is None:
        return report
    return explained(report, twin.drift, twin.world, twin.world_compiled)


def generated_cluster(size: Size, profile: HardwareProfile) -> Cluster:
    """A cluster of so many nodes and Services for the capacity model, the same hardware in every node."""
    from ytwin import cluster  # noqa: PLC0415 - as for `reproduce`

    twin = build(read(cluster.sample_files(size, profile)))
    return cluster.generated(size, twin.snapshot, twin.world, limits_of(twin.nodes), profile)


def reproduce(
    seed: int = 0, simulate: bool = True, left_out: bool = True, progress: Progress | None = None
) -> Reproduction:
    """The article's section 3.2 beside the twin: its testbed, built with the cards' offload on and off, and predicted."""
    from ytwin import article  # noqa: PLC0415 - formulas and fits take a second to import, which other answers need not wait for
    from ytwin.hardware import shipped  # noqa: PLC0415

    snapshot, tables = read(article.topology_files()), article.article_tables()
    clients, profiles = article.clients_of(tables), shipped()
    twins = {mode: build(article.in_mode(snapshot, mode)) for mode in article.Mode}
    benches = {m: article.bench(t.snapshot, t.nodes, t.world, profiles, clients) for m, t in twins.items()}
    return article.reproduce(
        benches, profiles, tables=tables, seed=seed, simulate=simulate, left_out=left_out, progress=progress
    )
