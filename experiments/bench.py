"""Speed beside the real tools, in one run on one machine: `python -m experiments.bench [--small] [--runs N] [--json FILE]`.

Compile: a Snapshot in memory of SERVICES YusurServices, each with 10 backends, whose VPC has 100 Subnets (logical switches).
  ours     `compile_northbound` + `northd` from a Snapshot of which nothing has been computed, with an empty Memo; in another line
           with `reconcile` before them (the controllers: Service, Endpoints and a NetworkProbe per backend), which OVN has not.
  OVN      the same Northbound in a sandbox: from its transaction being committed until ovn-northd has written sb_cfg, that is
           reading, computing, and writing the Southbound through ovsdb-server. `of which computing` is northd's own stopwatch.
One more: one Service is added to that.
  ours     the same three calls, `reconcile` too, with the Memo of the first run, on the Snapshot that it wrote: a cluster
           remembers what its controllers wrote.
  OVN      the same rows as one more transaction, timed in the same way.
Trace: single packets through about 5,000 logical flows; both answer the same random packets, one at a time.
  ours     one way a packet can go, walked to its end with conntrack and chassis.
  OVN      one answer of an ovn-trace daemon over its control socket, asked ahead so that it never waits for a question.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from random import Random

from frozendict import frozendict
from rich.console import Console
from rich.table import Table

from deployer.ovsdb_json import plan_operations
from deployer.sandbox import OvnSandbox
from experiments.conformance.packets import Draw, Packet, Places
from ytwin.cli import COLLECTOR_THRESHOLDS
from ytwin.controllers import reconcile
from ytwin.core.memo import Memo
from ytwin.core.plan import diff
from ytwin.logical.southbound import Southbound
from ytwin.nodes import node_configs
from ytwin.northbound import compile_northbound
from ytwin.northbound.rows import Northbound
from ytwin.northd import northd
from ytwin.resources.model import (
    Metadata,
    Node,
    NodeAddress,
    NodeStatus,
    Pod,
    PodSpec,
    Resource,
    Subnet,
    SubnetSpec,
    Vpc,
    YusurService,
    YusurServicePort,
    YusurServiceSpec,
)
from ytwin.resources.snapshot import Snapshot
from ytwin.trace import Tracer
from ytwin.trace.world import build_world

BACKENDS = 10
PODS_PER_SUBNET = 10
NODES = 10
_PIPELINED = 32
_LOOP = re.compile(r"Statistics for '([\w-]+)'.*?Total samples: (\d+).*?Maximum: (\d+) msec", re.S)


@dataclass(frozen=True)
class Timing:
    """Median, least and most of several runs; seconds."""

    median_s: float
    min_s: float
    max_s: float

    @classmethod
    def of(cls, runs_s: Sequence[float]) -> Timing:
        return cls(statistics.median(runs_s), min(runs_s), max(runs_s))

    def __str__(self) -> str:
        return f"{_time(self.median_s)} ({_time(self.min_s)} .. {_time(self.max_s)})"


@dataclass(frozen=True)
class Comparison:
    """One line: what ours takes, what OVN takes; `ratio` below 1 means that ours is faster."""

    what: str
    ours: Timing
    ovn: Timing

    @property
    def ratio(self) -> float:
        return self.ours.median_s / self.ovn.median_s


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Let Python's collector look at what the measured code makes, not at what the benchmark itself holds."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


# -- what is compiled ---------------------------------------------------------------------------------------------------


def service(number: int, groups: int) -> YusurService:
    """A Service on one port, whose backends are the ten Pods of one group."""
    return YusurService(
        metadata=Metadata(name=f"svc-{number}", namespace="default"),
        spec=YusurServiceSpec(
            vpc="vpc1",
            ports=(YusurServicePort(name="http", port=80, target_port=8080),),
            selector=frozendict(group=f"g{number % groups}"),
        ),
    )


def topology(services: int, subnets: int) -> Snapshot:
    """One VPC; Pods of a group are spread over ten Subnets."""
    objects: list[Resource] = [Vpc(metadata=Metadata(name="vpc1"))]
    for i in range(NODES):
        address = NodeAddress(type="InternalIP", address=f"192.0.2.{i + 1}")
        objects.append(Node(metadata=Metadata(name=f"node{i}"), status=NodeStatus(addresses=(address,))))
    for i in range(subnets):
        spec = SubnetSpec(vpc="vpc1", cidr_block=f"10.{100 + i // 250}.{i % 250}.0/24")
        objects.append(Subnet(metadata=Metadata(name=f"subnet-{i}"), spec=spec))
    for i in range(subnets * PODS_PER_SUBNET):
        place = frozendict({"ovn.kubernetes.io/logical_switch": f"subnet-{i % subnets}"})
        labels = frozendict(group=f"g{i // BACKENDS}")
        metadata = Metadata(name=f"pod-{i}", namespace="default", labels=labels, annotations=place)
        objects.append(Pod(metadata=metadata, spec=PodSpec(node_name=f"node{i % NODES}")))
    objects += [service(i, subnets) for i in range(services)]
    return Snapshot.of(objects)


@dataclass(frozen=True)
class Compiled:
    """The three arrows from what a user writes to logical flows, and the seconds that each took."""

    reconciled: Snapshot
    northbound: Northbound
    southbound: Southbound
    reconcile_s: float
    compile_s: float
    northd_s: float

    @property
    def flows_s(self) -> float:
        """From a reconciled Snapshot to flows."""
        return self.compile_s + self.northd_s

    @property
    def all_s(self) -> float:
        """From a Snapshot to flows."""
        return self.reconcile_s + self.flows_s


def compile_all(snapshot: Snapshot, memo: Memo | None = None) -> Compiled:
    """Run the three arrows, each timed."""
    with only_new_garbage():
        times = [time.perf_counter()]
        reconciled = reconcile(snapshot, memo)
        times.append(time.perf_counter())
        northbound = compile_northbound(reconciled, memo)
        times.append(time.perf_counter())
        southbound = northd(northbound, memo)
        times.append(time.perf_counter())
    taken = [after - before for before, after in pairwise(times)]
    return Compiled(reconciled, northbound, southbound, *taken)


# -- the measurements ---------------------------------------------------------------------------------------------------


class Compile:
    """Full and incremental compilation, ours and OVN's."""

    def __init__(self, services: int, subnets: int) -> None:
        self.base = topology(services, subnets)
        self.added = service(services, subnets)
        self.full = compile_all(self.base)
        self.northbound = self.full.northbound
        more = compile_all(self.full.reconciled.changed([self.added]))
        self.northbound_more, self.flows_more = more.northbound, set(more.southbound.flows)

    def ours(self) -> tuple[Compiled, Compiled]:
        """From a Snapshot of which nothing has been computed; then one more Service with that run's Memo.

        The second is checked against a full run.
        """
        memo = Memo()
        fresh = Snapshot.of(self.base.objects.values())
        full = compile_all(fresh, memo)
        memo.advance()
        more = compile_all(full.reconciled.changed([self.added]), memo)
        assert set(more.southbound.flows) == self.flows_more, "the Memo changed the result"
        return full, more

    def ovn(self, ovn: OvnSandbox) -> tuple[float, float, float, float]:
        """Full, of which computing; one more, of which computing."""
        ovn.load(Northbound())
        ovn.wait_northd()
        ovn.northd_appctl("stopwatch/reset")
        ovn.load(self.northbound)
        full_s = self._wait(ovn)
        full_loop_s = _loop_s(ovn)
        assert len(ovn.southbound().flows) == len(self.full.southbound.flows), "the two do not compute the same"
        plan = diff(self.northbound.rows, self.northbound_more.rows)
        operations = plan_operations(plan, ovn.uuids)
        ovn.northd_appctl("stopwatch/reset")
        _, number = ovn.transact_and_bump(operations)
        begin = time.perf_counter()
        ovn.wait_sb_cfg(number)
        more_s = time.perf_counter() - begin
        return full_s, full_loop_s, more_s, _loop_s(ovn)

    @staticmethod
    def _wait(ovn: OvnSandbox) -> float:
        begin = time.perf_counter()
        ovn.wait_northd()
        return time.perf_counter() - begin


