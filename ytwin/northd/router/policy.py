"""POLICY and POLICY_ECMP: Logical_Router_Policy rows (allow, drop, reroute to one or several next hops)."""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.northbound.rows import RouterPolicy
from ytwin.northd.balancers import number
from ytwin.northd.router import registers as reg
from ytwin.northd.router.flow import DROP, Flow, default_drop
from ytwin.northd.router.view import RouterView
from ytwin.northd.stages import Stage


def policy_flows(router: RouterView) -> Iterator[Flow]:
    """All policies. ECMP groups are numbered from 1 in the order of rows (northd: of their UUIDs)."""
    yield Flow(Stage.LR_IN_POLICY, 0, "1", f"{reg.ECMP_GROUP_ID} = 0; next;")
    yield Flow(Stage.LR_IN_POLICY_ECMP, 150, f"{reg.ECMP_GROUP_ID} == 0", "next;")
    yield default_drop(Stage.LR_IN_POLICY_ECMP)
    group_id = 0
    for policy in router.policies:
        if policy.action == "reroute" and len(set(policy.nexthops)) > 1:
            group_id += 1
            yield from _ecmp_policy(router, policy, group_id)
        else:
            yield from _simple_policy(router, policy)


def _mark(policy: RouterPolicy) -> str:
    mark = number(policy.options.get("pkt_mark"))
    return f"pkt.mark = {mark}; " if mark else ""


def _way(router: RouterView, nexthop: str) -> str | None:
    """The actions that send a packet to `nexthop`, or None if no port of the router is on its network."""
    version = 4 if "." in nexthop else 6
    port, source_ip = router.port_set.port_towards(nexthop)
    if port is None:
        return None
    return (
        f"{reg.NEXT_HOP[version]} = {nexthop}; {reg.SRC[version]} = {source_ip}; eth.src = {port.mac}; "
        f"outport = {port.key}; flags.loopback = 1; "
    )


def _simple_policy(router: RouterView, policy: RouterPolicy) -> Iterator[Flow]:
    if policy.action == "drop":
        actions = DROP
    elif policy.action == "allow":
        actions = f"{_mark(policy)}{reg.ECMP_GROUP_ID} = 0; next;"
    else:
        way = _way(router, policy.nexthops[0]) if policy.nexthops else None
        if way is None:
            return
        actions = f"{_mark(policy)}{way}{reg.ECMP_GROUP_ID} = 0; next;"
    yield Flow(Stage.LR_IN_POLICY, policy.priority, policy.match, actions, str(policy.key))


def _ecmp_policy(router: RouterView, policy: RouterPolicy, group_id: int) -> Iterator[Flow]:
    """Members in OVSDB's order (sorted). An unreachable next hop ends the group; what came before it stays, as in northd."""
    nexthops = sorted(set(policy.nexthops))
    if len({"." in nexthop for nexthop in nexthops}) > 1:
        return
    source = str(policy.key)
    for member, nexthop in enumerate(nexthops, 1):
        way = _way(router, nexthop)
        if way is None:
            return
        match = f"{reg.ECMP_GROUP_ID} == {group_id} && {reg.ECMP_MEMBER_ID} == {member}"
        yield Flow(Stage.LR_IN_POLICY_ECMP, 100, match, f"{_mark(policy)}{way}next;", source)
    chosen = ", ".join(str(member) for member in range(1, len(nexthops) + 1))
    actions = f"{reg.ECMP_GROUP_ID} = {group_id}; {reg.ECMP_MEMBER_ID} = select({chosen});"
    yield Flow(Stage.LR_IN_POLICY, policy.priority, policy.match, actions, source)
