"""Passes through the datapath in the four scenarios, and the limit that the shipped topology runs into.

The numbers are those of real OVS 3.1.0 and OVN 23.03.1: tests/lab compares them with the recirc_ids of running datapaths.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from ytwin.datapath import LIMITS, Entry, limited, limits_of, overruns, passes_to_json, render_passes, stays
from ytwin.pipeline import Twin, build, read, verify
from ytwin.trace import Conversation, Tracer, Verdict
from ytwin.trace.types import Path as TracePath
from ytwin.trace.types import Walk
from ytwin.verify import Severity

HERE = Path(__file__).parent
FOUR = (HERE / "trace" / "four.yaml").read_text()
LIMIT = HERE.parents[1] / "topologies" / "broken" / "recirculation-limit"
EIP = "200.0.0.206"


@cache
def four() -> Twin:
    return build(read({"four.yaml": FOUR}))


@cache
def broken(old: str = "", new: str = "") -> Twin:
    files = {str(file): file.read_text() for file in LIMIT.glob("*.yaml")}
    assert not old or any(old in text for text in files.values())
    return build(read({name: text.replace(old, new) if old else text for name, text in files.items()}))


def talk(twin: Twin, client: str, address: str, port: int = 80, protocol: str = "tcp") -> Conversation:
    tracer = Tracer(twin.world)
    return tracer.converse(next(h for h in twin.world.hosts if h.name == client), address, port, protocol)


def path(conversation: Conversation, backend: str) -> TracePath:
    return next(p for p in conversation.paths if p.backend == backend)


def counts(walk: Walk | None) -> list[tuple[str, int, int]]:
    assert walk is not None
    return [(stay.chassis, len(stay.recirculations), stay.lookups) for stay in stays(walk)]


def test_scenario_1_looks_up_twice_for_a_choice_and_once_on_the_other_side() -> None:
    """First: the zone of the client's port, the choice's commit; the backend's port, the commit of its ACL stage."""
    found = path(talk(four(), "Pod/default/c", "10.96.0.100"), "Pod/default/a")
    assert counts(found.forward) == [("n3", 2, 2), ("n1", 1, 2)]
    assert counts(found.reply) == [("n1", 1, 1), ("n3", 1, 1)]
    assert counts(found.second) == [("n3", 1, 1), ("n1", 1, 1)]


def test_a_backend_that_calls_itself_pays_for_its_source_too() -> None:
    """ct_snat_to_vip looks up in the SNAT zone without recirculation; the reply recirculates there."""
    found = path(talk(four(), "Pod/default/a", "10.96.0.100"), "Pod/default/a")
    assert counts(found.forward) == [("n1", 3, 5)]
    assert counts(found.reply) == [("n1", 3, 3)]
    assert counts(found.second) == [("n1", 3, 3)]


def test_session_affinity_balances_with_dp_hash_whatever_the_algorithm() -> None:
    """The flow of a learned affinity has one backend and no fields to hash."""
    found = path(talk(four(), "Pod/default/c", "10.96.0.105"), "Pod/default/b")
    assert counts(found.forward) == [("n3", 3, 2), ("n2", 1, 2)]
    assert [r.cause for r in stays(found.forward)[0].recirculations] == ["ct", "dp_hash", "ct"]
    assert counts(found.second) == [("n3", 1, 1), ("n2", 1, 1)]


def test_scenario_4_passes_the_gateway_four_times_for_a_choice() -> None:
    """defrag, choice, undnat, force_snat; then the backend's own port if its Subnet has a load balancer."""
    found = path(talk(four(), "outside/gw", "200.0.0.4"), "BareMetal/default/bm")
    assert counts(found.forward) == [("n1", 4, 5), ("n3", 1, 2)]
    assert counts(found.reply) == [("n3", 1, 1), ("n1", 2, 2)]
    assert counts(found.second) == [("n1", 3, 3), ("n3", 1, 1)]
    plain = path(talk(four(), "outside/gw", "200.0.0.4"), "VirtualMachine/default/vm")
    assert counts(plain.forward) == [("n1", 4, 5), ("n2", 0, 0)]


