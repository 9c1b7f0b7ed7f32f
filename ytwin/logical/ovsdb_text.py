"""Text of an OVSDB database -> its rows. Two forms: `ovsdb-client -f json dump`, and a standalone database file.

Rows are kept as the text has them: a value is a JSON scalar, `["uuid", U]`, `["set", [...]]` or `["map", [[k, v], ...]]`
(RFC 7047, section 5.1). Any schema, any version: nothing here knows a table's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from ytwin.core.errors import InvalidInput, Location, Problem

Rows: TypeAlias = dict[str, dict[str, Any]]
"""UUID -> column -> value."""
Tables: TypeAlias = dict[str, Rows]
"""Table name -> rows; a column that has its default value may be missing."""

_RECORD = re.compile(r"OVSDB JSON (\d+) [0-9a-f]{40}\s*")
_CAPTION = " table"
_DECODER = json.JSONDecoder()


def read_tables(text: str, file: str = "") -> Tables:
    """All tables in `text`; raises InvalidInput if it is neither form. `file` names it in messages."""
    if text.startswith("OVSDB CLUSTER"):
        hint = "make a standalone copy first: ovsdb-tool cluster-to-standalone NEW.db THIS.db"
        raise bad("this is the log of a clustered database", Location(file, 1), hint)
    if text.startswith("OVSDB JSON"):
        return _replay(text, file)
    return _read_dump(text, file)


def bad(message: str, where: Location, hint: str = "") -> InvalidInput:
    """The one error of unreadable database text."""
    return InvalidInput([Problem(where, "bad-southbound", message, hint)])


def _read_dump(text: str, file: str) -> Tables:
    tables: Tables = {}
    for document, line in _documents(text, file):
        where = Location(file, line)
        if not isinstance(document, dict) or not {"caption", "headings", "data"} <= document.keys():
            hint = "expected the output of: ovsdb-client -f json dump SERVER OVN_Southbound"
            raise bad("not a table of an OVSDB dump", where, hint)
        caption, headings, data = (document[k] for k in ("caption", "headings", "data"))
        if not isinstance(caption, str) or not caption.endswith(_CAPTION):
            raise bad(f"caption {str(caption)[:80]!r} does not name a table", where)
        name = caption.removesuffix(_CAPTION)
        if not isinstance(headings, list) or "_uuid" not in headings or not all(isinstance(h, str) for h in headings):
            raise bad(f"table {name} has no column _uuid", where)
        if not isinstance(data, list):
            raise bad(f"data of table {name} is not a list", where)
        rows = tables.setdefault(name, {})
        for values in data:
            if not isinstance(values, list) or len(values) != len(headings):
                raise bad(f"a row of table {name} does not have {len(headings)} values", where)
            row = dict(zip(headings, values, strict=True))
            rows[_row_uuid(row.pop("_uuid"), name, where)] = row
    if not tables:
        raise bad("there is no table in it", Location(file))
    return tables


def _documents(text: str, file: str) -> Iterator[tuple[Any, int]]:
    """JSON documents that follow one another, each with the line it begins on."""
    position, line = 0, 1
    while True:
        begin = position
        while position < len(text) and text[position].isspace():
            position += 1
        line += text.count("\n", begin, position)
        if position == len(text):
            return
        document, end = _decode(text, position, line, file)
        yield document, line
        line += text.count("\n", position, end)
        position = end


def _decode(text: str, position: int, line: int, file: str) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        at = line + text.count("\n", position, error.pos)
        raise bad(f"not JSON: {error.msg}", Location(file, at)) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets nested thousands deep
        raise bad("not an OVSDB document: a number or a nesting without end", Location(file, line)) from None


def _row_uuid(value: Any, table: str, where: Location) -> str:
    match value:
        case ["uuid", str(uuid)]:
            return uuid
    raise bad(f"a row of table {table} has no UUID but {str(value)[:80]!r}", where)


# -- a standalone database file: the schema, then one record per transaction ----------------------------------------------


def _replay(text: str, file: str) -> Tables:
    composite: dict[tuple[str, str], bool] | None = None
    tables: Tables = {}
    lines = text.split("\n")
    for number in range(0, len(lines) - 1, 2):
        where = Location(file, number + 1)
        if not _RECORD.fullmatch(lines[number]):
            raise bad("not the head of a database record", where)
        record, _ = _decode(lines[number + 1], 0, number + 2, file)
        if not isinstance(record, dict):
            raise bad("a database record is not an object", where)
        if composite is None:
            composite = _composite_columns(record, where)
            tables = {table: {} for table, _ in composite}
        else:
            _apply(tables, record, composite, where)
    if composite is None:
        raise bad("a database file without a schema", Location(file, 1))
    return tables


def _composite_columns(schema: dict[str, Any], where: Location) -> dict[tuple[str, str], bool]:
    """(table, column) -> whether it can hold more than one element."""
    result = {}
    try:
        for table, description in schema["tables"].items():
            for column, definition in description["columns"].items():
                kind = definition["type"]
                result[table, column] = isinstance(kind, dict) and kind.get("max", 1) != 1
    except (KeyError, TypeError, AttributeError):
        raise bad("the first record is not a database schema", where) from None
    return result


def _apply(tables: Tables, record: dict[str, Any], composite: dict[tuple[str, str], bool], where: Location) -> None:
    """One transaction. With `_is_diff`, a composite column that holds something gets the difference, not the new value."""
    is_diff = record.get("_is_diff") is True
    for table, changes in record.items():
        if table.startswith("_"):
            continue
        if table not in tables or not isinstance(changes, dict):
            raise bad(f"the schema has no table {table[:80]}", where)
        rows = tables[table]
        for uuid, columns in changes.items():
            if columns is None:
                rows.pop(uuid, None)
                continue
            if not isinstance(columns, dict):
                raise bad(f"row {uuid[:80]} of table {table} is not an object", where)
            row = rows.setdefault(uuid, {})
            for column, value in columns.items():
                if (table, column) not in composite:
                    raise bad(f"table {table} has no column {column[:80]}", where)
                old = row.get(column)
                differs = (
                    is_diff and composite[table, column] and old is not None and old not in (["set", []], ["map", []])
                )
                try:
                    row[column] = _apply_difference(old, value) if differs else value
                except (TypeError, ValueError, IndexError):
                    raise bad(f"column {column} of table {table}: not a set or a map", where) from None


def _apply_difference(old: Any, difference: Any) -> Any:
    """A set: what is in one of the two. A map: a pair that is there goes, another value under its key replaces it."""
    kind, elements = _elements(old)
    _, changes = _elements(difference)
    if kind == "set":
        present = {_key(e): e for e in elements}
        for element in changes:
            if present.pop(_key(element), _NOTHING) is _NOTHING:
                present[_key(element)] = element
        return ["set", list(present.values())]
    pairs = {_key(k): [k, v] for k, v in elements}
    for k, v in changes:
        if pairs.get(_key(k)) == [k, v]:
            del pairs[_key(k)]
        else:
            pairs[_key(k)] = [k, v]
    return ["map", list(pairs.values())]


_NOTHING = object()


def _elements(value: Any) -> tuple[str, list[Any]]:
    match value:
        case ["map", list(pairs)]:
            return "map", pairs
        case ["set", list(elements)]:
            return "set", elements
    return "set", [value]


def _key(atom: Any) -> str:
    return json.dumps(atom)
