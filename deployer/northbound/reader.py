"""What a Northbound holds of one deployment, with the UUIDs that a writer needs.

Everything is read in one transaction, by `select` with the deployment's marks, so other people's rows are not even sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from frozendict import frozendict

from deployer.northbound.ledger import OUR_IDS, Ledger, marks
from deployer.ovsdb_json import Operation, encode_map
from deployer.target import SETS, GlobalOption, Item
from ytwin.northbound.rows import (
    TABLES,
    GatewayChassis,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    RouterPolicy,
    Row,
    RowKey,
    StaticRoute,
    columns_of,
)

RawRow: TypeAlias = Mapping[str, Any]
Ask: TypeAlias = Callable[[Sequence[Operation]], Sequence[Mapping[str, Any]]]
"""Carries out `select` operations in one transaction: their results."""

KINDS: Mapping[str, type[Row]] = {kind.table: kind for kind in TABLES}
MAPS = frozenset({"vips", "options", "other_config", "external_ids"})
REFERENCES: Mapping[str, str] = {"load_balancer": "Load_Balancer", "load_balancer_group": "Load_Balancer_Group"}
PARENTS: Mapping[str, tuple[str, str, str]] = {
    LogicalSwitchPort.table: (LogicalSwitch.table, "ports", "switch"),
    LogicalRouterPort.table: (LogicalRouter.table, "ports", "router"),
    StaticRoute.table: (LogicalRouter.table, "static_routes", "router"),
    RouterPolicy.table: (LogicalRouter.table, "policies", "router"),
    GatewayChassis.table: (LogicalRouterPort.table, "gateway_chassis", "port"),
}
"""Table of a child -> its parent's table, the parent's column, and our field that names the parent."""
STRONG: Mapping[str, tuple[str, ...]] = {
    LogicalSwitch.table: ("ports", "acls", "qos_rules", "forwarding_groups"),
    LogicalRouter.table: ("ports", "static_routes", "policies", "nat"),
    LogicalRouterPort.table: ("gateway_chassis",),
}
"""Columns whose rows end with the row that has them."""
_BY_NAME = frozenset({*REFERENCES.values(), *(parent for parent, _, _ in PARENTS.values()), LogicalSwitchPort.table})
_COMPUTED = {GatewayChassis.table: ("name",)}


@dataclass(frozen=True, slots=True)
class Live:
    """One deployment in one Northbound at one moment."""

    ledger: Ledger
    global_uuid: str
    """UUID of the NB_Global row; "" if there is none yet."""
    options: Mapping[str, str]
    """NB_Global.options, of everybody."""
    state: dict[RowKey, Item] = field(default_factory=dict)
    uuids: dict[RowKey, str] = field(default_factory=dict)
    raw: dict[str, RawRow] = field(default_factory=dict)
    """Every row that was read, as it was read."""
    holders: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Child's UUID -> its parent's table and UUID."""


def members(value: Any) -> list[Any]:
    """The values of a column that is a set, however many it has."""
    if isinstance(value, list) and value and value[0] == "set":
        return list(value[1])
    return [value]


def uuids_in(value: Any) -> list[str]:
    """UUIDs in a column that refers to rows."""
    return [item[1] for item in members(value)]


def includes(column: str, items: Mapping[str, str]) -> list[Any]:
    """Condition: a map has at least these pairs."""
    return [column, "includes", encode_map(items)]


def select(table: str, where: Sequence[Any], columns: Iterable[str]) -> Operation:
    """A `select` operation that also gives UUIDs."""
    return {"op": "select", "table": table, "where": list(where), "columns": ["_uuid", *columns]}


_GLOBAL = select("NB_Global", (), ("options", "external_ids"))


def read_live(ask: Ask, deployment: str, schema: Mapping[str, Any]) -> Live:
    """Read everything that belongs to `deployment`."""
    ledger = _start(deployment, ask([_GLOBAL])[0]["rows"]).ledger
    while True:
        selects = _selects(ledger, schema)
        answers = ask([_GLOBAL, *selects])
        live = _start(deployment, answers[0]["rows"])
        if live.ledger.entries == ledger.entries:  # else somebody was between the two requests
            break
        ledger = live.ledger
    found = [
        (operation["table"], row)
        for operation, answer in zip(selects, answers[1:], strict=True)
        for row in answer["rows"]
    ]
    for table, row in found:
        _remember(live, table, row)
    _find_lost_parents(live, ask, [(table, row["_uuid"][1]) for table, row in found])
    _decode_all(live, found)
    return live


def _start(deployment: str, rows: Sequence[RawRow]) -> Live:
    if not rows:
        return Live(Ledger(deployment), "", {})
    (row,) = rows
    return Live(Ledger.read(deployment, dict(row["external_ids"][1])), row["_uuid"][1], dict(row["options"][1]))


