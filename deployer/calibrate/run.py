"""One calibration from end to end: a lab of its own, every measurement in the drawn order, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from deployer.calibrate import machine, tools
from deployer.calibrate.cells import Cell, Draw, Metric, draw
from deployer.calibrate.model import Measured, starting_profile
from deployer.calibrate.paths import measured_paths, with_ports
from deployer.calibrate.report import Calibration, Record, calibration
from deployer.lab import Lab, LabError, why_no_lab
from deployer.lab.requirements import binary
from deployer.plans import make_plan
from deployer.target import DEFAULT_DEPLOYMENT, desired
from deployer.targets.mininet import MininetTarget
from ytwin import pipeline
from ytwin.resources.snapshot import Snapshot

TOPOLOGY: Final = Path(__file__).with_name("topology.yaml")
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure."""

    cells: int = 24
    calibrate_on: int = 10
    repeat: int = 5
    seed: int = 0


def run(snapshot: Snapshot, options: Options, progress: Progress | None = None) -> Calibration:
    """Measure on a lab with this topology, fit, predict. LabError, YtwinError: not on this machine, not with this topology."""
    why = why_no_lab() or tools.why_not()
    if why:
        raise LabError(f"cannot measure on this machine: {why}")
    starting_profile()  # rather now than after minutes of measuring
    twin = pipeline.build(with_ports(snapshot))
    drawn = draw(measured_paths(twin), options.cells, options.calibrate_on, options.repeat, options.seed)
    began, core = datetime.now(UTC), machine.quietest_core()
    target = MininetTarget(f"calibrate-{os.getpid()}", DEFAULT_DEPLOYMENT)
    with ExitStack() as stack:
        stack.callback(target.destroy)
        with machine.children_on(core):
            target.apply(make_plan(target, desired(twin, target)).changes)
        bench = tools.Bench(Lab.open(f"calibrate-{os.getpid()}"), core)
        if bench.lab.datapath != "netdev":
            raise LabError(
                "this machine runs labs on the kernel's datapath, of which there is no model of a shared core"
            )
        record = _measure(bench, drawn, progress)
    about = {"date": f"{began:%Y-%m-%d %H:%M} UTC", **machine.described(), "ovs": _ovs_version()}
    return calibration(drawn, record, options.seed, about)


def _measure(bench: tools.Bench, drawn: Draw, progress: Progress | None) -> Record:
    """Every measurement. One that failed or was disturbed is made again at the end, as long as there are not too many."""
    pids = tuple(bench.lab.state.recorded().values())
    machine.before_others(pids)
    values: dict[Cell, list[float]] = {}
    disturbed: dict[Cell, list[float]] = {}
    failures: list[str] = []
    loads: list[machine.Disturbance] = []
    todo, again = list(drawn.order), len(drawn.order) // 2
    warm = list(dict.fromkeys(cell.path for cell in drawn.order))
    done = 0
    for path in warm:
        # The very first packets of a path are lost to the question for a MAC address, and sent again after a second.
        with suppress(LabError):
            tools.measure(bench, path, Metric.REQUESTS_MANY)
        done += 1
        if progress is not None:
            progress(done, len(warm) + len(todo))
    while todo:
        cell = todo.pop(0)
        watch = machine.Watch(bench.core, pids)
        try:
            value = tools.measure(bench, cell.path, cell.metric)
        except LabError as error:
            failures.append(f"{cell.name}: {error}")
            spoilt = True
        else:
            loads.append(watch.disturbance())
            spoilt = loads[-1].spoils
            (disturbed if spoilt else values).setdefault(cell, []).append(value)
        if spoilt and again:
            again -= 1
            todo.append(cell)
        done += 1
        if progress is not None:
            progress(done, done + len(todo))
    repeat = len(drawn.order) // len({*drawn.order})
    found, kept = [], 0
    for cell in (*drawn.calibrate, *drawn.held_out):
        good, bad = values.get(cell, []), disturbed.get(cell, [])
        spare = bad[: max(0, repeat - len(good))]
        kept += len(spare)
        if not good and not spare:
            raise LabError(f"no measurement of a cell succeeded; the last failure: {failures[-1]}")
        found.append(Measured(cell, (*good, *spare)))
    thrown = sum(map(len, disturbed.values())) - kept
    return Record(tuple(found), thrown, kept, tuple(failures), max(d.load for d in loads))


def _ovs_version() -> str:
    answer = subprocess.run(
        [binary("ovs-vswitchd"), "--version"], capture_output=True, text=True, check=False, timeout=10
    ).stdout
    return answer.splitlines()[0] if answer else "unknown"
