"""Northbound rows as operations of an OVSDB `transact` request (RFC 7047, section 5.2).

A reference between rows is the UUID of a row that exists, or a named-uuid of a row that the same transaction inserts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ytwin.core.plan import Plan
from ytwin.northbound.rows import (
    GatewayChassis,
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    RouterPolicy,
    Row,
    RowKey,
    StaticRoute,
)

Operation: TypeAlias = dict[str, Any]
Value: TypeAlias = Any
"""A column's value in OVSDB's JSON notation."""


# Tuples, because a union of types is made anew whenever it is evaluated, and this runs for every row.
_NAMELESS = (StaticRoute, RouterPolicy)
_BALANCED = (LogicalSwitch, LogicalRouter)
_BALANCING = (LogicalSwitch, LogicalRouter, LoadBalancerGroup)
_WITHOUT_OPTIONS = (LogicalSwitch, GatewayChassis, LoadBalancerGroup)


def encode_map(items: Mapping[str, str]) -> Value:
    """`["map", [[key, value], ...]]`."""
    return ["map", [[k, v] for k, v in items.items()]]


def encode_set(items: Iterable[Value]) -> Value:
    """`["set", [...]]`."""
    return ["set", list(items)]


def parent_of(row: Row) -> tuple[RowKey, str] | None:
    """The row whose column holds `row`, and that column; None for rows that stand alone."""
    match row:
        case LogicalSwitchPort():
            return RowKey(LogicalSwitch.table, row.switch), "ports"
        case LogicalRouterPort():
            return RowKey(LogicalRouter.table, row.router), "ports"
        case StaticRoute():
            return RowKey(LogicalRouter.table, row.router), "static_routes"
        case RouterPolicy():
            return RowKey(LogicalRouter.table, row.router), "policies"
        case GatewayChassis():
            return RowKey(LogicalRouterPort.table, row.port), "gateway_chassis"
    return None


def columns_of(row: Row, refs: Mapping[RowKey, Value]) -> dict[str, Value]:
    """The row's own columns (not those that hold its children), every one of them, so that an update also clears."""

    def refer(table: str, names: Iterable[str]) -> Value:
        return encode_set(refs[RowKey(table, name)] for name in names)

    columns: dict[str, Value] = {"name": row.name} if not isinstance(row, _NAMELESS) else {}
    match row:
        case LogicalSwitch():
            columns["other_config"] = encode_map(row.other_config)
        case LogicalSwitchPort():
            columns["type"] = row.type
            columns["addresses"] = encode_set(row.addresses)
            columns["port_security"] = encode_set(row.port_security)
            columns["tag"] = encode_set(() if row.tag is None else (row.tag,))
        case LogicalRouterPort():
            columns["mac"] = row.mac
            columns["networks"] = encode_set(row.networks)
        case GatewayChassis():
            columns["chassis_name"] = row.chassis_name
            columns["priority"] = row.priority
        case StaticRoute():
            columns["ip_prefix"] = row.ip_prefix
            columns["nexthop"] = row.nexthop
            columns["output_port"] = encode_set((row.output_port,) if row.output_port else ())
            columns["policy"] = row.policy
            columns["route_table"] = row.route_table
        case RouterPolicy():
            columns["priority"] = row.priority
            columns["match"] = row.match
            columns["action"] = row.action
            columns["nexthops"] = encode_set(row.nexthops)
        case LoadBalancer():
            columns["vips"] = encode_map(row.vips)
            columns["protocol"] = row.protocol
            columns["selection_fields"] = encode_set(row.selection_fields)
        case _:
            pass
    if isinstance(row, _BALANCED):
        columns["load_balancer_group"] = refer(LoadBalancerGroup.table, row.load_balancer_group)
    if isinstance(row, _BALANCING):
        columns["load_balancer"] = refer(LoadBalancer.table, row.load_balancer)
    if not isinstance(row, _WITHOUT_OPTIONS):
        columns["options"] = encode_map(row.options)
    if not isinstance(row, LoadBalancerGroup):
        columns["external_ids"] = encode_map(row.external_ids)
    return columns


def _named(keys: Iterable[RowKey]) -> dict[RowKey, Value]:
    return {key: ["named-uuid", f"row{i}"] for i, key in enumerate(keys)}


