"""Whatever interrupts an apply, and wherever: applying again converges, nothing is doubled, nothing is left over."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from deploy_places import topology, twin_of
from deploy_server import STALE, CuttingProxy, Server, apply_goal, apply_in_child, assert_sound, children

from deployer.sandbox import missing_binaries
from deployer.target import Item, northbound_state
from deployer.targets.ovsdb import OvsdbTarget
from ytwin.northbound.rows import RowKey

pytestmark = [
    pytest.mark.ovn,
    pytest.mark.skipif(bool(missing_binaries()), reason=f"not installed: {', '.join(missing_binaries())}"),
]
POINTS = 100
SEED = int(os.environ.get("YTWIN_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
State = dict[RowKey, Item]


@pytest.fixture(scope="module")
def goals() -> list[State]:
    """Three ways a Northbound can be wanted, the last of them empty."""
    texts = (topology(), topology(pods=9, services=12, eips=3, port=81))
    return [*(northbound_state(twin_of(text).northbound) for text in texts), {}]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def rng() -> random.Random:
    print(f"seed {SEED}: repeat with YTWIN_SEED={SEED}")
    return random.Random(SEED)


def held(server: Server) -> State:
    target = OvsdbTarget(server.remote, "default", timeout_s=20.0)
    try:
        return dict(target.snapshot())
    finally:
        target.close()


def test_killed_at_a_hundred_random_points(server: Server, goals: list[State], rng: random.Random) -> None:
    """kill -9 of the applying process, in one transaction and in many; several kills in a row before anybody converges."""
    context = children()
    # A child's own duration from start to end, so that the points cover reading, planning, sending and waiting alike.
    durations: dict[int | None, float] = {}
    for size in (None, 5):
        apply_goal(server.remote, {}, None)
        begin = time.monotonic()
        run(context, server, goals[1], size).join()
        durations[size] = time.monotonic() - begin
    killed = mixed = rounds = 0
    while killed < POINTS or mixed <= 10:
        rounds += 1
        assert rounds < 10 * POINTS, f"{killed} processes were killed in time, {mixed} left something half done"
        goal, size = rng.choice(goals), rng.choice([None, 5, 5, 5])
        process = run(context, server, goal, size)
        process.join(rng.uniform(0, durations[size]))
        in_time = process.is_alive()
        killed += in_time
        durations[size] *= 1.1 if in_time else 1 / 1.1  # half of them, however fast this machine is just now
        process.kill()
        process.join()
        state = held(server)
        mixed += state not in goals
        if rng.random() < 0.7:  # else the next kill meets what this one left
            final = rng.choice(goals)
            apply_goal(server.remote, final, rng.choice([None, 5]))
            assert held(server) == final, f"seed {SEED}, round {rounds}"
            assert_sound(server, final)
    print(f"{killed} of {rounds} were killed before their end, {mixed} left something half done")
    apply_goal(server.remote, {}, None)
    assert_sound(server, {})


def run(context: Any, server: Server, goal: State, size: int | None) -> Any:
    process = context.Process(target=apply_in_child, args=(server.remote, goal, size))
    process.start()
    return process


def test_server_killed_and_restarted_midway(server: Server, goals: list[State], rng: random.Random) -> None:
    """One apply outlives its server: it waits, connects again, sees what was done, and does the rest."""
    for round_ in range(12):
        goal = goals[round_ % len(goals)]
        failures: list[BaseException] = []

        def work(goal: State = goal, failures: list[BaseException] = failures) -> None:
            try:
                apply_goal(server.remote, goal, 5)
            except BaseException as error:
                failures.append(error)

        worker = threading.Thread(target=work)
        worker.start()
        time.sleep(rng.uniform(0, 0.25))
        server.kill()
        time.sleep(rng.uniform(0, 0.1))
        server.start()
        worker.join(60)
        assert not worker.is_alive()
        assert not failures, f"seed {SEED}, round {round_}: {failures}"
        assert held(server) == goal
        assert_sound(server, goal)


def test_connection_cut_at_random_bytes(server: Server, goals: list[State], rng: random.Random) -> None:
    """Cut while a request is half sent, while its answer is half read, or in between: the apply goes on by itself."""
    cuts = 0
    for round_ in range(40):
        goal = goals[round_ % len(goals)]
        limits = [
            rng.choice([rng.randrange(1, 60_000), rng.randrange(30_000, 250_000)]) for _ in range(rng.randrange(1, 5))
        ]
        with CuttingProxy(server, limits) as proxy:
            apply_goal(proxy.remote, goal, rng.choice([None, 7]))
        cuts += proxy.cuts
        assert held(server) == goal, f"seed {SEED}, round {round_}"
        assert_sound(server, goal)
    assert cuts > 20


def test_two_processes_apply_at_once(server: Server, goals: list[State], rng: random.Random) -> None:
    """Nothing is doubled: one of two finds that its plan is stale, or they follow one another."""
    context = children()
    for round_ in range(6):
        goal = goals[round_ % len(goals)]
        both = [run(context, server, goal, rng.choice([None, 5])) for _ in range(2)]
        for process in both:
            process.join()
        assert {process.exitcode for process in both} <= {0, STALE}
        apply_goal(server.remote, goal, None)
        assert held(server) == goal
        assert_sound(server, goal)