def _selects(ledger: Ledger, schema: Mapping[str, Any]) -> list[Operation]:
    ours = [includes("external_ids", marks(ledger.deployment))]
    selects = [
        select(table, ours, columns_needed(table, schema)) for table in KINDS if table != LoadBalancerGroup.table
    ]
    for key in ledger.entries:
        if key.table in KINDS:
            selects.append(select(key.table, [["name", "==", key.name]], columns_needed(key.table, schema)))
    return selects


def columns_needed(table: str, schema: Mapping[str, Any]) -> list[str]:
    """Columns of a table that are read: ours, and those with children."""
    own = {name for name in columns_of(KINDS[table]) if table not in PARENTS or name != PARENTS[table][2]}
    present = schema["tables"][table]["columns"]
    return sorted(own.union(_COMPUTED.get(table, ())) | {name for name in STRONG.get(table, ()) if name in present})


def _remember(live: Live, table: str, row: RawRow) -> None:
    uuid = row["_uuid"][1]
    live.raw[uuid] = row
    for column in STRONG.get(table, ()):
        for child in uuids_in(row.get(column, ["set", []])):
            live.holders[child] = (table, uuid)


def _find_lost_parents(live: Live, ask: Ask, rows: Sequence[tuple[str, str]]) -> None:
    """Rows of ours that somebody put into a parent that is not ours: find that parent too."""
    lost = {table for table, uuid in rows if table in PARENTS and uuid not in live.holders}
    selects = [select(PARENTS[table][0], (), ("name", PARENTS[table][1])) for table in sorted(lost)]
    for operation, answer in zip(selects, ask(selects) if selects else (), strict=True):
        for row in answer["rows"]:
            live.raw.setdefault(row["_uuid"][1], row)
            for child in uuids_in(row[operation["columns"][2]]):
                live.holders.setdefault(child, (operation["table"], row["_uuid"][1]))


def _decode_all(live: Live, found: Sequence[tuple[str, RawRow]]) -> None:
    rows = {raw["_uuid"][1]: (table, raw) for table, raw in found}
    # References and parents go by key: first all keys that are names.
    keys: dict[str, RowKey] = {}
    for uuid, (table, raw) in rows.items():
        if table in _BY_NAME:
            keys[uuid] = _free(live, RowKey(table, raw["name"]))
            live.uuids[keys[uuid]] = uuid
    for uuid, (table, raw) in rows.items():
        row = _decode(live, table, raw, keys)
        key = keys[uuid] if uuid in keys else _free(live, row.key)
        live.state[key] = row
        live.uuids[key] = uuid
    for key in live.ledger.entries:
        if key.table == GlobalOption.table and key.name in live.options:
            live.state[key] = GlobalOption(key.name, live.options[key.name])


def _free(live: Live, key: RowKey) -> RowKey:
    """The key, or for a copy that somebody made one that no topology wants, so that the copy goes."""
    copy, free = 1, key
    while free in live.uuids:
        copy += 1
        free = RowKey(key.table, f"{key.name}#{copy}")
    return free


def _decode(live: Live, table: str, raw: RawRow, keys: Mapping[str, RowKey]) -> Row:
    values: dict[str, Any] = {}
    for column in columns_of(KINDS[table]):
        if column in REFERENCES:
            values[column] = tuple(sorted({keys[uuid].name for uuid in uuids_in(raw[column]) if uuid in keys}))
        elif column == "external_ids":
            ids = dict(raw[column][1])
            values[column] = frozendict({name: ids[name] for name in OUR_IDS if name in ids})
        elif column in MAPS:
            values[column] = frozendict(raw[column][1])
        elif column in SETS.get(table, ()):
            values[column] = tuple(sorted(members(raw[column])))
        elif table in PARENTS and column == PARENTS[table][2]:
            _, parent = live.holders.get(raw["_uuid"][1], ("", ""))
            values[column] = keys[parent].name if parent in keys else live.raw[parent]["name"] if parent else ""
        else:
            values[column] = _scalar(column, raw[column])
    key = RowKey(table, str(values.get("name", "")))
    if live.ledger.is_shared(key):
        for column, asked in live.ledger.asked(key).items():
            # Of a row of others we answer for what we asked for, not for what else is set in it.
            now = dict(raw[column][1])
            values[column] = asked if column == "external_ids" else frozendict({k: now[k] for k in asked if k in now})
    return KINDS[table](**values)


def _scalar(column: str, value: Any) -> Any:
    content = members(value)
    if not content:
        return None if column == "tag" else ""
    return content[0]
