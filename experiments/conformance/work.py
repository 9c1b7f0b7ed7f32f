"""One topology through both sides: the flows, then packets; and the tally of a run."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from random import Random

from deployer.sandbox import OvnSandbox
from experiments.conformance.judge import Judge
from experiments.conformance.packets import Draw, Places
from experiments.conformance.southbound import compare, load
from experiments.conformance.topology import draw, features
from ytwin.core.memo import Memo
from ytwin.northbound.rows import Northbound
from ytwin.northd import northd
from ytwin.northd.model import resolve

_SHOWN = 12
"""Differing rows of one topology that are printed; all are counted."""
_ATTEMPTS = 4
"""Packets drawn for one that is to be judged, before a topology is given up on."""


@dataclass
class Tally:
    """What was compared and how it came out; tallies add up."""

    topologies: int = 0
    flows: int = 0
    others: int = 0
    differing: int = 0
    packets: int = 0
    mismatches: int = 0
    steps: int = 0
    unjudged: Counter[str] = field(default_factory=Counter)
    features: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    reports: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take another's counts in."""
        for name in ("topologies", "flows", "others", "differing", "packets", "mismatches", "steps"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("unjudged", "features", "kinds", "stages", "ends"):
            getattr(self, name).update(getattr(other, name))
        self.reports += other.reports

    @property
    def good(self) -> bool:
        """Nothing differs."""
        return not self.differing and not self.mismatches

    def last_line(self) -> str:
        """The line that a run ends with."""
        return (
            f"flows={self.flows} differing={self.differing} packets={self.packets} mismatches={self.mismatches} "
            f"unjudged={self.unjudged.total()}"
        )


def work(seed: int, shares: list[tuple[int, int]], results: Queue[Tally | str]) -> None:
    """Runs its topologies in one sandbox; puts a Tally for each, or the traceback that ended it."""
    try:
        with OvnSandbox() as ovn:
            for index, packets in shares:
                results.put(run_topology(ovn, seed, index, packets))
    except Exception:
        results.put(traceback.format_exc())


def run_topology(ovn: OvnSandbox, seed: int, index: int, packets: int) -> Tally:
    """Compare topology `index` of the run with `seed`, and that many judged packets in it."""
    drawn = draw(seed, index)
    northbound = drawn.northbound
    replay = f"python -m experiments.conformance --seed {seed} --only {index} --packets {packets}"
    tally = Tally(topologies=1)
    tally.features.update(features(northbound))
    uuids = load(ovn, northbound, resolve(northbound, Memo()), index + 1)
    ours = northd(northbound)
    compared = compare(ovn.southbound(), ours, uuids)
    tally.flows, tally.others, tally.differing = compared.flows, compared.others, len(compared.differing)
    if compared.differing:
        shown = [f"  {line}" for line in compared.differing[:_SHOWN]]
        more = len(compared.differing) - len(shown)
        shown += [f"  ... and {more} more"] if more else []
        head = (
            f"{len(compared.differing)} rows differ (-: OVN only, +: ours only)\n  replay: {replay}\n  {drawn.command}"
        )
        tally.reports.append("\n".join([head, *shown]))
    _packets(Judge(ovn, ours, Random(f"conntrack {seed} {index}")), drawn.northbound, tally, (seed, index, packets))
    return tally


def _packets(judge: Judge, northbound: Northbound, tally: Tally, run: tuple[int, int, int]) -> None:
    seed, index, wanted = run
    places = Places(northbound)
    if not places.stations and not places.gateways:
        return
    source = Draw(places, Random(f"packets {seed} {index}"))
    with judge:
        for _ in range(wanted * _ATTEMPTS):
            if tally.packets >= wanted:
                break
            packet = source.packet()
            verdict = judge.judge(packet)
            if verdict.unjudged:
                tally.unjudged[verdict.unjudged] += 1
                continue
            tally.packets += 1
            tally.kinds[packet.kind] += 1
            tally.steps += verdict.steps
            tally.stages.update(verdict.stages)
            tally.ends[verdict.end] += 1
            if verdict.difference:
                tally.mismatches += 1
                replay = f"python -m experiments.conformance --seed {seed} --only {index} --packets {wanted}"
                tally.reports.append(f"{packet.kind}: {packet.microflow}\n  replay: {replay}\n{verdict.difference}")
