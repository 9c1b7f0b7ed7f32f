"""`python -m experiments.conformance`: exit code 0 if nothing differs, 1 if something does, 2 if it could not be asked."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from multiprocessing.queues import Queue
from queue import Empty

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from deployer.sandbox import why_no_reference
from experiments.conformance.work import Tally, work

_MAX_REPORTS = 20


def share(packets: int, topologies: int, index: int) -> int:
    """How many of the packets fall to topology `index`, as evenly as can be."""
    return packets * (index + 1) // topologies - packets * index // topologies


def run(seed: int, shares: list[tuple[int, int]], jobs: int, console: Console) -> tuple[Tally, list[str]]:
    """All topologies on `jobs` processes: the sum, and tracebacks of processes that did not finish."""
    total, failures = Tally(), []
    context = multiprocessing.get_context("spawn")
    results: Queue[Tally | str] = context.Queue()
    parts = [part for number in range(jobs) if (part := shares[number::jobs])]
    workers = [context.Process(target=work, args=(seed, part, results), daemon=True) for part in parts]
    for worker in workers:
        worker.start()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("topologies", total=len(shares))
        missing = len(shares)
        while missing:
            try:
                result = results.get(timeout=1)
            except Empty:
                if any(worker.is_alive() for worker in workers):
                    continue
                break  # ended without a word: killed, or not even started
            if isinstance(result, str):
                failures.append(result)
                continue
            missing -= 1
            total.add(result)
            progress.update(task, advance=1, description=f"{total.flows} flows, {total.packets} packets")
            if len(total.reports) > _MAX_REPORTS * 5:
                break
    for worker in workers:
        if missing:
            worker.terminate()
        worker.join()
        if worker.exitcode and not missing:
            failures.append(f"a worker ended with status {worker.exitcode}")
    if missing and not failures and total.good:
        failures.append(f"workers ended with {missing} topologies to do: {[worker.exitcode for worker in workers]}")
    return total, failures


def _print_coverage(total: Tally, console: Console) -> None:
    for title, counts in (
        ("features (topologies that have them)", total.features),
        ("packets by kind", total.kinds),
        ("packets by how they end", total.ends),
        ("stages passed", total.stages),
        ("unjudged, by reason", total.unjudged),
    ):
        if counts:
            console.print(f"[bold]{title}[/]: " + ", ".join(f"{name} {count}" for name, count in counts.most_common()))


def main() -> int:
    """Parse arguments, run, print what was covered and what differs."""
    parser = argparse.ArgumentParser(prog="python -m experiments.conformance", description=__doc__)
    parser.add_argument("--topologies", type=int, default=500)
    parser.add_argument(
        "--packets", type=int, default=20_000, help="packets that ovn-trace can judge, over all topologies"
    )
    parser.add_argument("--seed", type=int, default=None, help="replays a run; drawn from the clock if not given")
    parser.add_argument("--jobs", type=int, default=2, help="processes, each with its own OVN")
    parser.add_argument(
        "--only", type=int, default=None, metavar="INDEX", help="this topology alone; --packets are all its own"
    )
    arguments = parser.parse_args()
    console = Console(emoji=False)  # an IPv6 address is no emoji
    reason = why_no_reference()
    if reason:
        console.print(f"real OVN cannot be asked: {reason}", markup=False)
        return 2
    seed = time.time_ns() % 1_000_000_007 if arguments.seed is None else arguments.seed
    if arguments.only is None:
        count = arguments.topologies
        shares = [(index, share(arguments.packets, count, index)) for index in range(count)]
    else:
        shares = [(arguments.only, arguments.packets)]
    begin = time.monotonic()
    total, failures = run(seed, shares, max(1, arguments.jobs), console)
    _print_coverage(total, console)
    for report in total.reports[:_MAX_REPORTS]:
        console.print(f"\n{report}", markup=False, highlight=False, soft_wrap=True)
    if len(total.reports) > _MAX_REPORTS:
        console.print(f"... and {len(total.reports) - _MAX_REPORTS} more reports")
    for failure in failures:
        console.print(failure, markup=False, highlight=False)
    console.print(
        f"seed {seed}: {total.topologies} topologies, {total.others} other Southbound rows, {total.steps} steps of packets, "
        f"{time.monotonic() - begin:.0f} s",
        highlight=False,
    )
    complete = total.topologies == len(shares)
    if complete and total.good and total.packets < sum(packets for _, packets in shares):
        console.print("fewer packets were judged than asked for", highlight=False)
        complete = False
    print(total.last_line())
    return 0 if total.good and complete and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
