"""Is the capacity of a cluster, flow by flow, what its packets would meet?

`python -m experiments.capacity [--seed N]`

1. `every_pair`: no sharing and no arrays. Each client calls each Service, each path is traced and priced with the cards of its
   own chassis, and the work of all is summed up. `ytwin.cluster` must give the same for every resource.
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
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from ytwin import pipeline
from ytwin.cluster import Capacity, Resource, Traffic, capacity, offered, parse_traffic, survey
from ytwin.cluster.classes import KINDS, PLACE, early_part, has_handshake
from ytwin.cluster.traffic import rates_of
from ytwin.cluster.types import HARD, Floats, Rate
from ytwin.core.tables import format_table
from ytwin.core.units import PS_PER_S
from ytwin.datapath import Limit, limited, limits_of, programs
from ytwin.datapath.offload import judge_offload
from ytwin.datapath.program import Phase, Program
from ytwin.hardware import HardwareProfile, shipped
from ytwin.performance.choice import Case, make_case
from ytwin.performance.cost import SMALLEST_FRAME_BYTES, blend
from ytwin.performance.network import jobs_for
from ytwin.performance.tables import TableState, table_state
from ytwin.performance.types import PathCost, Share
from ytwin.resources.addresses import version_of
from ytwin.resources.model import YusurService
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

COUNTED = {share: Resource(share.value) for share in Share if share is not Share.INSERTION}
NOT_LOST = 0.002
"""Part of the packets that may be under way, or lost by chance, where nothing is full."""
JOBS = 250_000
"""Packets of a run that looks for losses."""
LONGER = 4
"""Runs that measure utilisation have so many times the packets, for stations that few of them visit."""


@dataclass(frozen=True)
class Pair:
    """One client and one backend of a Service."""

    service: str
    client: str
    backend: str
    case: Case
    portion: float
    """Of the Service's traffic."""

    @property
    def handshake(self) -> bool:
        """Whether its connections begin with one: which row of `rates_of` is its traffic."""
        return has_handshake(self.case)


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
    twin: pipeline.Twin,
    tracer: Tracer,
    limits: Mapping[str, Limit],
    cards: Cards,
    target: Target,
    name: str,
    ports: int,
) -> Iterator[Pair]:
    services = sum(1 for _ in twin.snapshot.all(YusurService))
    said: list[tuple[Host, dict[str, list[Program]], list[str]]] = []
    for client in twin.world.hosts:
        if client.kind == "Node" or not expectation(twin.snapshot, client, target).reachable:
            continue
        if target.kind == EIP and client.kind != "outside":
            continue
        traced = tracer.converse(client, target.address, target.port, target.protocol)
        conversation = limited(traced, limits)
        delivered = {(p.backend, p.address) for p in conversation.paths if p.verdict is Verdict.DELIVERED}
        by_path: dict[str, list[Program]] = defaultdict(list)
        for program in programs(traced, twin.world) if delivered else ():
            if (program.backend, program.address) in delivered:
                by_path[f"{program.backend} {program.address}"].append(program)
        said.append((client, by_path, [p.backend for p in conversation.paths]))
    calling = [one for one in said if one[0].name not in one[2]]
    for client, by_path, backends in calling:
        for path, made in by_path.items():
            case = make_case(made, judge_offload(made, cards), cards, services)
            yield Pair(name, client.name, path.partition(" ")[0], case, 1 / ports / len(calling) / len(backends))


def cards_table(pairs: Iterable[Pair], rates: Floats, scale: float) -> dict[str, TableState]:
    """State of every card's tables under the traffic of all pairs."""
    alive: dict[str, float] = defaultdict(float)
    new: dict[str, float] = defaultdict(float)
    chips = {}
    for pair in pairs:
        for chassis in pair.case.offloading():
            chips[chassis] = pair.case.cards[chassis].eswitch
            alive[chassis] += scale * pair.portion * rates[int(pair.handshake), Rate.ALIVE]
            new[chassis] += scale * pair.portion * rates[int(pair.handshake), Rate.NEW]
    return {c: table_state(chip, alive[c], new[c]) for c, chip in chips.items() if chip is not None}


