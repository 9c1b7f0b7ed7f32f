"""Lost nodes: what `check --down NODE` says of those who are left.

What a Service promises stays promised; clients on a lost node are not asked; OVN goes on sending to backends that are lost,
because nothing but a health check takes them out of a load balancer.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from ytwin.pipeline import build, read, verify
from ytwin.trace import Tracer, Verdict
from ytwin.verify import Cell, Report, Severity

YAML = (Path(__file__).parent / "trace" / "four.yaml").read_text()
ON = {
    "n1": {"Node/n1", "Pod/default/a"},
    "n2": {"Node/n2", "Pod/default/b", "VirtualMachine/default/vm"},
    "n3": {"Node/n3", "Pod/default/c", "Pod/default/d", "BareMetal/default/bm"},
}


@cache
def report(*down: str) -> Report:
    return verify(build(read({"four.yaml": YAML}), down=down), exhaustive=True)


def cells(service: str, *down: str, client: str = "") -> list[Cell]:
    return [c for c in report(*down).cells if c.service == f"default/{service}" and c.client.startswith(client)]


@pytest.mark.parametrize("node", sorted(ON))
def test_clients_of_a_lost_node_are_not_asked_and_named(node: str) -> None:
    asked = {cell.client for cell in report(node).cells}
    assert not asked & ON[node]
    assert asked >= set().union(*(names for name, names in ON.items() if name != node)) - {"VirtualMachine/default/vm"}
    (finding,) = [f for f in report(node).findings if f.code == "node-lost"]
    assert (finding.severity, finding.object) == (Severity.INFO, f"Node/{node}")
    assert all(name in finding.message for name in ON[node] if not name.startswith("Node/"))
    assert not [f for f in report().findings if f.code == "node-lost"]


@pytest.mark.parametrize("down", [(), ("n1",), ("n2",), ("n3",), ("n1", "n2")])
def test_promises_and_isolation_stay_what_they_are(down: tuple[str, ...]) -> None:
    promised = {(c.client, c.service, c.address, c.port): c.expected for c in report().cells}
    for cell in report(*down).cells:
        assert promised.get((cell.client, cell.service, cell.address, cell.port), cell.expected) == cell.expected
        if cell.service.startswith("isolation:"):
            assert cell.holds


def test_a_service_that_lost_all_its_backends_fails_for_everyone() -> None:
    found = cells("s2", "n3", client="Node/")
    assert {c.client for c in found} == {"Node/n1", "Node/n2"}
    for cell in found:
        assert (cell.expected, cell.verdict, cell.holds) == ("reachable", "dropped", False)
        assert "d.default: not bound to a live chassis" in cell.reason
    assert all(c.holds for c in cells("s2", "n1"))


def test_a_service_that_lost_one_backend_still_reaches_the_other() -> None:
    for cell in cells("s1", "n1", client="Pod/default/c"):
        assert not cell.holds
        assert {b.forward for b in cell.backends} == {"delivered", "dropped"}
        assert [b.name for b in cell.backends if b.forward == "delivered"] == ["Pod/default/b"]


@pytest.mark.parametrize(("down", "gateway"), [((), "n1"), (("n1",), "n2"), (("n2",), "n1"), (("n3",), "n1")])
def test_gateway_ports_move_to_the_next_chassis_together(down: tuple[str, ...], gateway: str) -> None:
    """eipgw's and vpc1's distributed gateway ports have the same chassis and priorities, so that they stay on one chassis."""
    world = build(read({"four.yaml": YAML}), down=down).world
    redirect = {p.name: p.chassis for p in world.southbound.ports.values() if p.type == "chassisredirect"}
    assert len(redirect) > 1
    assert set(redirect.values()) == {gateway}
    outside = next(h for h in world.hosts if h.kind == "outside")
    for address in ("200.0.0.3", "2001:db8:100::3"):
        answer = Tracer(world).converse(outside, address, 80, "tcp")
        backends = {p.backend: p for p in answer.paths if p.verdict is Verdict.DELIVERED}
        alive = {"Pod/default/a": "n1", "Pod/default/b": "n2"}
        assert set(backends) == {name for name, node in alive.items() if node not in down}
        for path in backends.values():
            assert path.forward.hops[0].chassis == gateway
            assert path.reply is not None
            assert path.reply.hops[-1].chassis == gateway


def test_the_service_gateway_is_lost_with_its_chassis() -> None:
    for cell in cells("s4", "n1", client="outside"):
        assert (cell.verdict, cell.holds) == ("dropped", False)
        assert "no live gateway chassis" in cell.reason
    assert any(b.forward == "delivered" for c in cells("s4", "n2", client="outside") for b in c.backends)


def test_nobody_answers_the_outside_once_every_gateway_is_lost() -> None:
    for service in ("s3", "s4"):
        found = cells(service, "n1", "n2", client="outside")
        eips = [c for c in found if c.expected == "reachable"]
        assert eips
        assert {c.verdict for c in eips} == {"unanswered-arp"}


def test_everything_lost_leaves_only_the_outside_asking() -> None:
    found = report("n1", "n2", "n3")
    assert {cell.client for cell in found.cells} == {"outside/gw"}
    assert not any(cell.verdict == "delivered" for cell in found.cells)
