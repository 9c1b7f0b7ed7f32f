"""Rows of the OVN_Northbound database (schema of OVN 23.03) with natural keys instead of UUIDs.

Each row is frozen, knows its table name and its key; a reference is the referred row's key. Column names are OVN's.
A child that OVN stores in its parent's column (ports, static_routes, policies, gateway_chassis) names its parent here.
Every row's `external_ids` carry owner, kind, namespace and name (`object`) of the Kubernetes object it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import ClassVar, NamedTuple, TypeAlias, TypeVar

from frozendict import frozendict

from ytwin.core.tables import format_table

Strings: TypeAlias = frozendict[str, str]
EMPTY: Strings = frozendict()


class RowKey(NamedTuple):
    """Table and natural key of a row, e.g. `Load_Balancer`, `default/ysvc1/tcp`."""

    table: str
    name: str

    def __str__(self) -> str:
        return f"{self.table}/{self.name}"


@dataclass(frozen=True, slots=True)
class LogicalSwitch:
    table: ClassVar[str] = "Logical_Switch"
    name: str
    load_balancer: tuple[str, ...] = ()
    """Names of Load_Balancer rows applied to this switch directly."""
    load_balancer_group: tuple[str, ...] = ()
    other_config: Strings = EMPTY
    external_ids: Strings = EMPTY

    @property
    def key(self) -> RowKey:
        return RowKey(self.table, self.name)


@dataclass(frozen=True, slots=True)
class LogicalSwitchPort:
    """`type` is "" (VIF), "router" or "localnet"; `addresses` in OVN's form: "MAC IP IP", "router", "unknown"."""

    table: ClassVar[str] = "Logical_Switch_Port"
    name: str
    switch: str
    type: str = ""
    addresses: tuple[str, ...] = ()
    port_security: tuple[str, ...] = ()
    options: Strings = EMPTY
    tag: int | None = None
    external_ids: Strings = EMPTY

    @property
    def key(self) -> RowKey:
        return RowKey(self.table, self.name)


@dataclass(frozen=True, slots=True)
class LogicalRouter:
    """`options:chassis` makes it a gateway router."""

    table: ClassVar[str] = "Logical_Router"
    name: str
    load_balancer: tuple[str, ...] = ()
    load_balancer_group: tuple[str, ...] = ()
    options: Strings = EMPTY
    external_ids: Strings = EMPTY

    @property
    def key(self) -> RowKey:
        return RowKey(self.table, self.name)


@dataclass(frozen=True, slots=True)
class LogicalRouterPort:
    """`networks` as "IP/LEN"; a port that GatewayChassis rows name is a distributed gateway port (DGP)."""

    table: ClassVar[str] = "Logical_Router_Port"
    name: str
    router: str
    mac: str
    networks: tuple[str, ...]
    options: Strings = EMPTY
    external_ids: Strings = EMPTY

    @property
    def key(self) -> RowKey:
        return RowKey(self.table, self.name)


@dataclass(frozen=True, slots=True)
class GatewayChassis:
    """A candidate chassis of a DGP; the highest priority (0..32767) that is alive hosts the port."""

    table: ClassVar[str] = "Gateway_Chassis"
    port: str
    chassis_name: str
    priority: int
    external_ids: Strings = EMPTY

    @property
    def name(self) -> str:
        return f"{self.port}-{self.chassis_name}"

    @property
    def key(self) -> RowKey:
        return RowKey(self.table, self.name)


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """`policy` is "dst-ip" or "src-ip"; `nexthop` an address or "discard"; `output_port` may be empty."""

    table: ClassVar[str] = "Logical_Router_Static_Route"
    router: str
    ip_prefix: str
    nexthop: str
    output_port: str = ""
    policy: str = "dst-ip"
    route_table: str = ""
    options: Strings = EMPTY
    external_ids: Strings = EMPTY

    @property
    def key(self) -> RowKey:
        parts = (self.router, self.route_table, self.policy, self.ip_prefix, self.nexthop, self.output_port)
        return RowKey(self.table, "|".join(parts))