def _parts(pair: Pair, rates: Floats, states: Mapping[str, TableState]) -> Iterator[tuple[float, PathCost]]:
    """(per second, cost) of every kind of packet; one for each choice of cards that hold its connection."""
    case, entries = pair.case, {c: s.entries for c, s in states.items()}
    here = rates[int(pair.handshake)]
    carrying = [Rate.FORWARD, Rate.EARLY] + [Rate.FIRST] * (not pair.handshake)
    request = 0.5 * float(here[Rate.REQUESTS] / max(here[carrying].sum(), 1e-300))  # each of its frames carries a part
    for kind in KINDS:
        phase, direction = kind.phase, kind.direction
        if not case.has(phase, direction) or not here[kind.packets]:
            continue
        size = SMALLEST_FRAME_BYTES if kind.octets is None else float(here[kind.octets] / here[kind.packets])
        asked = request if phase is Phase.ESTABLISHED or (phase is Phase.FIRST and not pair.handshake) else 0.0
        early = early_part(case, kind)
        held, software = (
            case.cost(phase, direction, size, request=asked, entries=entries, software=some) for some in (False, True)
        )
        if early:
            yield pair.portion * float(here[kind.packets]) * early, software
        visited = sorted({v.chassis for p in case.of(phase, direction) for v in p.visits})
        unsure = [c for c in visited if c in states and c in case.offloading() and states[c].share < 1]
        for choice in product((True, False), repeat=len(unsure)) if early < 1 else ():
            inside = dict.fromkeys(visited, 1.0) | {c: float(yes) for c, yes in zip(unsure, choice, strict=True)}
            weight = 1.0 - early
            for chassis, yes in zip(unsure, choice, strict=True):
                weight *= states[chassis].share if yes else 1 - states[chassis].share
            cost = blend([(inside, held), ({c: 1 - share for c, share in inside.items()}, software)])
            yield pair.portion * float(here[kind.packets]) * weight, cost


def _used(cost: PathCost) -> Iterator[tuple[Resource, str, float, int]]:
    """(resource, chassis, work in ps, servers)."""
    for demand in cost.demands:
        if demand.share in COUNTED:
            yield COUNTED[demand.share], demand.chassis, demand.service_ps, demand.servers


def busy_by_pairs(pairs: Sequence[Pair], rates: Floats, scale: float = 1.0) -> Busy:
    """How busy resources are at `scale` times the rates of a Service, summed up pair by pair."""
    found: Busy = defaultdict(float)
    states = cards_table(pairs, rates, scale)
    for pair in pairs:
        for per_s, cost in _parts(pair, rates, states):
            for what, chassis, work_ps, servers in _used(cost):
                found[what, chassis] += scale * per_s * work_ps / servers / PS_PER_S
    return dict(found)


# --- packets -------------------------------------------------------------------------------------------------------------


def packets_of(pairs: Sequence[Pair], rates: Floats, scale: float) -> Network:
    """Every path's packets as Poisson sources of one Network, at `scale` times the rates."""
    stations: dict[str, Station] = {}
    sources: dict[str, Open] = {}
    states = cards_table(pairs, rates, scale)
    for number, pair in enumerate(pairs):
        for kind, (per_s, cost) in enumerate(_parts(pair, rates, states)):
            steps = []
            for what, chassis, work_ps, servers in _used(cost):
                name = f"{what} of {chassis}"
                stations.setdefault(name, Station(name, servers, _places(what, pair.case.cards[chassis])))
                steps.append(Step(name, Constant(work_ps)))
            if per_s > 0:
                name = f"{number}.{kind}"
                sources[name] = Open.at_rate(name, tuple(steps), scale * per_s)
    return Network(tuple(stations.values()), tuple(sources.values()))


def _places(what: Resource, card: HardwareProfile) -> int | None:
    if what is Resource.SLOW_PATH:
        return round(card.slow_path.queue.value)
    return round(card.eswitch.queue.value) if what is Resource.ESWITCH and card.eswitch is not None else None


@dataclass(frozen=True)
class Measured:
    """Of one run."""

    busy: Mapping[str, float]
    missing: float
    """Part of the packets that came and did not get through: lost, or still waiting at the end; without those in service."""


def measured(network: Network, seed: int, jobs: int = JOBS) -> Measured:
    """So many packets, all sources together."""
    per_ps = sum(1 / source.gap_ps.mean for source in network.sources if isinstance(source, Open))
    run_ps = round(jobs / per_ps)
    draws = draw_network(network, Streams(seed), jobs_for(network, run_ps))
    result = fast.simulate(network, draws, run_ps)
    came = done = 0
    for one in result.sources:
        within = (one.start_ps >= 0) & (one.start_ps < run_ps)
        came += int(within.sum())
        done += int((within & one.done & (one.end_ps <= run_ps)).sum())
    busy = {
        station.name: float(result.busy_ps[i]) / (station.servers or 1) / run_ps
        for i, station in enumerate(network.stations)
    }
    serving = sum(busy[station.name] * (station.servers or 1) for station in network.stations)
    return Measured(busy, max(0.0, came - done - serving) / came)


def limit_by_packets(pairs: Sequence[Pair], rates: Floats, near: float, seed: int, jobs: int = JOBS) -> float:
    """The factor from which on packets are missing, by bisection to 0.5 %, from a quarter to either side of `near`."""
    low, high = near / 1.25, near * 1.25
    while high / low > 1.005:
        middle = (low * high) ** 0.5
        enough = measured(packets_of(pairs, rates, middle), seed, jobs).missing < NOT_LOST
        low, high = (middle, high) if enough else (low, middle)
    return float((low * high) ** 0.5)


# --- cases ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """One case, both ways."""

    name: str
    flow: Capacity
    scale: float
    """By flows, of what packets wait for: a conntrack entry is no such thing."""
    utilisation_error: float
    """Largest difference of a resource that is at least 5 % busy, relative to what packets measure."""
    packet_scale: float

    @property
    def scale_error(self) -> float:
        """Of the flow-level scale, relative to the packets'."""
        return self.scale / self.packet_scale - 1


