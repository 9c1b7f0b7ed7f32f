"""One diff for everything that is observed and desired.

Laws (tested): `apply(o, diff(o, d)) == d`; `diff(d, d)` is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from ytwin.core.errors import StalePlan

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Change(Generic[K, V]):
    """One key's transition: create (`before is None`), delete (`after is None`) or update."""

    key: K
    before: V | None
    after: V | None

    @property
    def verb(self) -> str:
        """`create`, `delete` or `update`."""
        if self.before is None:
            return "create"
        return "delete" if self.after is None else "update"


@dataclass(frozen=True, slots=True)
class Plan(Generic[K, V]):
    """Changes in the order of the desired keys, deletions last."""

    changes: tuple[Change[K, V], ...] = ()

    def __iter__(self) -> Iterator[Change[K, V]]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)


def diff(observed: Mapping[K, V], desired: Mapping[K, V]) -> Plan[K, V]:
    """The changes that turn `observed` into `desired`."""
    changes: list[Change[K, V]] = []
    for key, after in desired.items():
        before = observed.get(key)
        if before is not after and before != after:
            changes.append(Change(key, before, after))
    changes.extend(Change(key, before, None) for key, before in observed.items() if key not in desired)
    return Plan(tuple(changes))


def apply(observed: Mapping[K, V], plan: Plan[K, V]) -> dict[K, V]:
    """`observed` after `plan`; raises StalePlan where the plan's `before` is not what is there."""
    result = dict(observed)
    for change in plan:
        if result.get(change.key) != change.before:
            raise StalePlan(f"{change.key}: the plan was made against another state; plan again")
        if change.after is None:
            del result[change.key]
        else:
            result[change.key] = change.after
    return result
