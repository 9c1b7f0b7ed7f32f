"""Text of an OVN_Southbound of any version -> Southbound.

What the pipelines do not read is not looked at; a column that a version does not have is empty. Stages are known by
name, because their numbers move with every release.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from frozendict import frozendict

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.logical.ovsdb_text import Rows, Tables, bad, read_tables
from ytwin.logical.southbound import (
    DatapathId,
    LogicalFlow,
    MacBinding,
    MulticastGroup,
    PortBinding,
    SbLoadBalancer,
    Southbound,
)

T = TypeVar("T")

_KINDS = (("logical-switch", "switch"), ("logical-router", "router"))


def read_southbound(text: str, file: str = "") -> Southbound:
    """The Southbound in an `ovsdb-client -f json dump` or in a standalone database file.

    Raises InvalidInput with every problem; `file` is the name by which they call the text.
    """
    tables = read_tables(text, file)
    for needed in ("Datapath_Binding", "Logical_Flow", "Port_Binding"):
        if needed not in tables:
            hint = "is it an OVN_Southbound? ovsdb-client -f json dump SERVER OVN_Southbound"
            raise bad(f"there is no table {needed}", Location(file), hint)
    return _Reader(tables, file).southbound()


class _Bad(Exception):
    """A value that is not what its column must hold."""


class _Row:
    """Typed access to one row; a missing column reads as empty."""

    __slots__ = ("_columns", "table", "uuid")

    def __init__(self, table: str, uuid: str, columns: Mapping[str, Any]) -> None:
        self.table = table
        self.uuid = uuid
        self._columns = columns

    def _fail(self, column: str, wanted: str) -> _Bad:
        return _Bad(f"{column}: expected {wanted}, not {str(self._columns.get(column))[:80]!r}")

    def _atoms(self, column: str) -> list[Any]:
        value = self._columns.get(column, ["set", []])
        if isinstance(value, list):
            match value:
                case ["set", list(elements)]:
                    return elements
                case ["uuid", str()]:
                    return [value]
            raise self._fail(column, "a set")
        return [value]

    def texts(self, column: str) -> tuple[str, ...]:
        atoms = self._atoms(column)
        if not all(isinstance(a, str) for a in atoms):
            raise self._fail(column, "text")
        return tuple(sorted(atoms))

    def text(self, column: str) -> str:
        texts = self.texts(column)
        if len(texts) > 1:
            raise self._fail(column, "one text")
        return texts[0] if texts else ""

    def integer(self, column: str) -> int:
        atoms = self._atoms(column)
        if not atoms:
            return 0
        if len(atoms) > 1 or not isinstance(atoms[0], int) or isinstance(atoms[0], bool):
            raise self._fail(column, "an integer")
        return atoms[0]

    def flag(self, column: str) -> bool:
        return self._atoms(column) == [True]

    def refs(self, column: str) -> list[str]:
        result = []
        for atom in self._atoms(column):
            match atom:
                case ["uuid", str(uuid)]:
                    result.append(uuid)
                case _:
                    raise self._fail(column, "references")
        return result

    def map(self, column: str) -> frozendict[str, str]:
        match self._columns.get(column, ["map", []]):
            case ["map", list(pairs)]:
                if all(isinstance(p, list) and len(p) == 2 and all(isinstance(x, str) for x in p) for p in pairs):
                    return frozendict(dict(pairs))
        raise self._fail(column, "a map of texts")


class _Reader:
    """Reads table after table; problems are collected, one per row."""

    def __init__(self, tables: Tables, file: str) -> None:
        self._tables = tables
        self._file = file
        self._problems: list[Problem] = []
        self._datapaths = self._read_datapaths()
        self._chassis = dict(self._each("Chassis", lambda row: (row.uuid, row.text("name"))))
        self._groups = dict(self._each("Logical_DP_Group", lambda row: (row.uuid, self._ids(row, "datapaths"))))
        self._port_names = dict(self._each("Port_Binding", lambda row: (row.uuid, row.text("logical_port"))))

    def southbound(self) -> Southbound:
        flows = _sorted(self._each("Logical_Flow", self._flow), _flow_key)
        ports = tuple(self._each("Port_Binding", self._port))
        result = Southbound(
            flows=flows,
            datapaths=tuple(sorted(self._datapaths.values())),
            ports=frozendict({port.name: port for port in sorted(ports, key=lambda p: p.name)}),
            multicast_groups=_sorted(self._each("Multicast_Group", self._multicast_group), _group_key),
            load_balancers=_sorted(self._each("Load_Balancer", self._load_balancer), lambda lb: (lb.name, lb.protocol)),
            mac_bindings=self._mac_bindings(),
            address_sets=self._sets("Address_Set", "addresses"),
            port_groups=self._sets("Port_Group", "ports"),
        )
        if self._problems:
            raise InvalidInput(self._problems)
        return result

    def _each(self, table: str, read: Callable[[_Row], T]) -> Iterator[T]:
        """What `read` makes of each row; a row that cannot be read is a problem and left out."""
        rows: Rows = self._tables.get(table, {})
        for uuid, columns in rows.items():
            try:
                yield read(_Row(table, uuid, columns))
            except _Bad as error:
                where = Location(self._file, 0, f"{table}[{uuid[:40]}]")
                self._problems.append(Problem(where, "bad-southbound", str(error)))

    def _read_datapaths(self) -> dict[str, DatapathId]:
        found = dict(self._each("Datapath_Binding", lambda row: (row.uuid, _datapath(row))))
        uses = Counter(found.values())
        # Northbound names need not be unique, and OVN keeps such datapaths apart by UUID: so do we.
        return {
            uuid: id_ if uses[id_] == 1 else DatapathId(id_.kind, f"{id_.name}~{uuid[:8]}")
            for uuid, id_ in found.items()
        }

    def _id(self, uuid: str) -> DatapathId:
        try:
            return self._datapaths[uuid]
        except KeyError:
            raise _Bad(f"there is no datapath {uuid[:40]}") from None

    def _ids(self, row: _Row, column: str) -> tuple[DatapathId, ...]:
        return tuple(sorted({self._id(uuid) for uuid in row.refs(column)}))

    def _ids_of(self, row: _Row, columns: tuple[str, ...], group_columns: tuple[str, ...]) -> tuple[DatapathId, ...]:
        ids = {id_ for column in columns for id_ in self._ids(row, column)}
        for column in group_columns:
            for uuid in row.refs(column):
                if uuid not in self._groups:
                    raise _Bad(f"{column}: there is no datapath group {uuid[:40]}")
                ids.update(self._groups[uuid])
        return tuple(sorted(ids))

    def _one_id(self, row: _Row) -> DatapathId:
        ids = self._ids(row, "datapath")
        if len(ids) != 1:
            raise _Bad("datapath: expected one reference")
        return ids[0]

    def _flow(self, row: _Row) -> LogicalFlow:
        pipeline = row.text("pipeline")
        if pipeline not in ("ingress", "egress"):
            raise _Bad(f"pipeline: {pipeline[:40]!r} is neither ingress nor egress")
        external_ids = row.map("external_ids")
        return LogicalFlow(
            datapaths=self._ids_of(row, ("logical_datapath",), ("logical_dp_group",)),
            pipeline=pipeline,
            table=row.integer("table_id"),
            stage=external_ids.get("stage-name", ""),
            priority=row.integer("priority"),
            match=row.text("match"),
            actions=row.text("actions"),
            source=external_ids.get("stage-hint", ""),
        )

    def _port(self, row: _Row) -> PortBinding:
        chassis = [self._chassis.get(uuid, "") for uuid in row.refs("chassis")]
        return PortBinding(
            name=row.text("logical_port"),
            datapath=self._one_id(row),
            type=row.text("type"),
            mac=row.texts("mac"),
            port_security=row.texts("port_security"),
            options=row.map("options"),
            chassis=chassis[0] if chassis else "",
            gateway_chassis=self._gateway_chassis(row),
            tunnel_key=row.integer("tunnel_key"),
        )

    def _gateway_chassis(self, port: _Row) -> tuple[tuple[str, int], ...]:
        """Members of the port's HA group or, in older versions, of its own gateway_chassis column."""
        members = [("Gateway_Chassis", uuid) for uuid in port.refs("gateway_chassis")]
        for group in port.refs("ha_chassis_group"):
            columns = self._tables.get("HA_Chassis_Group", {}).get(group)
            if columns is None:
                raise _Bad(f"ha_chassis_group: there is no group {group[:40]}")
            group_row = _Row("HA_Chassis_Group", group, columns)
            members.extend(("HA_Chassis", uuid) for uuid in group_row.refs("ha_chassis"))
        found = set()
        for table, uuid in members:
            columns = self._tables.get(table, {}).get(uuid)
            if columns is None:
                raise _Bad(f"there is no {table} {uuid[:40]}")
            row = _Row(table, uuid, columns)
            names = [self._chassis.get(chassis, "") for chassis in row.refs("chassis")]
            # northd names a chassis that has not registered yet in external_ids only
            name = next(filter(None, names), row.map("external_ids").get("chassis-name", ""))
            found.add((name, row.integer("priority")))
        return tuple(sorted(found, key=lambda member: (-member[1], member[0])))

    def _multicast_group(self, row: _Row) -> MulticastGroup:
        uuids = row.refs("ports")
        if not all(uuid in self._port_names for uuid in uuids):
            raise _Bad("ports: a reference to a Port_Binding that is not there")
        names = sorted(self._port_names[uuid] for uuid in uuids)
        return MulticastGroup(self._one_id(row), row.text("name"), tuple(names))

    def _load_balancer(self, row: _Row) -> SbLoadBalancer:
        groups = ("datapath_group", "ls_datapath_group", "lr_datapath_group")
        return SbLoadBalancer(
            name=row.text("name"),
            vips=row.map("vips"),
            protocol=row.text("protocol"),
            options=row.map("options"),
            datapaths=self._ids_of(row, ("datapaths",), groups),
        )

    def _mac_bindings(self) -> tuple[MacBinding, ...]:
        """A given binding beats a learned one only if it says so (override_dynamic_mac)."""
        ranked: dict[tuple[str, str], tuple[int, str]] = {}
        for table, rank in (("MAC_Binding", 1), ("Static_MAC_Binding", 0)):
            for key, mac, override in self._each(table, _mac_binding):
                ranked[key] = max(ranked.get(key, (-1, "")), (2 if override else rank, mac))
        return tuple(MacBinding(port, ip, mac) for (port, ip), (_, mac) in sorted(ranked.items()))

    def _sets(self, table: str, column: str) -> frozendict[str, tuple[str, ...]]:
        found = self._each(table, lambda row: (row.text("name"), row.texts(column)))
        return frozendict(dict(sorted(found)))


def _datapath(row: _Row) -> DatapathId:
    external_ids = row.map("external_ids")
    name = external_ids.get("name") or external_ids.get("name2") or row.uuid
    for key, kind in _KINDS:
        # since 25.09 the table has a column `type`, and external_ids no longer tell
        if key in external_ids or row.text("type") == key:
            return DatapathId(kind, name)
    raise _Bad(f"datapath {name[:80]!r} is neither a logical switch nor a logical router")


def _mac_binding(row: _Row) -> tuple[tuple[str, str], str, bool]:
    return (row.text("logical_port"), row.text("ip")), row.text("mac"), row.flag("override_dynamic_mac")


def _flow_key(flow: LogicalFlow) -> tuple[Any, ...]:
    """In the order in which packets meet them; ends with everything else, so that no two readings differ."""
    here = (flow.pipeline != "ingress", flow.table, -flow.priority)
    return (*here, flow.match, flow.datapaths, flow.actions, flow.stage, flow.source)


def _group_key(group: MulticastGroup) -> tuple[DatapathId, str]:
    return group.datapath, group.name


def _sorted(items: Iterator[T], key: Callable[[T], Any]) -> tuple[T, ...]:
    return tuple(sorted(items, key=key))