def test_a_packet_that_comes_back_to_a_chassis_starts_anew() -> None:
    found = path(talk(four(), "BareMetal/default/bm", "200.0.0.4"), "BareMetal/default/bm")
    assert [(s.chassis, s.entry) for s in stays(found.forward)] == [
        ("n3", Entry.PORT),
        ("n1", Entry.TUNNEL),
        ("n3", Entry.TUNNEL),
    ]


def test_both_families_take_the_same_passes() -> None:
    for four_address, six_address in (("10.96.0.100", "fd00:10:96::100"), ("200.0.0.4", "2001:db8:100::4")):
        found = [
            {
                p.backend: [counts(w) for w in (p.forward, p.reply, p.second)]
                for p in talk(four(), client, address).paths
            }
            for address in (four_address, six_address)
            for client in ("Pod/default/c",)
        ]
        assert found[0] == found[1]


# --- the limit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "recirculations", "depth"), [("near", 7, 7), ("far", 6, 7)])
def test_the_shipped_topology_exceeds_the_limit_from_inside(client: str, recirculations: int, depth: int) -> None:
    """Seen in the lab: 7 recirculations, or 6 after a tunnel's header was taken off, are dropped by OVS 3.1.0's dpif-netdev."""
    twin = broken()
    traced = talk(twin, f"Pod/default/{client}", EIP)
    assert traced.verdict is Verdict.DELIVERED  # as ovn-trace says
    for overrun in overruns(traced, limits_of(twin.nodes)):
        assert (overrun.stay.chassis, len(overrun.stay.recirculations), overrun.depth) == (
            "node1",
            recirculations,
            depth,
        )
        assert overrun.walk == "first packet"
        assert "algorithm hash" in overrun.remedy
    real = limited(traced, limits_of(twin.nodes))
    assert real.verdict is Verdict.DROPPED
    for lost in real.paths:
        assert (lost.verdict, lost.reply, lost.second, lost.forward.receiver) == (Verdict.DROPPED, None, None, "")
        assert f"needs {recirculations} recirculations" in lost.reason
        assert "node1" in lost.reason


def test_from_outside_it_just_fits() -> None:
    twin = broken()
    traced = talk(twin, "outside/eipgw", EIP)
    assert counts(traced.paths[0].forward) == [("node1", 6, 7)]
    assert limited(traced, limits_of(twin.nodes)) is traced


def test_check_names_path_chassis_number_limit_and_remedy() -> None:
    report = verify(broken())
    found = [f for f in report.findings if f.code == "recirculation-limit"]
    assert {f.severity for f in found} == {Severity.ERROR}
    assert {f.object for f in found} == {"YusurService/default/web"}
    text = next(f.message for f in found if "Pod/default/near" in f.message)
    for part in (
        f"Pod/default/near -> tcp {EIP}:80 -> Pod/default/web",
        "7 recirculations on node1",
        "netdev",
        "after 6",
    ):
        assert part in text
    assert "ct_lb_mark (dp_hash) in lr_in_dnat of svcgw_eipgw" in text
    assert "Remedy: balancing.algorithm hash" in text
    failed = {(c.client, c.verdict) for c in report.failures}
    assert failed == {("Pod/default/near", "dropped"), ("Pod/default/far", "dropped")}
    assert all("recirculation limit" in cell.reason for cell in report.failures)
    assert not report.holds


@pytest.mark.parametrize(
    ("old", "new"), [("algorithm: dpHash", "algorithm: hash"), ("datapath: netdev", "datapath: system")]
)
def test_the_default_algorithm_or_the_kernels_datapath_avoids_it(old: str, new: str) -> None:
    report = verify(broken(old, new))
    assert not [f for f in report.findings if f.code == "recirculation-limit"]
    assert report.holds


def test_the_default_algorithm_is_enough_by_itself() -> None:
    report = verify(broken("  balancing: {algorithm: dpHash}\n"))
    assert report.holds


