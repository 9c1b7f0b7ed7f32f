"""What a change does to the rows, before it is done: for people (like a Terraform plan) and as JSON.

JSON form: `{"summary": {"create", "update", "delete"}, "changes": [{"verb", "table", "name", "object", "columns": [...]}]}`.
A column is `{"name", "before", "after"}`; in an update a set is `{"name", "added", "removed"}` and a map
`{"name", "keys": {KEY: {"before", "after"}}}`, with null for what is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ytwin.core.plan import Change, Plan, diff
from ytwin.northbound.jsonform import plain, row_to_json
from ytwin.northbound.names import object_of
from ytwin.northbound.rows import EMPTY, Northbound, Row, RowKey, Strings, cell, columns_of

_SIGN = {"create": "+", "update": "~", "delete": "-"}


@dataclass(frozen=True)
class Review:
    """The plan for the rows, and NB_Global.options before and after. `str` prints it."""

    plan: Plan[RowKey, Row]
    options_before: Strings = EMPTY
    options_after: Strings = EMPTY

    def __len__(self) -> int:
        return len(self.plan) + (self.options_before != self.options_after)

    def __str__(self) -> str:
        lines = [line for change in self.plan for line in _change_lines(change)]
        if self.options_before != self.options_after:
            lines.append("~ NB_Global")
            lines += _column_lines("options", self.options_before, self.options_after)
        verbs = self.summary()
        lines.append(f"{verbs['create']} to create, {verbs['update']} to update, {verbs['delete']} to delete")
        return "\n".join(lines)

    def summary(self) -> dict[str, int]:
        """How many changes of each verb."""
        verbs = dict.fromkeys(_SIGN, 0)
        for change in self.plan:
            verbs[change.verb] += 1
        verbs["update"] += self.options_before != self.options_after
        return verbs

    def to_json(self) -> dict[str, Any]:
        """The JSON form of the module's docstring."""
        changes = [_change_json(change) for change in self.plan]
        if self.options_before != self.options_after:
            options = _column_json("options", self.options_before, self.options_after)
            changes.append({"verb": "update", "table": "NB_Global", "name": "", "object": None, "columns": [options]})
        return {"summary": self.summary(), "changes": changes}


def review(before: Northbound, after: Northbound) -> Review:
    """What turns one Northbound into the other."""
    return Review(diff(before.rows, after.rows), before.options, after.options)


def _row_of(change: Change[RowKey, Row]) -> Row:
    row = change.after if change.after is not None else change.before
    assert row is not None
    return row


def _changed_columns(change: Change[RowKey, Row]) -> Iterator[tuple[str, Any, Any]]:
    """(column, before, after) of what differs; for a new or deleted row every column that is not empty."""
    for name in columns_of(type(_row_of(change))):
        before, after = getattr(change.before, name, None), getattr(change.after, name, None)
        if before != after and not (before in _NOTHING and after in _NOTHING):
            yield name, before, after


_NOTHING = (None, "", (), EMPTY)


def _change_lines(change: Change[RowKey, Row]) -> Iterator[str]:
    source = object_of(_row_of(change))
    yield f"{_SIGN[change.verb]} {change.key}" + (f"  ({source})" if source else "")
    if change.verb == "delete":
        return
    for name, before, after in _changed_columns(change):
        if change.verb == "update":
            yield from _column_lines(name, before, after)
        elif name not in ("name", "external_ids"):  # both are in the heading
            yield f"    {name}: {cell(after)}"


def _column_lines(name: str, before: Any, after: Any) -> Iterator[str]:
    """One changed column: sets and maps by what comes and goes, so that a long list shows its one new member."""
    if isinstance(before, tuple) and isinstance(after, tuple) and set(before) != set(after):
        yield f"    {name}:"
        yield from (f"      + {value}" for value in _missing(after, before))
        yield from (f"      - {value}" for value in _missing(before, after))
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        yield f"    {name}:"
        for key in sorted(before.keys() | after.keys()):
            if key not in before:
                yield f"      + {key}={after[key]}"
            elif key not in after:
                yield f"      - {key}={before[key]}"
            elif before[key] != after[key]:
                yield f"      ~ {key}={cell(before[key])} -> {cell(after[key])}"
    else:
        yield f"    {name}: {cell(before)} -> {cell(after)}"


def _missing(values: tuple[str, ...], among: tuple[str, ...]) -> list[str]:
    """`values` that are not `among`, in their order."""
    known = set(among)
    return [value for value in values if value not in known]


def _change_json(change: Change[RowKey, Row]) -> dict[str, Any]:
    source = object_of(_row_of(change))
    result: dict[str, Any] = {
        "verb": change.verb,
        "table": change.key.table,
        "name": change.key.name,
        "object": source._asdict() if source else None,
    }
    if change.verb == "update":
        result["columns"] = [_column_json(name, before, after) for name, before, after in _changed_columns(change)]
    else:
        columns = row_to_json(_row_of(change))
        sides = ("before", "after") if change.verb == "delete" else ("after", "before")
        result["columns"] = [{"name": name, sides[0]: value, sides[1]: None} for name, value in columns.items()]
    return result


def _column_json(name: str, before: Any, after: Any) -> dict[str, Any]:
    if isinstance(before, tuple) and isinstance(after, tuple) and set(before) != set(after):
        added, removed = plain(tuple(_missing(after, before))), plain(tuple(_missing(before, after)))
        return {"name": name, "added": added, "removed": removed}
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
        return {"name": name, "keys": {key: {"before": before.get(key), "after": after.get(key)} for key in keys}}
    return {"name": name, "before": plain(before), "after": plain(after)}
