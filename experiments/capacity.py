"""Is the capacity of a cluster, flow by flow, what its packets would meet?

`python -m experiments.capacity [--seed N]`

1. `every_pair`: no sharing and no arrays. Each client calls each Service, each path is traced and priced with the cards of its own
   chassis, and the work of all is summed up. `ytwin.cluster` must give the same for every resource.
2. `packets_of`: the same paths as sources of packets (Poisson) in one Network of `ytwin.sim`, all at once. Utilisation of every
   station at the load, and the factor from which on packets are lost or pile up, are held against the flow-level answer.
3. 1,000 nodes, 10,000 Services, 100,000 backends: seconds and memory of the whole command.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from ytwin import pipeline
from ytwin.cluster import Capacity, Resource, Traffic, capacity, offered, parse_traffic, survey
from ytwin.cluster.classes import PLACE
from ytwin.cluster.traffic import rates_of
from ytwin.cluster.types import HARD, Floats, Rate
from ytwin.core.tables import format_table
from ytwin.core.units import PS_PER_S
from ytwin.datapath import limited, limits_of, programs
from ytwin.datapath.offload import judge_offload
from ytwin.datapath.offload_types import Outcome
from ytwin.datapath.program import Direction, Phase, Program
from ytwin.hardware import HardwareProfile, shipped
from ytwin.performance.bare import on_wire_in, on_wire_out
from ytwin.performance.choice import Case, make_case
from ytwin.performance.cost import SMALLEST_FRAME_BYTES, blend
from ytwin.performance.network import jobs_for
from ytwin.performance.tables import TableState, table_state
from ytwin.performance.types import PathCost, Share
from ytwin.resources.addresses import version_of
from ytwin.sim import fast
from ytwin.sim.distributions import Constant
from ytwin.sim.model import Network, Open, Station, Step
from ytwin.sim.streams import Streams, draw_network
from ytwin.trace import Tracer
from ytwin.trace.types import Host, Verdict
from ytwin.trace.world import chassis_name
from ytwin.verify.expect import EIP, Target, expectation, targets

Busy = dict[tuple[Resource, str], float]
"""(resource, chassis) -> share of its time."""
Cards = Mapping[str, HardwareProfile]

WAYS = {
    Share.PORTS: (Resource.PORTS_IN, Resource.PORTS_OUT),
    Share.PCIE: (Resource.PCIE_IN, Resource.PCIE_OUT),
}
SINGLE = {
    Share.ESWITCH: Resource.ESWITCH,
    Share.SLOW_PATH: Resource.SLOW_PATH,
    Share.UPCALL: Resource.UPCALL,
    Share.HOST: Resource.HOST,
    Share.CORES: Resource.CORES,
}
NOT_LOST = 0.002
"""Part of the packets that may be under way, or lost by chance, where nothing is full."""
JOBS = 250_000


@dataclass(frozen=True)
class Pair:
    """One client and one backend of a Service."""

    service: str
    client: str
    backend: str
    case: Case
    portion: float
    """Of the Service's traffic."""


def every_pair(twin: pipeline.Twin, cards: Cards) -> tuple[Pair, ...]:
    """All that would talk, each traced; Services whose backends are their only clients are left out."""
    tracer, limits = Tracer(twin.world), limits_of(twin.nodes)
    by_service: dict[str, list[Target]] = defaultdict(list)
    for target in targets(twin.snapshot):
        by_service[target.service].append(target)
    found: list[Pair] = []
    for name, known in by_service.items():
        outside = any(t.kind == EIP for t in known)
        fitting = [t for t in known if (t.kind == EIP) == outside]
        family = min((version_of(t.address) for t in fitting), default=4)
        wanted = [t for t in fitting if version_of(t.address) == family]
        pairs = [list(_pairs(twin, tracer, limits, cards, target, name, len(wanted))) for target in wanted]
        found += [pair for some in pairs for pair in some]
    return tuple(found)


def _pairs(
    twin: pipeline.Twin, tracer: Tracer, limits: Mapping[str, object], cards: Cards, target: Target, name: str, ports: int
) -> Iterator[Pair]:
    said: list[tuple[Host, dict[str, list[Program]], set[str]]] = []
    for client in twin.world.hosts:
        if client.kind == "Node" or not expectation(twin.snapshot, client, target).reachable:
            continue
        if target.kind == EIP and client.kind != "outside":
            continue
        traced = tracer.converse(client, target.address, target.port, target.protocol)
        conversation = limited(traced, limits)  # type: ignore[arg-type]
        delivered = {(p.backend, p.address) for p in conversation.paths if p.verdict is Verdict.DELIVERED}
        by_path: dict[str, list[Program]] = defaultdict(list)
        for program in programs(traced, twin.world) if delivered else ():
            if (program.backend, program.address) in delivered:
                by_path[f"{program.backend} {program.address}"].append(program)
        said.append((client, by_path, {p.backend for p in conversation.paths}))
    calling = [one for one in said if one[0].name not in one[2]]
    for client, by_path, _ in calling:
        for path, made in by_path.items():
            case = make_case(made, judge_offload(made, cards), cards, len(twin.snapshot.all_names("YusurService")))
            yield Pair(name, client.name, path.partition(" ")[0], case, 1 / ports / len(calling) / len(by_path))
