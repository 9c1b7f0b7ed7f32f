"""Asks the wire every question, in parallel, and compares."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from deployer.lab import Lab
from deployer.lab.chassis import INTEGRATION
from deployer.wire import evidence
from deployer.wire.judge import complete, difference
from deployer.wire.question import ANSWER, NOTHING, Outcome, Question, questions, server_ports
from deployer.wire.report import AGREE, DIFFER, UNJUDGED, WireCell, WireReport
from deployer.wire.traffic import FIRST_PORT, Traffic, Unjudged, why_not
from ytwin.datapath import LIMITS
from ytwin.pipeline import Twin

Progress = Callable[[int, int], None]
_AGAIN_S = 0.1
"""How long a client waits for a connection that may only have taught an affinity, before it opens another."""
_REVIVALS = 3
"""How often nodes that die under the traffic are started again.

OVS 3.1's userspace datapath ends with an assertion in conntrack where use_ct_inv_match=false lets invalid packets pass.
"""
_WATCH_S = 0.3
"""Between two looks at whether all nodes live."""
_HANGS_S = 0.3
"""How long the connection that teaches an affinity is watched in every round."""
_AFFINITY_TABLE = 78
"""OpenFlow table in which ovn-controller 23.03 lets affinities be learned: OFTABLE_CHK_LB_AFFINITY."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to ask."""

    jobs: int = 48
    """Cells asked at the same time."""
    answer_s: float = 8.0
    """How long to wait for an answer that the twin forecasts; TCP sends its SYN again after 1, 3 and 7 s."""
    silence_s: float = 1.6
    """How long silence must last to count as such; TCP sends its SYN again after 1 s."""
    exhaustive: bool = False
    """Every host as a client, instead of one per kind, VPC, Subnet and node."""
    evidence: Path | None = None
    """Folder for what is kept about differences."""
    capture: bool = False
    """Ask a cell that differs once more, with tcpdump at both ends."""


def verify_wire(
    lab: Lab,
    twin: Twin,
    options: Options = Options(),
    progress: Progress | None = None,
) -> WireReport:
    """Hold every cell of the twin's matrix against real traffic in `lab`; `progress(done, total)` after each."""
    limits = dict.fromkeys(twin.world.chassis, LIMITS[lab.datapath])
    userspace = frozenset(twin.world.chassis) if lab.datapath == "netdev" else frozenset()
    twin = replace(twin, world=replace(twin.world, userspace=userspace))
    asked = questions(twin, limits, options.exhaustive)
    return asyncio.run(_Verification(lab, twin, options).run(asked, progress))