def _loop_s(ovn: OvnSandbox) -> float:
    """northd's stopwatch: its longest main loop since the reset."""
    shown = {name: int(most) for name, _, most in _LOOP.findall(ovn.northd_appctl("stopwatch/show"))}
    return shown["ovn-northd-loop"] / 1e3


def traces(ovn: OvnSandbox, services: int, subnets: int, packets: int, runs: int) -> tuple[Comparison, int]:
    """Single traces of the same packets; seconds per trace, and how many logical flows there are."""
    compiled = compile_all(topology(services, subnets))
    reconciled, northbound, southbound = compiled.reconciled, compiled.northbound, compiled.southbound
    ovn.load(northbound)
    ovn.wait_northd()
    flows = len(southbound.flows)
    tracer = Tracer(build_world(reconciled, northbound, node_configs(reconciled, northbound), southbound))
    draw = Draw(Places(northbound), Random(1))
    chosen: list[Packet] = []
    while len(chosen) < packets:
        packet = draw.packet()
        if southbound.ports[packet.state.inport].type == "":
            chosen.append(packet)
    questions = [(southbound.ports[packet.state.inport].datapath.name, packet.microflow) for packet in chosen]
    ours_s, ovn_s = [], []
    with ovn.tracer(["new"] * (8 * packets)) as daemon:
        for _ in range(runs + 1):  # the first warms both
            begin = time.perf_counter()
            ways = sum(len(tracer.walk(packet.state.inport, packet.state)) for packet in chosen)
            ours_s.append((time.perf_counter() - begin) / ways)
            begin = time.perf_counter()
            for start in range(0, packets, _PIPELINED):
                answers = daemon.trace_many(questions[start : start + _PIPELINED])
                assert all("ingress(" in answer for answer in answers), "ovn-trace did not trace"
            ovn_s.append((time.perf_counter() - begin) / packets)
    return Comparison("single trace", Timing.of(ours_s[1:]), Timing.of(ovn_s[1:])), flows


