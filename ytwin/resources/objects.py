"""The objects of a Snapshot: sorted tables, one per kind, shared between a Snapshot and the next one where nothing changed.

A control loop changes a handful of objects among hundreds of thousands. `Objects.changed` copies only the tables that those
belong to, so "nothing of this kind changed" is one identity comparison (`Table is Table`) for whoever remembers the last round.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ytwin.resources.model import Resource


class ObjectId(NamedTuple):
    """Kind, namespace ("" for cluster-scoped kinds) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def id_of(resource: Resource) -> ObjectId:
    metadata = resource.metadata
    return ObjectId(resource.KIND, metadata.namespace, metadata.name)


class Table:
    """Objects of one kind, sorted by namespace and name. Never changed after it was made."""

    __slots__ = ("by_id", "keys", "values")

    def __init__(self, by_id: dict[ObjectId, Resource]) -> None:
        self.keys: list[ObjectId] = sorted(by_id)
        self.values: list[Resource] = [by_id[key] for key in self.keys]
        self.by_id = by_id

    def __len__(self) -> int:
        return len(self.keys)

    def changed(self, put: Mapping[ObjectId, Resource], remove: Iterable[ObjectId] = ()) -> Table:
        """This table with objects added, replaced and removed; itself if that changes nothing."""
        remove = [key for key in dict.fromkeys(remove) if key in self.by_id and key not in put]
        put = {key: value for key, value in put.items() if self.by_id.get(key) is not value}
        if not put and not remove:
            return self
        if len(put) + len(remove) > 64 + len(self) // 64:
            by_id = {**self.by_id, **put}
            for key in remove:
                del by_id[key]
            return Table(by_id)
        return self._spliced(put, remove)

    def _spliced(self, put: Mapping[ObjectId, Resource], remove: list[ObjectId]) -> Table:
        """`changed` for few objects: copies of the three containers, without sorting again."""
        table = Table.__new__(Table)
        table.by_id, table.keys, table.values = self.by_id.copy(), self.keys.copy(), self.values.copy()
        for key in remove:
            place = bisect_left(table.keys, key)
            del table.keys[place], table.values[place], table.by_id[key]
        for key, value in put.items():
            place = bisect_left(table.keys, key)
            if key in table.by_id:
                table.values[place] = value
            else:
                table.keys.insert(place, key)
                table.values.insert(place, value)
            table.by_id[key] = value
        return table


EMPTY_TABLE = Table({})


class Objects(Mapping[ObjectId, Resource]):
    """Objects by id, in the order of their ids. Never changed after it was made."""

    __slots__ = ("tables",)

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.tables: dict[str, Table] = {kind: tables[kind] for kind in sorted(tables) if len(tables[kind])}

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> Objects:
        """The last of two with one id wins (kubectl apply)."""
        kinds: dict[str, dict[ObjectId, Resource]] = {}
        for resource in resources:
            key = id_of(resource)
            kinds.setdefault(key.kind, {})[key] = resource
        return cls({kind: Table(by_id) for kind, by_id in kinds.items()})

    def table(self, kind: str) -> Table:
        return self.tables.get(kind, EMPTY_TABLE)

    def changed(self, put: Iterable[Resource], remove: Iterable[ObjectId] = ()) -> Objects:
        """These with objects added, replaced and removed; tables of other kinds are shared."""
        puts: dict[str, dict[ObjectId, Resource]] = {}
        removes: dict[str, list[ObjectId]] = {}
        for resource in put:
            key = id_of(resource)
            puts.setdefault(key.kind, {})[key] = resource
        for key in remove:
            removes.setdefault(key.kind, []).append(key)
        touched = {k: self.table(k).changed(puts.get(k, {}), removes.get(k, ())) for k in puts.keys() | removes.keys()}
        return Objects({**self.tables, **touched})

    def __getitem__(self, key: ObjectId) -> Resource:
        return self.tables[key[0]].by_id[key]

    def __iter__(self) -> Iterator[ObjectId]:
        for table in self.tables.values():
            yield from table.keys

    def __len__(self) -> int:
        return sum(map(len, self.tables.values()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Objects):
            return Mapping.__eq__(self, other)
        if self.tables.keys() != other.tables.keys():
            return False
        return all(t is other.tables[k] or t.by_id == other.tables[k].by_id for k, t in self.tables.items())

    __hash__ = None  # type: ignore[assignment]  # as of every Mapping; mypy wants it declared as a method

    def __repr__(self) -> str:
        return f"Objects({dict(self)!r})"
