"""Flows that all switches of one kind share: defaults of every table, conntrack for load balancers, unknown addresses."""

from __future__ import annotations

from ytwin.logical.southbound import LogicalFlow
from ytwin.northd.collect import Flows, Group
from ytwin.northd.stages import Stage
from ytwin.northd.switch.registers import (
    ACL_LABEL,
    ACL_STATELESS,
    CONNTRACK_COMMIT,
    CONNTRACK_DEFRAG,
    CONNTRACK_NAT,
    HAIRPIN,
    HAIRPIN_REPLY,
    HINT_ALLOW,
    HINT_ALLOW_NEW,
    HINT_ALLOW_RELATED,
    HINT_BLOCK,
    HINT_DROP,
    LABEL,
    PORT_SEC_DROP,
)

_NEIGHBOR_DISCOVERY = "nd || nd_rs || nd_ra || mldv1 || mldv2"
_NO_CONNTRACK_IPV6 = "nd || nd_ra || nd_rs || mldv1 || mldv2"
_TO_MONITOR = "eth.dst == $svc_monitor_mac"
_FROM_MONITOR = "eth.src == $svc_monitor_mac"
_COMMIT = f"{CONNTRACK_COMMIT} = 1; next;"

_BOTH_COMMON: tuple[tuple[Stage, Stage, int, str, str], ...] = (
    (Stage.LS_IN_PRE_LB, Stage.LS_OUT_PRE_LB, 110, "eth.mcast", "next;"),
    (Stage.LS_IN_PRE_LB, Stage.LS_OUT_PRE_LB, 110, _NEIGHBOR_DISCOVERY, "next;"),
    (Stage.LS_IN_PRE_LB, Stage.LS_OUT_PRE_LB, 110, f"{ACL_STATELESS} == 1", "next;"),
    (Stage.LS_IN_PRE_STATEFUL, Stage.LS_OUT_PRE_STATEFUL, 110, f"{CONNTRACK_NAT} == 1", "ct_lb_mark;"),
    (Stage.LS_IN_PRE_STATEFUL, Stage.LS_OUT_PRE_STATEFUL, 100, f"{CONNTRACK_DEFRAG} == 1", "ct_next;"),
    (Stage.LS_IN_ACL, Stage.LS_OUT_ACL, 65532, _NO_CONNTRACK_IPV6, "next;"),
    (
        Stage.LS_IN_STATEFUL,
        Stage.LS_OUT_STATEFUL,
        100,
        f"{CONNTRACK_COMMIT} == 1 && {ACL_LABEL} == 1",
        f"ct_commit {{ ct_mark.blocked = 0; ct_label.label = {LABEL}; }}; next;",
    ),
    (
        Stage.LS_IN_STATEFUL,
        Stage.LS_OUT_STATEFUL,
        100,
        f"{CONNTRACK_COMMIT} == 1 && {ACL_LABEL} == 0",
        "ct_commit { ct_mark.blocked = 0; }; next;",
    ),
)
"""Flows that stand in an ingress and in an egress table alike."""

_NEXT = (
    Stage.LS_IN_APPLY_PORT_SEC,
    Stage.LS_IN_LOOKUP_FDB,
    Stage.LS_IN_PUT_FDB,
    Stage.LS_IN_PRE_ACL,
    Stage.LS_IN_PRE_LB,
    Stage.LS_IN_PRE_STATEFUL,
    Stage.LS_IN_QOS_MARK,
    Stage.LS_IN_QOS_METER,
    Stage.LS_IN_LB_AFF_CHECK,
    Stage.LS_IN_LB,
    Stage.LS_IN_LB_AFF_LEARN,
    Stage.LS_IN_PRE_HAIRPIN,
    Stage.LS_IN_NAT_HAIRPIN,
    Stage.LS_IN_HAIRPIN,
    Stage.LS_IN_ACL_AFTER_LB,
    Stage.LS_IN_STATEFUL,
    Stage.LS_IN_ARP_RSP,
    Stage.LS_IN_DHCP_OPTIONS,
    Stage.LS_IN_DHCP_RESPONSE,
    Stage.LS_IN_DNS_LOOKUP,
    Stage.LS_IN_DNS_RESPONSE,
    Stage.LS_IN_EXTERNAL_PORT,
    Stage.LS_OUT_PRE_ACL,
    Stage.LS_OUT_PRE_LB,
    Stage.LS_OUT_PRE_STATEFUL,
    Stage.LS_OUT_QOS_MARK,
    Stage.LS_OUT_QOS_METER,
    Stage.LS_OUT_STATEFUL,
)
"""Tables whose lowest flow, on every switch, is 0: 1 -> next."""