def test_connections_after_the_one_that_taught_an_affinity_run_into_it_as_well() -> None:
    """On a userspace datapath the teaching connection is lost to its tracker; the next ones take the walk traced here."""
    texts = [file.read_text() for file in LIMIT.glob("*.yaml")]
    changed = [t.replace("balancing: {algorithm: dpHash}", "sessionAffinity: ClientIP") for t in texts]
    twin = build(read({str(i): t.replace("datapath: netdev", "datapath: system") for i, t in enumerate(changed)}))
    traced = talk(twin, "Pod/default/near", EIP)
    assert traced.verdict is Verdict.DELIVERED
    found = list(overruns(traced, dict.fromkeys(twin.world.chassis, LIMITS["netdev"])))
    assert {len(o.stay.recirculations) for o in found} == {7}
    assert all("no session affinity" in o.remedy for o in found)


def test_a_reply_or_a_second_packet_that_takes_too_many_passes_is_the_one_that_is_lost() -> None:
    traced = talk(four(), "Pod/default/c", "10.96.0.100")
    one = replace(LIMITS["netdev"], recirculations=2)
    assert limited(traced, dict.fromkeys(("n1", "n2", "n3"), one)) is traced
    none = replace(LIMITS["netdev"], recirculations=1, decapsulation_counts=False)
    only_replies = limited(traced, {"n3": none})
    assert {p.verdict for p in only_replies.paths} == {Verdict.DROPPED}  # the choice itself is one too many
    to_itself = talk(four(), "Pod/default/a", "10.96.0.100")
    remote = path(
        limited(to_itself, {"n2": replace(one, recirculations=0, decapsulation_counts=False)}), "Pod/default/b"
    )
    assert remote.verdict is Verdict.DROPPED
    gateway = talk(four(), "outside/gw", "200.0.0.4")
    reply = limited(gateway, {"n3": replace(one, recirculations=1, decapsulation_counts=True)})
    assert path(reply, "BareMetal/default/bm").verdict is Verdict.DROPPED


def test_a_lost_reply_keeps_the_forward_walk() -> None:
    """Replies take fewer passes than what they answer, so no node of one datapath loses only them; two datapaths may."""
    traced = talk(four(), "Pod/default/c", "10.96.0.100")
    cruel = replace(LIMITS["netdev"], recirculations=1)  # n3 receives the reply through a tunnel: 1 + 1
    forward_only = replace(traced, paths=tuple(replace(p, forward=replace(p.forward, hops=())) for p in traced.paths))
    real = limited(forward_only, {"n3": cruel})
    assert {p.verdict for p in real.paths} == {Verdict.REPLY_LOST}
    for lost in real.paths:
        assert lost.forward.verdict is Verdict.DELIVERED
        assert lost.reply is not None
        assert lost.reply.verdict is Verdict.DROPPED
        assert lost.second is None
        assert lost.client_seen_as


# --- output ------------------------------------------------------------------------------------------------------------


def test_text_says_passes_per_walk_and_marks_what_is_too_many() -> None:
    twin = broken()
    text = render_passes(talk(twin, "Pod/default/near", EIP), limits_of(twin.nodes))
    assert "first packet   node1: 8 (7 of 6 recirculations with dp_hash, 9 ct look-ups) !" in text
    assert "second packet  node1: 6 (5 of 6 recirculations, 5 ct look-ups)\n" in text
    far = render_passes(talk(twin, "Pod/default/far", EIP), limits_of(twin.nodes))
    assert "node1 from tunnel: 7 (6 of 5 recirculations with dp_hash, 7 ct look-ups) !" in far
    assert "of" not in render_passes(talk(twin, "Pod/default/far", EIP)).split("\n", 1)[1]


def test_json_has_every_recirculation() -> None:
    twin = broken()
    form = passes_to_json(talk(twin, "Pod/default/near", EIP), limits_of(twin.nodes))
    (stay,) = form["paths"][0]["walks"][0]["stays"]
    assert (stay["chassis"], stay["entry"], stay["passes"], stay["ct_lookups"]) == ("node1", "port", 8, 9)
    assert (stay["depth"], stay["limit"], stay["datapath_type"]) == (7, 6, "netdev")
    assert [r["cause"] for r in stay["recirculations"]].count("dp_hash") == 1
    assert passes_to_json(talk(twin, "Pod/default/near", EIP))["paths"][0]["walks"][0]["stays"][0]["limit"] is None
