"""Where rules put what they find, and the look-ups that several of them need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ytwin.core.errors import Location, Problem
from ytwin.resources.model import Resource
from ytwin.resources.snapshot import ObjectId, Snapshot, id_of
from ytwin.resources.yamltree import Path, path_text

UNKNOWN_REFERENCE = "unknown-reference"
CONSEQUENCES = frozenset(
    (UNKNOWN_REFERENCE, "no-subnet", "no-eip-gateway", "service-without-yusurservice", "no-such-vnicip")
)
"""Codes that a missing object causes elsewhere; silent when part of the input could not be read."""


class Locator(Protocol):
    """Knows where the fields of one object stand in the input."""

    def at(self, path: Path) -> Location: ...


class Report:
    """Collects problems of one Snapshot."""

    def __init__(self, snapshot: Snapshot, where: Mapping[ObjectId, Locator]) -> None:
        self.snapshot = snapshot
        self.where = where
        self.problems: list[Problem] = []

    def place(self, resource: Resource | ObjectId, path: Path = ()) -> Location:
        """Where a field stands; without a known file, the object's id and the path."""
        identity = resource if isinstance(resource, ObjectId) else id_of(resource)
        locator = self.where.get(identity)
        return locator.at(path) if locator is not None else Location(str(identity), 0, path_text(path))

    def add(self, resource: Resource | ObjectId, path: Path, code: str, message: str, hint: str) -> None:
        self.problems.append(Problem(self.place(resource, path), code, message, hint))

    def exists(self, kind: type[Resource], name: str, namespace: str = "") -> bool:
        """Whether an object is in the input, valid or not."""
        identity = ObjectId(kind.KIND, namespace, name)
        return identity in self.snapshot.objects or identity in self.where

    def refer(self, owner: Resource, path: Path, kind: type[Resource], name: str, namespace: str = "") -> bool:
        """Whether a reference leads somewhere; a problem if not."""
        found = self.exists(kind, name, namespace)
        if not found:
            place = f" in namespace {namespace}" if namespace else ""
            message = f"there is no {kind.KIND} {name}{place}"
            known = [r.name for r in self.snapshot.all(kind) if r.namespace == namespace][:8]
            hint = f"known: {', '.join(known)}" if known else f"add a {kind.KIND} of that name"
            self.add(owner, path, UNKNOWN_REFERENCE, message, hint)
        return found
