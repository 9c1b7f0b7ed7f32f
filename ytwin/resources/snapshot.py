"""A Snapshot: every object of a cluster at one moment, by kind, namespace and name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

from ytwin.resources.model import ClusterNetwork, ClusterNetworkSpec, Metadata, Resource
from ytwin.resources.objects import ObjectId, Objects, Table, id_of

__all__ = ["ObjectId", "Snapshot", "id_of"]

T = TypeVar("T", bound=Resource)
R = TypeVar("R")


@dataclass(frozen=True)
class Snapshot:
    """Valid objects; equal whatever order they arrived in."""

    objects: Mapping[ObjectId, Resource] = field(default_factory=dict)
    ignored: tuple[ObjectId, ...] = ()
    """Objects of the input whose kinds the twin does not read (`ytwin.resources.ignored`), sorted: for reports, nothing else."""
    _derived: dict[Callable[[Any], Any], tuple[tuple[str, ...], Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of(cls, resources: Iterable[Resource], ignored: Iterable[ObjectId] = ()) -> Snapshot:
        """Objects sorted by id; the last of two with one id wins (kubectl apply)."""
        return cls(Objects.of(resources), tuple(sorted(set(ignored))))

    @cached_property
    def _objects(self) -> Objects:
        return self.objects if isinstance(self.objects, Objects) else Objects.of(self.objects.values())

    def table(self, kind: str) -> Table:
        """All objects of a kind as one value, which is the same object as long as `changed` leaves the kind alone."""
        return self._objects.table(kind)

    def all(self, kind: type[T]) -> Iterator[T]:
        """Objects of a kind, sorted by namespace and name."""
        return iter(cast("list[T]", self.table(kind.KIND).values))  # a table holds one kind, a kind has one class

    def get(self, kind: type[T], name: str, namespace: str = "") -> T | None:
        found = self.table(kind.KIND).by_id.get(ObjectId(kind.KIND, namespace, name))
        return found if isinstance(found, kind) else None

    def items(self, kind: type[T]) -> Iterator[tuple[ObjectId, T]]:
        """Ids and objects of a kind, sorted."""
        table = self.table(kind.KIND)
        return zip(table.keys, cast("list[T]", table.values), strict=True)

    def with_objects(self, resources: Iterable[Resource]) -> Snapshot:
        """This snapshot with objects added or replaced."""
        return self.changed(resources)

    def changed(self, put: Iterable[Resource], remove: Iterable[ObjectId] = ()) -> Snapshot:
        """This snapshot with objects added or replaced and removed; what it does not touch is shared, not copied."""
        return self._inheriting(self._objects.changed(put, remove))

    def with_tables(self, tables: Mapping[str, Table]) -> Snapshot:
        """This snapshot with whole tables replaced."""
        return self._inheriting(Objects({**self._objects.tables, **tables}))

    def only(self, kinds: Iterable[str]) -> Snapshot:
        """The objects of these kinds alone."""
        return self._inheriting(Objects({kind: self.table(kind) for kind in kinds}))

    def _inheriting(self, objects: Objects) -> Snapshot:
        """Other objects, with what `once` knows about kinds that are the same."""
        made = Snapshot(objects, self.ignored)
        for function, (kinds, value) in self._derived.items():
            if kinds and all(objects.table(kind) is self.table(kind) for kind in kinds):
                made._derived[function] = (kinds, value)
        return made

    def once(self, function: Callable[[Snapshot], R], *kinds: str) -> R:
        """`function(self)` of a pure, module-level function, computed once for this (immutable) snapshot.

        With `kinds`, the function promises to read these only; then snapshots made from this one know the result too, as long as
        they leave these kinds alone.
        """
        if function not in self._derived:
            self._derived[function] = (kinds, function(self))
        result: R = self._derived[function][1]
        return result

    def knowing(self, function: Callable[[Snapshot], R], value: R, *kinds: str) -> Snapshot:
        """This snapshot, told what `once(function, *kinds)` would find; for whoever made it and knows."""
        self._derived[function] = (kinds, value)
        return self

    @property
    def network(self) -> ClusterNetworkSpec:
        """The ClusterNetwork's spec, or its defaults."""
        return next(self.all(ClusterNetwork), ClusterNetwork(metadata=Metadata(name="cluster"))).spec
