"""From any topology to any other, in transactions of any size, beside any hand that was at work."""

from __future__ import annotations

import os
import random

import pytest
from deploy_server import Server, apply_goal, assert_sound

from deployer import plans
from deployer.jsonrpc import Connection
from deployer.northbound.server import DATABASE
from deployer.sandbox import missing_binaries
from deployer.state import digest, state_from_json, state_to_json
from deployer.target import Item, northbound_state
from deployer.targets.fake import FakeTarget
from deployer.targets.ovsdb import OvsdbTarget
from ytwin import pipeline
from ytwin.core.plan import diff
from ytwin.generate import generate
from ytwin.northbound.rows import RowKey
from ytwin.resources.codec import dump

SEED = int(os.environ.get("YTWIN_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
State = dict[RowKey, Item]


@pytest.fixture
def rng() -> random.Random:
    print(f"seed {SEED}: repeat with YTWIN_SEED={SEED}")
    return random.Random(SEED)


def drawn(rng: random.Random) -> State:
    """The Northbound of a random topology."""
    sizes = {"nodes": 3, "vpcs": rng.randrange(1, 4), "subnets": rng.randrange(1, 3), "services": rng.randrange(0, 12)}
    text = dump(generate(**sizes, backends=rng.randrange(0, 4), seed=rng.randrange(1000)))
    return northbound_state(pipeline.compile_rows(pipeline.read({"t.yaml": text}))[1])


def test_states_and_plans_survive_json(rng: random.Random) -> None:
    for _ in range(10):
        state, other = drawn(rng), drawn(rng)
        assert state_from_json(state_to_json(state)) == state
        assert digest(dict(reversed(state.items()))) == digest(state)
        target = FakeTarget()
        target.apply(diff({}, state))
        plan = plans.make_plan(target, other)
        assert plans.from_json(plan.to_json()) == plan


@pytest.mark.ovn
@pytest.mark.skipif(bool(missing_binaries()), reason=f"not installed: {', '.join(missing_binaries())}")
def test_any_state_to_any_other(rng: random.Random) -> None:
    goals = [*(drawn(rng) for _ in range(8)), {}]
    with Server() as server:
        for _ in range(25):
            goal = rng.choice(goals)
            apply_goal(server.remote, goal, rng.choice([None, None, 1, 3, 17]))
            assert_state(server, goal)


@pytest.mark.ovn
@pytest.mark.skipif(bool(missing_binaries()), reason=f"not installed: {', '.join(missing_binaries())}")
def test_whatever_was_deleted_or_emptied_by_hand_comes_back(rng: random.Random) -> None:
    """A clumsy hand deletes random rows and clears random columns, in every table; one apply puts it right."""
    tables = ["Logical_Switch", "Logical_Router", "Load_Balancer", "Load_Balancer_Group"]
    cleared = {
        "Logical_Switch": ("ports", "load_balancer", "load_balancer_group", "other_config"),
        "Logical_Router": ("ports", "static_routes", "policies", "load_balancer", "options"),
        "Logical_Router_Port": ("gateway_chassis", "options"),
        "Logical_Switch_Port": ("addresses", "options", "port_security", "tag"),
        "Load_Balancer": ("vips", "selection_fields", "options", "protocol"),
        "Load_Balancer_Group": ("load_balancer",),
    }
    with Server() as server:
        for round_ in range(25):
            goal = drawn(rng)
            apply_goal(server.remote, goal, None)
            with Connection(server.socket) as connection:
                for _ in range(rng.randrange(1, 6)):
                    table = rng.choice(tables if rng.random() < 0.4 else list(cleared))
                    rows = connection.call("transact", [DATABASE, {"op": "select", "table": table, "where": []}])[0][
                        "rows"
                    ]
                    if not rows:
                        continue
                    where = [["_uuid", "==", rng.choice(rows)["_uuid"]]]
                    if table in tables and rng.random() < 0.5:
                        operation = {"op": "delete", "table": table, "where": where}
                    else:
                        row = {rng.choice(cleared[table]): ["set", []]}
                        kind = "map" if next(iter(row)) in ("vips", "options", "other_config") else "set"
                        operation = {
                            "op": "update",
                            "table": table,
                            "where": where,
                            "row": {next(iter(row)): [kind, []]},
                        }
                    connection.call("transact", [DATABASE, operation])  # may be refused: a referred group stays
            apply_goal(server.remote, goal, rng.choice([None, 5]))
            assert_state(server, goal, f"seed {SEED}, round {round_}")


def assert_state(server: Server, goal: State, message: str = "") -> None:
    target = OvsdbTarget(server.remote, "default", timeout_s=20.0)
    try:
        assert target.snapshot() == goal, message
    finally:
        target.close()
    assert_sound(server, goal)