@dataclass(frozen=True, slots=True)
class RouterPolicy:
    """`action` is "allow", "drop" or "reroute" (then `nexthops`)."""

    table: ClassVar[str] = "Logical_Router_Policy"
    router: str
    priority: int
    match: str
    action: str
    nexthops: tuple[str, ...] = ()
    options: Strings = EMPTY
    external_ids: Strings = EMPTY

    @property
    def key(self) -> RowKey:
        return RowKey(self.table, f"{self.router}|{self.priority}|{self.match}")


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """`vips`: "IP:PORT" or "[IP6]:PORT" to "IP:PORT,IP:PORT" (empty: no backend). `protocol`: tcp, udp or sctp."""

    table: ClassVar[str] = "Load_Balancer"
    name: str
    vips: Strings
    protocol: str = "tcp"
    selection_fields: tuple[str, ...] = ()
    """Sorted; empty means dp_hash."""
    options: Strings = EMPTY
    external_ids: Strings = EMPTY

    @property
    def key(self) -> RowKey:
        return RowKey(self.table, self.name)


@dataclass(frozen=True, slots=True)
class LoadBalancerGroup:
    """In OVN 23.03 this table has no external_ids: ownership is told by the name alone."""

    table: ClassVar[str] = "Load_Balancer_Group"
    name: str
    load_balancer: tuple[str, ...] = ()

    @property
    def key(self) -> RowKey:
        return RowKey(self.table, self.name)


Row: TypeAlias = (
    LogicalSwitch
    | LogicalSwitchPort
    | LogicalRouter
    | LogicalRouterPort
    | GatewayChassis
    | StaticRoute
    | RouterPolicy
    | LoadBalancer
    | LoadBalancerGroup
)
R = TypeVar("R", bound=Row)

TABLES: tuple[type[Row], ...] = (
    LogicalRouter,
    LogicalRouterPort,
    GatewayChassis,
    StaticRoute,
    RouterPolicy,
    LogicalSwitch,
    LogicalSwitchPort,
    LoadBalancer,
    LoadBalancerGroup,
)
"""Every table, in the order a person reads them."""


@dataclass(frozen=True)
class Northbound:
    """All rows by key, plus NB_Global.options."""

    rows: Mapping[RowKey, Row] = field(default_factory=dict)
    options: Strings = EMPTY

    @classmethod
    def of(cls, rows: Iterable[Row], options: Strings = EMPTY) -> Northbound:
        """Collect rows; two different rows under one key are a programming error."""
        table: dict[RowKey, Row] = {}
        for row in rows:
            assert table.setdefault(row.key, row) == row, f"two rows under {row.key}"
        return cls(table, options)

    @classmethod
    def assembled(cls, rows: Mapping[RowKey, Row], tables: Mapping[str, list[Row]], options: Strings) -> Northbound:
        """A Northbound whose tables are known already: `tables` must hold the very rows of `rows`, by table name."""
        made = cls(rows, options)
        made.__dict__["_tables"] = {name: found for name, found in tables.items() if found}
        return made

    @cached_property
    def _tables(self) -> dict[str, list[Row]]:
        tables: dict[str, list[Row]] = {}
        for key, row in self.rows.items():
            tables.setdefault(key.table, []).append(row)
        return tables

    def of_type(self, kind: type[R]) -> Iterator[R]:
        """Rows of one table in insertion order."""
        return (row for row in self._tables.get(kind.table, ()) if isinstance(row, kind))

    def __str__(self) -> str:
        """Every table that has rows, then NB_Global.options: sorted, so that equal Northbounds print the same text."""
        blocks = [_table_text(self._tables[kind.table]) for kind in TABLES if kind.table in self._tables]
        if self.options:
            blocks.append("NB_Global\n" + format_table(("option", "value"), sorted(self.options.items())))
        return "\n\n".join(blocks)


def columns_of(kind: type[Row]) -> tuple[str, ...]:
    """A table's columns in the order they are declared."""
    return tuple(column.name for column in fields(kind))


def cell(value: object) -> str:
    """A column's value in one line for people: `a, b` for a set, `k=v` for a map, `-` for nothing."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={value[key]}" for key in sorted(value)) or "-"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None or value == "" else str(value)


def _table_text(rows: list[Row]) -> str:
    """One table, sorted by key; external_ids as the object they name."""
    names = columns_of(type(rows[0]))
    shown = [name for name in names if name != "external_ids"]
    lines = [[cell(getattr(row, name)) for name in shown] for row in sorted(rows, key=lambda row: row.key)]
    if "external_ids" in names:
        shown.append("object")
        for line, row in zip(lines, sorted(rows, key=lambda row: row.key), strict=True):
            ids = getattr(row, "external_ids", EMPTY)
            line.append(
                "/".join(part for part in (ids.get(key, "") for key in ("kind", "namespace", "object")) if part) or "-"
            )
    return f"{rows[0].table}\n{format_table(shown, lines)}"
