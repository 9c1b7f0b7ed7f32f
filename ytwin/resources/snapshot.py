"""A Snapshot: every object of a cluster at one moment, by kind, namespace and name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from ytwin.resources.model import ClusterNetwork, ClusterNetworkSpec, Metadata, Resource

T = TypeVar("T", bound=Resource)
R = TypeVar("R")


class ObjectId(NamedTuple):
    """Kind, namespace ("" for cluster-scoped kinds) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def id_of(resource: Resource) -> ObjectId:
    return ObjectId(resource.KIND, resource.metadata.namespace, resource.metadata.name)


@dataclass(frozen=True)
class Snapshot:
    """Valid objects; equal whatever order they arrived in."""

    objects: Mapping[ObjectId, Resource] = field(default_factory=dict)
    _derived: dict[Callable[[Any], Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> Snapshot:
        """Objects sorted by id; the last of two with one id wins (kubectl apply)."""
        by_id = {id_of(r): r for r in resources}
        return cls({key: by_id[key] for key in sorted(by_id)})

    @cached_property
    def _by_kind(self) -> dict[str, list[Resource]]:
        kinds: dict[str, list[Resource]] = {}
        for key, resource in self.objects.items():
            kinds.setdefault(key.kind, []).append(resource)
        return kinds

    def all(self, kind: type[T]) -> Iterator[T]:
        """Objects of a kind, sorted by namespace and name."""
        return (r for r in self._by_kind.get(kind.KIND, ()) if isinstance(r, kind))

    def get(self, kind: type[T], name: str, namespace: str = "") -> T | None:
        found = self.objects.get(ObjectId(kind.KIND, namespace, name))
        return found if isinstance(found, kind) else None

    def with_objects(self, resources: Iterable[Resource]) -> Snapshot:
        """This snapshot with objects added or replaced."""
        return Snapshot.of([*self.objects.values(), *resources])

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
