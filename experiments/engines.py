"""Do the engines give the same, and how fast are they?

`python -m experiments.engines [--small] [--seed N] [--json FILE]`

1. Random pipelines and networks by seed: the simpy reference, the event loop and the stage passes on the same numbers;
   every wait, end and loss must be equal.
2. Packets per second of each engine, on a tandem of five exponential stages and on a richer pipeline (a stage of four servers,
   waiting places with an end, losses), on the same numbers in one run. simpy gets fewer packets, because it would take hours.
   Beside them salabim (the same numbers: latency and losses must agree) and ciw (its own numbers), if they are installed.
3. One second of 45 Mpps, packet by packet, drawn and simulated in pieces: seconds, and memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from experiments.peers import Peer, peers
from ytwin.core.tables import format_table
from ytwin.sim import fast, reference
from ytwin.sim.distributions import Exponential
from ytwin.sim.examples import random_network, random_pipeline
from ytwin.sim.model import Arrivals, Pipeline, Stage, as_network
from ytwin.sim.streams import SourceDraws, Streams, draw_network

TANDEM = Pipeline(tuple(Stage(f"stage{i}", Exponential(18_000)) for i in range(5)))
"""Five single servers, 18 ns each: at 45 Mpps 81 % busy."""
RICHER = Pipeline(
    (
        Stage("parse", Exponential(16_000), queue=64),
        Stage("lookup", Exponential(75_000), servers=4, queue=32),
        Stage("rewrite", Exponential(18_000), queue=16),
        Stage("tunnel", Exponential(20_000), queue=8),
        Stage("port", Exponential(19_000), queue=128),
    )
)
"""A stage of four servers, and so few waiting places that some packets are lost at every stage but the last."""
PIPELINES = {"five-stage tandem": TANDEM, "richer pipeline": RICHER}
RATE_PER_S = 45_000_000


def check(seed: int, runs: int) -> list[str]:
    """Differences between the engines on random models."""
    found = []
    for i in range(runs):
        generator = Streams(seed, i).generator("model")
        pipeline, arrivals = random_pipeline(generator)
        network = as_network(pipeline, arrivals)
        draws = draw_network(network, Streams(seed, i), {"jobs": 400})
        truth = reference.simulate(network, draws)
        runs_of = {
            "loop": fast.simulate(network, draws),
            "passes": fast.simulate_pipeline(pipeline, draws[0]),
            "passes, 5 pieces": fast.simulate_pipeline(pipeline, draws[0], pieces=5),
        }
        found += [f"pipeline {i}, {name}: {d}" for name, run in runs_of.items() for d in truth.differences(run)]
        network, stop_ps = random_network(generator)
        draws = draw_network(network, Streams(seed, i), {s.name: 300 for s in network.sources})
        truth = reference.simulate(network, draws, stop_ps)
        found += [f"network {i}: {d}" for d in truth.differences(fast.simulate(network, draws, stop_ps))]
    return found


def best_s(call: Callable[[], object], runs: int = 3) -> float:
    """Shortest of some runs, after one that compiles and warms up."""
    call()
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def piece_rate(pipeline: Pipeline, draws: SourceDraws, chunk: int) -> float:
    """Packets per second of the stage passes alone: numbers drawn before, a piece at a time as in a long run."""
    pieces = [
        SourceDraws(
            draws.moments_ps[i : i + chunk],
            np.ascontiguousarray(draws.services_ps[:, i : i + chunk]),
            draws.connections[i : i + chunk],
            draws.sizes_bytes[i : i + chunk],
        )
        for i in range(0, draws.jobs, chunk)
    ]

    def once() -> None:
        run = fast.PipelineRun(pipeline)
        for number, piece in enumerate(pieces):
            run.feed(piece, last=number == len(pieces) - 1)

    return draws.jobs / best_s(once)


def first_jobs(draws: SourceDraws, count: int) -> SourceDraws:
    """The first so many jobs of an open source."""
    return SourceDraws(
        draws.moments_ps[:count], draws.services_ps[:, :count], draws.connections[:count], draws.sizes_bytes[:count]
    )


def speeds(pipeline: Pipeline, seed: int, slow_jobs: int, jobs: int) -> dict[str, float]:
    """Packets per second of each engine; the simpy run is compared with the others on its packets."""
    arrivals = Arrivals.at_rate(RATE_PER_S)
    network = as_network(pipeline, arrivals)
    (draws,) = draw_network(network, Streams(seed), {"jobs": jobs})
    few = first_jobs(draws, slow_jobs)
    begin = time.perf_counter()
    truth = reference.simulate(network, [few])
    simpy_s = time.perf_counter() - begin
    for same in (fast.simulate(network, [few]), fast.simulate_pipeline(pipeline, few)):
        differences = truth.differences(same)
        assert not differences, differences
    fast.stream(pipeline, arrivals, Streams(seed), slow_jobs)
    begin = time.perf_counter()
    summary = fast.stream(pipeline, arrivals, Streams(seed), jobs)
    streamed_s = time.perf_counter() - begin
    medium = first_jobs(draws, jobs // 4)
    return {
        "simpy reference": slow_jobs / simpy_s,
        "event loop": medium.jobs / best_s(lambda: fast.simulate(network, [medium]), 1),
        "passes, every wait kept": medium.jobs / best_s(lambda: fast.simulate_pipeline(pipeline, medium)),
        "passes, in pieces": piece_rate(pipeline, draws, fast.CHUNK),
        "drawing and passes": jobs / streamed_s,
        "lost": summary.lost / jobs,
    }


PEER_JOBS = 5_000


def beside(pipeline: Pipeline, seed: int) -> tuple[dict[str, float | str], list[str]]:
    """(packets per second of other simulators, or why there is no number; what differs where it must not)."""
    arrivals = Arrivals.at_rate(RATE_PER_S)
    (draws,) = draw_network(as_network(pipeline, arrivals), Streams(seed), {"jobs": PEER_JOBS})
    ours = fast.simulate_pipeline(pipeline, draws).sources[0]
    latency_ps, lost = float(ours.latency_ps.mean()), int(np.count_nonzero(~ours.done))
    rates: dict[str, float | str] = {}
    different = []
    for name, peer in peers(pipeline, arrivals, draws).items():
        rates[name] = peer if isinstance(peer, str) else peer.packets_per_s
        if isinstance(peer, Peer) and peer.same_numbers and peer.lost != lost:
            different.append(f"{name}: {peer.lost} of {draws.jobs} lost, not {lost}")
        if isinstance(peer, Peer) and abs(peer.latency_mean_ps / latency_ps - 1) > (1e-9 if peer.same_numbers else 0.5):
            different.append(f"{name}: mean latency {peer.latency_mean_ps / 1e3:.1f} ns, not {latency_ps / 1e3:.1f}")
    return rates, different


def main() -> int:
    """Check, measure, print; 1 if the engines differ."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.engines", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--small", action="store_true", help="a tenth of the work")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", default="", metavar="FILE", help="write the numbers here too")
    arguments = parser.parse_args()
    scale = 10 if arguments.small else 1
    runs = 60 // scale * 2
    found = check(arguments.seed, runs)
    print(
        f"equality: {runs} random pipelines and {runs} random networks, seed {arguments.seed}: {len(found)} differences"
    )
    print(*found[:20], sep="\n", end="\n" if found else "")
    columns = {
        name: speeds(pipeline, arguments.seed, 20_000 // scale, 4_000_000 // scale)
        for name, pipeline in PIPELINES.items()
    }
    rows = []
    for engine in next(iter(columns.values())):
        if engine != "lost":
            rates = [column[engine] for column in columns.values()]
            rows.append((engine, *(f"{r / 1e6:.3f} M" if r < 1e6 else f"{r / 1e6:.1f} M" for r in rates)))
    others = {name: beside(pipeline, arguments.seed) for name, pipeline in PIPELINES.items()}
    for peer in next(iter(others.values()))[0]:
        results = [rates[peer] for rates, _ in others.values()]
        rows.append((peer, *(r if isinstance(r, str) else f"{r / 1e6:.3f} M" for r in results)))
    different = [f"{name}, {d}" for name, (_, differences) in others.items() for d in differences]
    found += different
    rows.append(("packets lost", *(f"{column['lost']:.2%}" for column in columns.values())))
    print(format_table(("packets/s", *columns), rows))
    print(*different, sep="\n", end="\n" if different else "")
    before_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin = time.perf_counter()
    second = fast.stream(RICHER, Arrivals.at_rate(RATE_PER_S), Streams(arguments.seed), RATE_PER_S // scale)
    second_s = time.perf_counter() - begin
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{second.duration_ps / 1e12:.3f} s of {RATE_PER_S / 1e6:.0f} Mpps through the richer pipeline, "
        f"{second.jobs:,} packets: {second_s:.2f} s; "
        f"memory {memory_mib:.0f} MiB at most, {memory_mib - before_mib:.0f} more than before"
    )
    print(second)
    print(
        f"{second.done_per_s / 1e6:.2f} Mpps arrive, {second.lost / second.jobs:.2%} are lost; "
        f"latency {second.latency_mean_ps / 1e3:.0f} ns mean, {second.latency_ps(99) / 1e3:.0f} ns p99"
    )
    richer, full_s = columns["richer pipeline"]["passes, in pieces"], second_s * scale
    print(
        f"target 5 M packets/s on the richer pipeline: {'reached' if richer >= 5e6 else 'MISSED'}, {richer / 1e6:.1f} M"
    )
    guess = ", extrapolated from a tenth" if scale > 1 else ""
    print(f"target 1 s of 45 Mpps in 10 s: {'reached' if full_s < 10 else 'MISSED'}, {full_s:.1f} s{guess}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(
                {
                    "differences": found,
                    "packets_per_s": columns,
                    "peers": {name: rates for name, (rates, _) in others.items()},
                    "second_s": full_s,
                    "memory_mib": memory_mib,
                },
                file,
                indent=2,
            )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
