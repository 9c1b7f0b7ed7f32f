"""Holding passes against datapath flows: what a flow matches of conntrack's fields, and what is said of the difference."""

from __future__ import annotations

import pytest

from ytwin.datapath.program import Examined, Op, Operation, Pass
from ytwin.logical.southbound import DatapathId, LogicalFlow

megaflows = pytest.importorskip(
    "deployer.wire.megaflows", reason="the lab's packages are not installed", exc_type=ImportError
)
dpflows = pytest.importorskip(
    "deployer.wire.dpflows", reason="the lab's packages are not installed", exc_type=ImportError
)
FLOW = LogicalFlow((DatapathId("switch", "s"),), "ingress", 0, "ls_in_lb", 1, "ct.new", "next;")
WHERE = ("cell", "backend", "first", "n1")


def flow(match: str, actions: str = "ct(zone=1,nat),recirc(0x2)") -> object:
    (read,) = dpflows.read_flows(
        f"recirc_id(0),{match},in_port(a),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6),tcp(src=5,dst=80), "
        f"packets:3, bytes:5, used:never, dp:ovs, actions:{actions}\n"
    )
    return read


def examined(*fields: str) -> Pass:
    found = tuple(Examined(field, True, "ls_in_lb", "s", FLOW) for field in fields)
    return Pass((Operation(Op.LOOKUP), Operation(Op.CT, "ct(nat) in zone z: new")), found)


@pytest.mark.parametrize(
    ("match", "fields"),
    [
        ("ct_state(0/0),ct_mark(0/0),ct_label(0/0)", []),
        ("ct_state(0x21/0x25)", ["ct.new", "ct.rel", "ct.trk"]),
        ("ct_mark(0/0x83)", ["ct_mark.blocked", "ct_mark.natted", "ct_mark[7]"]),
        ("ct_label(0x2/0x2)", ["ct_label.natted"]),
        ("ct_state(0x21)", ["ct.new", "ct.est", "ct.rel", "ct.rpl", "ct.inv", "ct.trk", "ct.snat", "ct.dnat"]),
    ],
)
def test_names_of_what_a_flow_matches(match: str, fields: list[str]) -> None:
    assert list(megaflows.matched_fields(flow(match))) == fields


def test_what_was_not_predicted_and_what_is_absent() -> None:
    (found,) = megaflows.compare_megaflows(
        WHERE, [examined("ct.new", "ct.trk", "ip4.dst")], [flow("ct_state(0x21/0x23)")]
    )
    assert (found.unpredicted, found.absent, found.matched) == (("ct.est",), (), ("ct.new", "ct.trk"))
    assert not found.holds
    (found,) = megaflows.compare_megaflows(WHERE, [examined("ct_label", "ct.inv")], [flow("ct_label(0/0x2)")])
    assert (found.unpredicted, len(found.absent), found.matched) == ((), 128, ("ct_label.natted",))
    assert found.holds


def test_other_operations_do_not_hold() -> None:
    (found,) = megaflows.compare_megaflows(WHERE, [examined()], [flow("ct_state(0/0)", "ct(commit,zone=1,nat(src)),b")])
    assert (found.twin, found.wire) == (("ct(nat)",), ("ct(commit,nat(src))", "output"))
    assert not found.holds
    with pytest.raises(ValueError, match="zip"):
        list(megaflows.compare_megaflows(WHERE, [examined()], []))