def common_flows(where: Group) -> tuple[LogicalFlow, ...]:
    """What every switch has."""
    flows = Flows()
    for stage in _NEXT:
        flows.add(where, stage, 0, "1", "next;")
    for ingress, egress, priority, match, actions in _BOTH_COMMON:
        flows.add(where, ingress, priority, match, actions)
        flows.add(where, egress, priority, match, actions)
    for ingress, egress in (
        (Stage.LS_IN_PRE_ACL, Stage.LS_OUT_PRE_ACL),
        (Stage.LS_IN_PRE_LB, Stage.LS_OUT_PRE_LB),
    ):
        flows.add(where, ingress, 110, _TO_MONITOR, "next;")
        flows.add(where, egress, 110, _FROM_MONITOR, "next;")
    flows.add(where, Stage.LS_IN_ACL_AFTER_LB, 65532, _NO_CONNTRACK_IPV6, "next;")

    flows.add(where, Stage.LS_IN_CHECK_PORT_SEC, 100, "vlan.present", "drop;")
    flows.add(where, Stage.LS_IN_CHECK_PORT_SEC, 100, "eth.src[40]", "drop;")
    flows.add(where, Stage.LS_IN_CHECK_PORT_SEC, 50, "1", f"{PORT_SEC_DROP} = check_in_port_sec(); next;")
    flows.add(where, Stage.LS_IN_APPLY_PORT_SEC, 50, f"{PORT_SEC_DROP} == 1", "drop;")
    flows.add(where, Stage.LS_OUT_CHECK_PORT_SEC, 100, "eth.mcast", f"{PORT_SEC_DROP} = 0; next;")
    flows.add(where, Stage.LS_OUT_CHECK_PORT_SEC, 0, "1", f"{PORT_SEC_DROP} = check_out_port_sec(); next;")
    flows.add(where, Stage.LS_OUT_APPLY_PORT_SEC, 50, f"{PORT_SEC_DROP} == 1", "drop;")
    flows.add(where, Stage.LS_OUT_APPLY_PORT_SEC, 0, "1", "output;")

    monitor = f"{_TO_MONITOR} && (tcp || icmp || icmp6)"
    flows.add(where, Stage.LS_IN_L2_LKUP, 110, monitor, "handle_svc_check(inport);")
    flows.add(where, Stage.LS_IN_L2_LKUP, 70, "eth.mcast", 'outport = "_MC_flood"; output;')
    flows.add(where, Stage.LS_IN_L2_LKUP, 0, "1", "outport = get_fdb(eth.dst); next;")
    flows.add(where, Stage.LS_IN_L2_UNKNOWN, 0, "1", "output;")
    return flows.done()


def unknown_flows(where: Group, unknown: bool) -> tuple[LogicalFlow, ...]:
    """Where packets to a MAC that nobody has go: to the ports with "unknown", if the switch has any."""
    flows = Flows()
    actions = 'outport = "_MC_unknown"; output;' if unknown else "drop;"
    flows.add(where, Stage.LS_IN_L2_UNKNOWN, 50, 'outport == "none"', actions)
    return flows.done()


def vip_flows(where: Group, has_vip: bool, ct_inv: bool) -> tuple[LogicalFlow, ...]:
    """What depends on whether the switch has any VIP: only then is all its IP traffic sent through conntrack."""
    flows = Flows()
    if not has_vip:
        for stage in (Stage.LS_IN_ACL_HINT, Stage.LS_OUT_ACL_HINT, Stage.LS_IN_ACL, Stage.LS_OUT_ACL):
            flows.add(where, stage, 65535, "1", "next;")
        return flows.done()
    for stage in (Stage.LS_IN_PRE_LB, Stage.LS_OUT_PRE_LB):
        flows.add(where, stage, 100, "ip", f"{CONNTRACK_NAT} = 1; next;")
    _hints(flows, where)
    _acl(flows, where, ct_inv)
    _hairpin(flows, where)
    return flows.done()