def compare(
    name: str, twin: pipeline.Twin, cards: Cards, traffic: Traffic, seed: int = 0, jobs: int = JOBS
) -> Compared:
    """The flow-level answer and what packets say."""
    cluster = survey(twin.snapshot, twin.world, limits_of(twin.nodes), cards)
    found = capacity(cluster, offered(cluster, traffic))
    pairs, rates = every_pair(twin, cards), rates_of(traffic, cluster.profiles)
    scale = min(found.headroom[what] for what in COUNTED.values() if what in found.headroom)
    said = measured(packets_of(pairs, rates, 0.9 * scale), seed, LONGER * jobs)
    at = capacity(cluster, offered(cluster, _times(traffic, 0.9 * scale)))
    errors = []
    for number, node in enumerate(cluster.nodes):
        for what in HARD:
            by_packets = said.busy.get(f"{what} of {node}", 0.0)
            if by_packets >= 0.05:
                errors.append(abs(float(at.now.shares[number, PLACE[what]]) / by_packets - 1))
    return Compared(name, found, scale, max(errors), limit_by_packets(pairs, rates, scale, seed, jobs))


def _times(traffic: Traffic, times: float) -> Traffic:
    return replace(
        traffic,
        packets_per_s=traffic.packets_per_s * times,
        bandwidth_bit_per_s=traffic.bandwidth_bit_per_s * times,
        requests_per_s=traffic.requests_per_s * times,
        new_per_s=traffic.new_per_s * times,
        connections=traffic.connections * times,
    )


CASES = (
    ("article", "yusur-dpu-2x100g", "packets=1 M/s"),
    ("article", "ovs-kernel", "packets=1 M/s,size=512 B"),
    ("article", "bluefield-2", "packets=1 M/s,size=1500 B"),
    ("four-scenarios", "connectx-6-dx", "packets=1 M/s"),
    ("four-scenarios", "yusur-dpu-2x100g", "packets=1 M/s,new=20 k/s,lifetime=1 s"),
    ("four-scenarios", "yusur-dpu-2x100g", "packets=1 M/s,connections=300000"),
    ("four-scenarios", "bluefield-2", "requests=200 k/s,size=1 kB"),
    ("four-scenarios", "yusur-dpu-2x100g", "requests=50 k/s,size=1 kB,new=25 k/s,lifetime=100 ms"),
    ("four-scenarios", "kube-proxy-ipvs", "packets=1 M/s,new=10 k/s"),
)
"""Topology, card in every node, load."""


def twin_of(name: str, root: Path) -> pipeline.Twin:
    """A shipped topology."""
    files = {str(p): p.read_text(encoding="utf-8") for p in sorted((root / name).glob("*.yaml"))}
    return pipeline.build(pipeline.read(files))


def compare_case(case: tuple[str, str, str], root: Path, seed: int = 0, jobs: int = JOBS) -> Compared:
    """One of CASES."""
    topology, card, load = case
    twin = twin_of(topology, root)
    cards = dict.fromkeys(map(chassis_name, twin.nodes), shipped()[card])
    return compare(f"{topology}, {card}, {load}", twin, cards, parse_traffic(load), seed, jobs)


LARGE = ("--nodes", "1000", "--services", "10000", "--backends", "10", "--outside", "0.2", "--gateways", "20")
LARGE_LOAD = ("--load", "packets=5 k/s,size=512 B,new=5 /s,lifetime=20 s,zipf=0.5", "--lose", "each")


def large() -> tuple[float, float]:
    """(seconds, MiB) of the command, with its start and three losses."""
    begin, command = time.perf_counter(), [sys.executable, "-m", "ytwin", "capacity", *LARGE, *LARGE_LOAD]
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    assert done.returncode in (0, 1), "it gives no answer"
    return time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints; 1 if something is further off than stated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args(arguments).seed
    root = Path(__file__).resolve().parents[1] / "topologies"
    seconds, mebibytes = large()  # first: a child begins with its parent's memory
    found = [compare_case(case, root, seed) for case in CASES]
    rows = [
        (
            one.name,
            one.flow.limit,
            f"{one.scale:.4g}",
            f"{one.packet_scale:.4g}",
            f"{one.scale_error:+.2%}",
            f"{one.utilisation_error:.2%}",
        )
        for one in found
    ]
    header = ("case", "full first", "scale by flows", "by packets", "error", "utilisation error")
    print(f"seed {seed}\n{format_table(header, rows)}")
    print(f"1,000 nodes, 10,000 Services, 100,000 backends: {seconds:.1f} s, {mebibytes:.0f} MiB")
    off = max(max(abs(one.scale_error), one.utilisation_error) for one in found)
    print(f"largest error {off:.2%}; stated: {STATED:.0%}, 10 s, 4 GiB")
    return 0 if off <= STATED and seconds < 10 and mebibytes < 4096 else 1


STATED = 0.02
"""Error of scale and utilisation on the cases."""

if __name__ == "__main__":
    raise SystemExit(main())
