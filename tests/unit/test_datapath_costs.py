"""What single flows cost the datapath, and what datapaths allow."""

from __future__ import annotations

import pytest
from frozendict import frozendict

from ytwin.core.errors import Unsupported
from ytwin.datapath import LIMITS, Entry, limits_of, stays
from ytwin.datapath.costs import Cost, cost_of, uses_dp_hash
from ytwin.logical.southbound import DatapathId, LogicalFlow
from ytwin.nodes.config import NodeConfig
from ytwin.trace.types import Hop, Packet, Verdict, Walk

PACKET = Packet("", "", "10.0.0.1", "10.0.0.2", "tcp", 40000, 80)
SWITCH = DatapathId("switch", "s")


def hop(actions: str, chassis: str = "n1", pipeline: str = "ingress", note: str = "", table: int = 12) -> Hop:
    flow = LogicalFlow((SWITCH,), pipeline, table, "ls_in_lb", 100, "1", actions, "Load_Balancer/x")
    return Hop(chassis, SWITCH, pipeline, table, "ls_in_lb", flow, PACKET, note)


def walk(*hops: Hop) -> Walk:
    return Walk(hops, Verdict.DELIVERED, PACKET, PACKET, "x", "p", "")


@pytest.mark.parametrize(
    ("actions", "cost"),
    [
        # encode_CT_NEXT, encode_ct_nat, encode_ct_lb without backends: ct(table=...)
        ("ct_next;", Cost("ct_next", recirculates=True, lookups=1)),
        ("ct_dnat;", Cost("ct_dnat", recirculates=True, lookups=1)),
        ("flags.loopback = 1; ct_dnat;", Cost("ct_dnat", recirculates=True, lookups=1)),
        ("ct_snat(10.0.0.9);", Cost("ct_snat", recirculates=True, lookups=1)),
        ("ct_snat_in_czone;", Cost("ct_snat_in_czone", recirculates=True, lookups=1)),
        ("ct_commit_nat;", Cost("ct_commit_nat", recirculates=True, lookups=1)),
        ("ct_lb_mark;", Cost("ct_lb_mark", recirculates=True, lookups=1)),
        # a select group: dp_hash, also with one bucket, unless there are fields to hash
        ("ct_lb_mark(backends=10.0.0.2:80,10.0.0.3:80);", Cost("ct_lb_mark", True, True, 1)),
        ("ct_lb_mark(backends=10.0.0.2:80);", Cost("ct_lb_mark", True, True, 1)),
        (
            'ct_lb_mark(backends=10.0.0.2:80,10.0.0.3:80; hash_fields="ip_src,ip_dst");',
            Cost("ct_lb_mark", False, True, 1),
        ),
        ("reg8[16..31] = select(1=100, 2=100);", Cost("select", True, False, 0)),
        # ct(commit) without a table: encode_CT_COMMIT_V2, OFTABLE_CT_SNAT_HAIRPIN
        ("ct_commit { ct_mark.blocked = 0; }; next;", Cost(lookups=1)),
        ("ct_commit { }; ct_dnat;", Cost("ct_dnat", recirculates=True, lookups=2)),
        ("ct_snat_to_vip; next;", Cost(to_vip=True)),
        # decided inside one translation
        ("ct_clear; next;", Cost()),
        ("reg0[6] = chk_lb_hairpin(); next;", Cost()),
        ("reg9[6] = chk_lb_aff(); next;", Cost()),
        ('commit_lb_aff(vip = "10.0.0.1:80", backend = "10.0.0.2:80", proto = tcp, timeout = 60);', Cost()),
        ("reg9[1] = check_pkt_larger(1414); next;", Cost()),
        ("clone { ct_clear; next(pipeline=ingress, table=3); }; next;", Cost()),
        ("reg0[0] = 0; reject { outport <-> inport; next(pipeline=egress, table=5); };", Cost(generates=True)),
        ("next;", Cost()),
    ],
)
def test_cost_of_actions(actions: str, cost: Cost) -> None:
    assert cost_of(hop(actions)) == cost


def test_no_flow_costs_nothing() -> None:
    assert cost_of(Hop("n1", SWITCH, "ingress", 3, "", None, PACKET)) == Cost()