def main() -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m experiments.bench", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--small", action="store_true", help="200 Services on 10 switches: for CI")
    parser.add_argument("--runs", type=int, default=3, help="measurements of each; the median counts")
    parser.add_argument("--json", default="", metavar="FILE", help="write the numbers here too, - for standard output")
    arguments = parser.parse_args()
    runs: int = arguments.runs
    gc.set_threshold(*COLLECTOR_THRESHOLDS)  # as the command line does
    services, subnets, packets = (200, 10, 200) if arguments.small else (10_000, 100, 1_000)
    console = Console(stderr=arguments.json == "-")
    with OvnSandbox(separate=True, timeout_s=900) as ovn:
        console.print(f"compiling {services} Services x {BACKENDS} backends on {subnets} switches ...")
        work = Compile(services, subnets)
        flows = len(work.full.southbound.flows)
        console.print(f"{len(work.northbound.rows)} Northbound rows, {flows} logical flow rows")
        full, more = zip(*(work.ours() for _ in range(runs)), strict=True)
        theirs = [work.ovn(ovn) for _ in range(runs)]
        ovn_full, ovn_full_loop, ovn_more, ovn_more_loop = (Timing.of(column) for column in zip(*theirs, strict=True))
        trace, trace_flows = traces(ovn, 1_450, 20, packets, runs)
    ours_flows, ours_all = Timing.of([run.flows_s for run in full]), Timing.of([run.all_s for run in full])
    ours_more = Timing.of([run.all_s for run in more])
    comparisons = [
        Comparison("compile + flows", ours_flows, ovn_full),
        Comparison("compile + flows | northd's loop alone", ours_flows, ovn_full_loop),
        Comparison("reconcile + compile + flows", ours_all, ovn_full),
        Comparison("one more Service", ours_more, ovn_more),
        Comparison("one more Service | northd's loop alone", ours_more, ovn_more_loop),
        trace,
    ]
    parts = {
        f"{name}{what}": Timing.of([getattr(run, f"{name}_s") for run in part])
        for what, part in (("", full), (", one more", more))
        for name in ("reconcile", "compile", "northd")
    }
    table = Table("measured | against", "ours: median (min .. max)", "OVN: median (min .. max)", "ours / OVN")
    for line in comparisons:
        table.add_row(line.what, str(line.ours), str(line.ovn), f"{line.ratio:.2f}")
    console.print(table)
    for name, timing in parts.items():
        console.print(f"  of which {name}: {timing}", highlight=False)
    console.print(f"traces per second at {trace_flows} flows: ours {1 / trace.ours.median_s:.0f}", end=", ")
    console.print(f"ovn-trace {1 / trace.ovn.median_s:.0f}")
    if arguments.json:
        numbers = {
            "services": services,
            "switches": subnets,
            "backends": BACKENDS,
            "northbound_rows": len(work.northbound.rows),
            "flows": flows,
            "trace_flows": trace_flows,
            "parts": {name: asdict(timing) for name, timing in parts.items()},
            "comparisons": [{**asdict(line), "ratio": line.ratio} for line in comparisons],
        }
        text = json.dumps(numbers, indent=2)
        if arguments.json == "-":
            print(text)
        else:
            with open(arguments.json, "w", encoding="utf-8") as file:
                file.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