def insert_all(northbound: Northbound) -> list[Operation]:
    """One `insert` per row, in the order of `northbound.rows`, for a database that holds none of them."""
    refs = _named(northbound.rows)
    children: dict[RowKey, dict[str, list[Value]]] = {}
    for key, row in northbound.rows.items():
        parent = parent_of(row)
        if parent is not None:
            children.setdefault(parent[0], {}).setdefault(parent[1], []).append(refs[key])
    operations = []
    for key, row in northbound.rows.items():
        columns = columns_of(row, refs)
        columns.update((column, encode_set(refs_)) for column, refs_ in children.get(key, {}).items())
        operations.append({"op": "insert", "table": row.table, "uuid-name": refs[key][1], "row": columns})
    return operations


def plan_operations(plan: Plan[RowKey, Row], uuids: Mapping[RowKey, str]) -> list[Operation]:
    """Operations that carry out `plan` on a database whose rows have `uuids`.

    Inserts come first and in plan order (`inserted_keys` names them), then updates, then children put into and taken out of
    parents that stay, then deletions. A child whose parent is deleted goes with it.
    """
    created = inserted_keys(plan)
    new = _named(created)
    refs: dict[RowKey, Value] = {key: ["uuid", uuid] for key, uuid in uuids.items()} | new
    inserts: list[Operation] = []
    rest: list[Operation] = []
    mutations: dict[tuple[RowKey, str], list[list[Value]]] = {}
    children: dict[RowKey, dict[str, list[Value]]] = {}
    deleted = {change.key for change in plan if change.after is None}
    for change in plan:
        row = change.after or change.before
        assert row is not None
        parent = parent_of(row)
        if change.before is None and parent is not None:
            holder, column = parent
            if holder in new:
                children.setdefault(holder, {}).setdefault(column, []).append(refs[change.key])
            else:
                mutations.setdefault(parent, []).append([column, "insert", encode_set([refs[change.key]])])
        elif change.after is None and parent is not None and parent[0] not in deleted:
            mutations.setdefault(parent, []).append([parent[1], "delete", encode_set([refs[change.key]])])
        elif change.after is None and parent is None:
            rest.append({"op": "delete", "table": row.table, "where": [_is(refs[change.key])]})
        elif change.before is not None and change.after is not None:
            if parent_of(change.before) != parent:
                moved = parent_of(change.before)
                assert moved is not None
                assert parent is not None
                mutations.setdefault(moved, []).append([moved[1], "delete", encode_set([refs[change.key]])])
                mutations.setdefault(parent, []).append([parent[1], "insert", encode_set([refs[change.key]])])
            changed = _changed(change.before, change.after, refs)
            rest.insert(0, {"op": "update", "table": row.table, "where": [_is(refs[change.key])], "row": changed})
    for key, change in ((c.key, c) for c in plan if c.before is None):
        assert change.after is not None
        columns = columns_of(change.after, refs)
        columns.update((column, encode_set(refs_)) for column, refs_ in children.get(key, {}).items())
        inserts.append({"op": "insert", "table": key.table, "uuid-name": new[key][1], "row": columns})
    moves = [
        {"op": "mutate", "table": holder.table, "where": [_is(refs[holder])], "mutations": list_}
        for (holder, _), list_ in mutations.items()
    ]
    return inserts + moves + rest


def inserted_keys(plan: Plan[RowKey, Row]) -> list[RowKey]:
    """Keys of the rows that `plan` creates, in the order of its inserts."""
    return [change.key for change in plan if change.before is None]


def _is(ref: Value) -> Value:
    return ["_uuid", "==", ref]


def _changed(before: Row, after: Row, refs: Mapping[RowKey, Value]) -> dict[str, Value]:
    """Columns of `after` that differ from `before`, which may refer to rows that are gone."""
    known: dict[RowKey, Value] = dict(refs)
    old = columns_of(before, _Anything(known))
    return {column: value for column, value in columns_of(after, refs).items() if old.get(column) != value}


class _Anything(dict[RowKey, Value]):
    """References of a row's past: what is unknown by now differs from everything."""

    def __missing__(self, key: RowKey) -> Value:
        return ["gone", str(key)]
