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
    _derived: dict[Callable[[Any], Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> Snapshot:
        """Objects sorted by id; the last of two with one id wins (kubectl apply)."""
        return cls(Objects.of(resources))

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

    def with_objects(self, resources: Iterable[Resource]) -> Snapshot:
        """This snapshot with objects added or replaced."""
        return self.changed(resources)

    def changed(self, put: Iterable[Resource], remove: Iterable[ObjectId] = ()) -> Snapshot:
        """This snapshot with objects added or replaced and removed; what it does not touch is shared, not copied."""
        return Snapshot(self._objects.changed(put, remove))

    def once(self, function: Callable[[Snapshot], R]) -> R:
        """`function(self)` of a pure, module-level function, computed once for this (immutable) snapshot."""
        if function not in self._derived:
            self._derived[function] = function(self)
        result: R = self._derived[function]
        return result

    @property
    def network(self) -> ClusterNetworkSpec:
        """The ClusterNetwork's spec, or its defaults."""
        return next(self.all(ClusterNetwork), ClusterNetwork(metadata=Metadata(name="cluster"))).spec
