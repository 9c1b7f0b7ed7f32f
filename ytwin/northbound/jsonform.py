"""A Northbound as stable JSON, and back.

Form (version 1)::

    {"format": "ytwin-northbound", "version": 1, "schema": "23.03",
     "nb_global": {"options": {NAME: VALUE}},
     "tables": {TABLE: [{COLUMN: VALUE, ...}, ...]}}

Tables and columns carry OVN's names; every column is always there. Maps are objects with sorted keys, sets are lists, an absent
optional value is null. Instead of UUIDs a child names its parent (`switch`, `router`, `port`), and references are names. Tables
without rows are left out, rows are sorted by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from frozendict import frozendict

from ytwin.core.errors import Unsupported
from ytwin.northbound.rows import TABLES, Northbound, Row, columns_of

FORMAT = "ytwin-northbound"
VERSION = 1


def row_to_json(row: Row) -> dict[str, Any]:
    """One row's columns."""
    return {name: plain(getattr(row, name)) for name in columns_of(type(row))}


def plain(value: object) -> Any:
    """A column's value as JSON."""
    if isinstance(value, Mapping):
        return {key: value[key] for key in sorted(value)}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def to_json(nb: Northbound) -> dict[str, Any]:
    """A Northbound as the JSON value that this module's docstring describes."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for kind in TABLES:
        rows = sorted(nb.of_type(kind), key=lambda row: row.key)
        if rows:
            tables[kind.table] = [row_to_json(row) for row in rows]
    return {
        "format": FORMAT,
        "version": VERSION,
        "schema": "23.03",
        "nb_global": {"options": plain(nb.options)},
        "tables": tables,
    }


def from_json(value: Mapping[str, Any]) -> Northbound:
    """The Northbound that `to_json` made `value` from. Unsupported for another format, version, table or column."""
    if value.get("format") != FORMAT or value.get("version") != VERSION:
        raise Unsupported(f"not {FORMAT} version {VERSION}: {value.get('format')!r} version {value.get('version')!r}")
    kinds = {kind.table: kind for kind in TABLES}
    rows: list[Row] = []
    for table, found in value["tables"].items():
        if table not in kinds:
            raise Unsupported(f"unknown table {table}")
        rows.extend(_row(kinds[table], columns) for columns in found)
    return Northbound.of(rows, frozendict(value["nb_global"]["options"]))


def _row(kind: type[Row], columns: Mapping[str, Any]) -> Row:
    unknown = columns.keys() - set(columns_of(kind))
    if unknown:
        raise Unsupported(f"{kind.table} has no column {', '.join(sorted(unknown))}")
    return kind(**{name: _frozen(value) for name, value in columns.items()})


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return frozendict(value)
    return tuple(value) if isinstance(value, list) else value