def _hints(flows: Flows, where: Group) -> None:
    """Which ACLs a packet could hit, from its conntrack state; here only kept for the stages that read them."""
    rows = (
        (7, "ct.new && !ct.est", (HINT_ALLOW_NEW, HINT_DROP)),
        (6, "!ct.new && ct.est && !ct.rpl && ct_mark.blocked == 1", (HINT_ALLOW_NEW, HINT_DROP)),
        (5, "!ct.trk", (HINT_ALLOW, HINT_DROP)),
        (4, "!ct.new && ct.est && !ct.rpl && ct_mark.blocked == 0", (HINT_ALLOW, HINT_BLOCK)),
        (3, "!ct.est", (HINT_DROP,)),
        (2, "ct.est && ct_mark.blocked == 1", (HINT_DROP,)),
        (1, "ct.est && ct_mark.blocked == 0", (HINT_BLOCK,)),
        (0, "1", ()),
    )
    for stage in (Stage.LS_IN_ACL_HINT, Stage.LS_OUT_ACL_HINT):
        for priority, match, bits in rows:
            flows.add(where, stage, priority, match, "".join(f"{bit} = 1; " for bit in bits) + "next;")


def _acl(flows: Flows, where: Group, ct_inv: bool) -> None:
    """No ACLs, but connections are committed, and invalid packets dropped."""
    not_invalid = " && !ct.inv" if ct_inv else ""
    blocked_reply = "(ct.est && ct.rpl && ct_mark.blocked == 1)"
    reply = f"ct.est && !ct.rel && !ct.new{not_invalid} && ct.rpl && ct_mark.blocked == 0"
    related = f"!ct.est && ct.rel && !ct.new{not_invalid} && ct_mark.blocked == 0"
    for stage in (Stage.LS_IN_ACL, Stage.LS_OUT_ACL):
        flows.add(where, stage, 0, "1", "next;")
        flows.add(where, stage, 1, "ip && ct.est && ct_mark.blocked == 1", _COMMIT)
        flows.add(where, stage, 1, "ip && !ct.est", _COMMIT)
        flows.add(where, stage, 65532, ("ct.inv || " if ct_inv else "") + blocked_reply, "drop;")
    clear = f"{HINT_DROP} = 0; {HINT_BLOCK} = 0; {HINT_ALLOW_RELATED} = 1; next;"
    flows.add(where, Stage.LS_IN_ACL, 65532, reply, clear)
    flows.add(where, Stage.LS_OUT_ACL, 65532, reply, "next;")
    flows.add(where, Stage.LS_IN_ACL, 65532, related, f"{HINT_ALLOW_RELATED} = 1; ct_commit_nat;")
    flows.add(where, Stage.LS_OUT_ACL, 65532, related, "ct_commit_nat;")
    flows.add(where, Stage.LS_IN_ACL_AFTER_LB, 65532, f"{HINT_ALLOW_RELATED} == 1", "next;")
    flows.add(where, Stage.LS_IN_ACL, 34000, _TO_MONITOR, "next;")
    flows.add(where, Stage.LS_OUT_ACL, 34000, _FROM_MONITOR, "next;")


def _hairpin(flows: Flows, where: Group) -> None:
    """A client that is balanced to itself gets its packet back with the VIP as source."""
    source = f"Logical_Switch/{where[0].name}" if len(where) == 1 else ""
    check = f"{HAIRPIN} = chk_lb_hairpin(); {HAIRPIN_REPLY} = chk_lb_hairpin_reply(); next;"
    flows.add(where, Stage.LS_IN_PRE_HAIRPIN, 100, "ip && ct.trk", check, source)
    nat = Stage.LS_IN_NAT_HAIRPIN
    flows.add(where, nat, 100, f"ip && ct.new && ct.trk && {HAIRPIN} == 1", "ct_snat_to_vip; next;", source)
    flows.add(where, nat, 100, f"ip && ct.est && ct.trk && {HAIRPIN} == 1", "ct_snat;", source)
    flows.add(where, nat, 90, f"ip && {HAIRPIN_REPLY} == 1", "ct_snat;", source)
    turn = "eth.dst <-> eth.src; outport = inport; flags.loopback = 1; output;"
    flows.add(where, Stage.LS_IN_HAIRPIN, 1, f"({HAIRPIN} == 1 || {HAIRPIN_REPLY} == 1)", turn)