@pytest.mark.parametrize("actions", ["ct_next; output;", "clone { ct_next; }; next;", "ct_next; ct_next;"])
def test_copies_in_different_passes_are_refused_by_name(actions: str) -> None:
    with pytest.raises(Unsupported, match="ct_next"):
        cost_of(hop(actions))


@pytest.mark.parametrize(
    ("weights", "hashed"),
    [
        ((), False),
        ((100,), True),
        ((100,) * 256, True),
        ((100,) * 257, False),
        ((1, 255), True),
        ((1, 256), False),
        ((0,), False),
    ],
)
def test_too_many_slots_fall_back_to_a_hash_of_ovs(weights: tuple[int, ...], hashed: bool) -> None:
    """group_setup_dp_hash_table: at most 256 slots, next power of two of total weight / smallest weight."""
    assert uses_dp_hash(weights) is hashed


def test_a_hash_is_computed_once_per_visit() -> None:
    """dp_hash stays with the packet: seen as dp_hash(0x.../0) in all later flows of the chassis."""
    first, again = hop("ct_lb_mark(backends=10.0.0.2:80);"), hop("reg8[16..31] = select(1=100, 2=100);")
    (stay,) = stays(walk(first, again))
    assert [r.cause for r in stay.recirculations] == ["dp_hash", "ct"]
    here, there = stays(walk(first, hop("ct_lb_mark(backends=10.0.0.2:80);", "n2", "egress")))
    assert [r.cause for r in there.recirculations] == ["dp_hash", "ct"] == [r.cause for r in here.recirculations]


def test_a_visit_begins_with_each_chassis_and_each_generated_packet() -> None:
    found = stays(
        walk(
            hop("ct_next;"),
            hop("output;"),
            hop("ct_next;", "n2", "egress"),
            hop("output;", "n1"),
            hop("tcp_reset { output; };", "n1"),
            hop("output;", "n1"),
        )
    )
    assert [(s.chassis, s.entry, s.passes) for s in found] == [
        ("n1", Entry.PORT, 2),
        ("n2", Entry.TUNNEL, 2),
        ("n1", Entry.PHYSICAL, 1),
        ("n1", Entry.CONTROLLER, 1),
    ]
    assert stays(walk()) == ()


def test_ct_snat_to_vip_looks_up_only_where_a_vip_matched() -> None:
    assert stays(walk(hop("ct_snat_to_vip; next;")))[0].lookups == 0
    assert stays(walk(hop("ct_snat_to_vip; next;", note="ct(snat:switch/s): new, SNAT")))[0].lookups == 1


def test_a_tunnel_costs_the_userspace_datapath_one() -> None:
    """tnl_pop recirculates in dpif-netdev; the kernel's tunnel is a device."""
    _, stay = stays(walk(hop("output;"), hop("ct_next;", "n2", "egress")))
    assert (stay.depth(LIMITS["netdev"]), stay.depth(LIMITS["system"])) == (2, 1)


def config(node: str, **external_ids: str) -> NodeConfig:
    return NodeConfig(node, "host", "none", frozendict(external_ids), frozendict(), (), ())


def test_limits_by_the_nodes_own_datapath() -> None:
    kind = {"ovn-bridge-datapath-type": "netdev"}
    limits = limits_of([config("a"), config("b", **kind), config("c", **{"system-id": "chassis-c"}, **kind)])
    assert {name: (limit.datapath, limit.recirculations) for name, limit in limits.items()} == {
        "a": ("system", 30),
        "b": ("netdev", 6),
        "chassis-c": ("netdev", 6),
    }


def test_an_unknown_datapath_is_named() -> None:
    with pytest.raises(Unsupported, match=r"node a.*dummy"):
        limits_of([config("a", **{"ovn-bridge-datapath-type": "dummy"})])


def test_the_kernels_limit_follows_from_its_queue_and_keys() -> None:
    """Counts the way that net/openvswitch/actions.c does: keys for three levels, nine places in the queue."""
    keys, places = 3, 9

    def survives(recirculations: int) -> bool:
        level, queued = 1, 0
        for _ in range(recirculations):
            if level <= keys:
                level += 1
            else:
                if queued == places:
                    return False
                queued, level = queued + 1, 2
        return True

    limit = LIMITS["system"].recirculations
    assert survives(limit)
    assert not survives(limit + 1)