class _Verification:
    def __init__(self, lab: Lab, twin: Twin, options: Options) -> None:
        self.lab = lab
        self.twin = twin
        self.options = options
        self.pids = {host.name: lab.host(host.name).pid for host in twin.world.hosts}
        self.traffic = Traffic(self.pids.__getitem__, lab.state.load("next-port") or FIRST_PORT)
        self.gate = asyncio.Semaphore(options.jobs)

    async def run(self, asked: tuple[Question, ...], progress: Progress | None) -> WireReport:
        begin = time.monotonic()
        self.traffic.serve(self.pids, server_ports(asked, self.twin))
        cells: dict[int, WireCell] = {}

        async def one(index: int, question: Question) -> None:
            cells[index] = await self.cell(question)
            if progress is not None:
                progress(len(cells), len(asked))

        async def ask(indices: Iterable[int]) -> None:
            wanted = list(indices)
            async with asyncio.TaskGroup() as group:
                for index in wanted:
                    if not asked[index].affinity:
                        group.create_task(one(index, asked[index]))
            for index, cell in (await self.sticky_cells((i, asked[i]) for i in wanted if asked[i].affinity)).items():
                cells[index] = cell
                if progress is not None:
                    progress(len(cells), len(asked))

        notes: list[str] = []
        try:
            wanted = list(range(len(asked)))
            while wanted:
                died = len(notes)
                watch = asyncio.create_task(self.watch(frozenset(self.lab.dead_nodes()), notes))
                try:
                    await ask(wanted)
                    await asyncio.sleep(_WATCH_S)  # a death in the last moment counts too
                finally:
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)
                if len(notes) == died or len(notes) > _REVIVALS:
                    break
                if self.lab.central_runs:
                    self.lab.wait_ready()
                wanted = [index for index, cell in cells.items() if cell.state == DIFFER]
            ordered = [await self.keep(i, cells[i]) for i in sorted(cells)]
        finally:
            self.lab.state.save("next-port", self.traffic.next_port)
            await self.traffic.close()
        hanging = sum(question.first_hangs for question in asked)
        if hanging:
            notes.append(
                f"{hanging} cells: a client's first connection hangs, those after it were judged (affinity, userspace datapath)"
            )
        return WireReport(tuple(ordered), time.monotonic() - begin, tuple(notes))

    async def watch(self, dead: frozenset[str], notes: list[str]) -> None:
        """Start nodes again that die, other than those that were `dead` before."""
        while len(notes) <= _REVIVALS:
            for node in self.lab.dead_nodes():
                if node not in dead:
                    notes.append(self.revive(node))
            await asyncio.sleep(_WATCH_S)

    def revive(self, node: str) -> str:
        """Start a node that died under the traffic, as its supervisor would; what to tell about it."""
        log = (self.lab.chassis(node).directory / "vswitchd.log").read_text(errors="replace")
        last = next((line for line in reversed(log.splitlines()) if "|EMER|" in line), "no last words in its log")
        self.lab.restart_node(node)
        return f"{node} died while it was verified, was started again, and cells that differed were asked again: {last}"

    async def cell(self, question: Question) -> WireCell:
        """Ask one question until its answer cannot change any more."""
        reason = why_not(question.protocol)
        if reason:
            return WireCell(question, {}, UNJUDGED, reason)
        begin = time.monotonic()
        seen: Counter[Outcome] = Counter()
        async with self.gate:
            while not complete(question, seen):
                # Silence takes long and is the same for all: several at once.
                wave = 1 if question.forecast != {Outcome(NOTHING)} else question.at_least
                try:
                    seen.update(await asyncio.gather(*(self.call(question) for _ in range(wave))))
                except Unjudged as error:
                    return WireCell(question, seen, UNJUDGED, str(error))
        return _judged(question, seen, time.monotonic() - begin)

    async def call(self, question: Question) -> Outcome:
        hopeful = any(outcome.kind == ANSWER for outcome in question.forecast)
        wait_s = self.options.answer_s if hopeful else self.options.silence_s
        if hopeful and Outcome(NOTHING) in question.forecast:
            wait_s = self.options.silence_s
        return await self.traffic.call(question.client, question.address, question.port, question.protocol, wait_s)

    # -- affinity --------------------------------------------------------------------------------------------------

    async def sticky_cells(self, sticky: Iterable[tuple[int, Question]]) -> dict[int, WireCell]:
        """Cells whose clients keep their backend: every node forgets what it learned between two rounds."""
        open_cells = {
            index: (question, Counter[Outcome]()) for index, question in sticky if not why_not(question.protocol)
        }
        done = {i: WireCell(q, {}, UNJUDGED, why_not(q.protocol)) for i, q in sticky if why_not(q.protocol)}
        begin = time.monotonic()
        while open_cells:
            self.forget_affinities()
            outcomes = await asyncio.gather(*(self.sticky_call(question) for question, _ in open_cells.values()))
            for (index, (question, seen)), outcome in zip(list(open_cells.items()), outcomes, strict=True):
                seen[outcome] += 1
                if complete(question, seen):
                    done[index] = _judged(question, seen, time.monotonic() - begin)
                    del open_cells[index]
        return done

    async def sticky_call(self, question: Question) -> Outcome:
        """The first connection that gets through after the client's affinity was forgotten.

        The one that teaches the affinity is lost, and on a userspace datapath all of its retransmissions too: clients try anew.
        """
        begin = time.monotonic()
        async with self.gate:
            if question.first_hangs:
                first = await self.traffic.call(
                    question.client, question.address, question.port, question.protocol, _HANGS_S
                )
                if first.kind != NOTHING:
                    return Outcome(first.kind, f"{first.backend}, on the connection that teaches the affinity")
            while True:
                outcome = await self.traffic.call(
                    question.client, question.address, question.port, question.protocol, _AGAIN_S
                )
                if outcome.kind != NOTHING or time.monotonic() - begin > self.options.silence_s:
                    return outcome

    def forget_affinities(self) -> None:
        """Delete learned flows; ovn-controller's own are in other tables.

        Datapath flows go first: packets that they counted and nobody has read yet would teach the old affinity once more.
        """
        for chassis in self.lab.all_chassis:
            if chassis.alive:
                chassis.control("revalidator/purge")
                bridge = f"unix:{chassis.directory}/{INTEGRATION}.mgmt"
                chassis.run("ovs-ofctl", "del-flows", bridge, f"table={_AFFINITY_TABLE}")

    # -- differences -----------------------------------------------------------------------------------------------

    async def keep(self, index: int, cell: WireCell) -> WireCell:
        """The cell, with evidence if it differs."""
        if cell.state != DIFFER or self.options.evidence is None:
            return cell
        folder = self.options.evidence / f"cell-{index}"
        if self.options.capture:
            answered = [o.backend for o in (*cell.question.forecast, *cell.seen) if o.backend in self.pids]
            with evidence.capture(self.lab, [cell.question.client, *answered], folder):
                for _ in range(cell.question.at_least):
                    await self.call(cell.question)
        evidence.keep(self.lab, cell, folder)
        return replace(cell, evidence=str(folder))


def _judged(question: Question, seen: Counter[Outcome], seconds: float) -> WireCell:
    reason = difference(question, seen)
    return WireCell(question, dict(seen), DIFFER if reason else AGREE, reason, seconds)
