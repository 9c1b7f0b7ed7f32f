"""A target in memory, or in a file: for tests, for trying the commands, and as the plainest statement of what a target does.

It keeps the same rules as a real Northbound: rows of others are never changed or deleted; a switch, router or group of others is
shared; one of ours that others have put something into is left to them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deployer.northbound.ledger import asked_settings, check_deployment
from deployer.outside import OutsideConfig
from deployer.ovsdb_json import parent_of
from deployer.plans import write_whole
from deployer.state import state_from_json, state_to_json
from deployer.target import DEFAULT_DEPLOYMENT, NODE, Changes, GlobalOption, Item, State, destroy_by_plan, is_row
from deployer.targets import TargetOptions
from ytwin.core.errors import YtwinError
from ytwin.core.plan import apply
from ytwin.northbound.rows import EMPTY, LoadBalancerGroup, LogicalRouter, LogicalSwitch, RowKey

_CONTAINERS = (LogicalSwitch.table, LogicalRouter.table, LoadBalancerGroup.table, GlobalOption.table)


@dataclass
class Store:
    """What a fake place holds: each deployment's State, and what belongs to others."""

    deployments: dict[str, dict[RowKey, Item]] = field(default_factory=dict)
    foreign: dict[RowKey, Item] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For a file."""
        ours = {name: state_to_json(state) for name, state in sorted(self.deployments.items())}
        return {"format": "ytwin-fake", "version": 1, "deployments": ours, "foreign": state_to_json(self.foreign)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Store:
        """From a file."""
        ours = {name: state_from_json(entries) for name, entries in value["deployments"].items()}
        return cls(ours, state_from_json(value["foreign"]))


class FakeTarget:
    """One deployment in a Store. With a file, every `apply` replaces the file at once, and every `snapshot` reads it."""

    name = "fake"
    owns_nodes = True

    def __init__(self, store: Store | None = None, deployment: str = DEFAULT_DEPLOYMENT, file: str = "") -> None:
        self._store = store or Store()
        self._deployment = check_deployment(deployment)
        self._file = str(Path(file).resolve()) if file else ""

    @classmethod
    def open(cls, options: TargetOptions) -> FakeTarget:
        """For the command line, where only a file outlives a command."""
        return cls(deployment=options.deployment, file=options.file)

    @property
    def place(self) -> str:
        """The file, if there is one, and the deployment."""
        return f"{self._file or 'memory'} deployment {self._deployment}"

    def close(self) -> None:
        """Nothing to let go of."""

    def snapshot(self) -> State:
        """The deployment's State."""
        self._load()
        return dict(self._store.deployments.get(self._deployment, {}))

    def notes(self, plan: Changes) -> tuple[str, ...]:
        """See Target."""
        self._load()
        self._refuse_conflicts(plan)
        lines = [f"{c.key} belongs to others: it is shared, not changed" for c in plan if c.key in self._others()]
        return (
            *lines,
            *(f"{key} is used by others: it stays, and is theirs from then on" for key in self._staying(plan)),
        )

    def apply(self, plan: Changes) -> None:
        """All of it, or nothing."""
        self._load()
        self._refuse_conflicts(plan)
        before = self._store.deployments.get(self._deployment, {})
        staying = self._staying(plan)
        after = apply(before, plan)
        self._store.foreign |= {key: _left(before[key]) for key in staying}
        self._store.deployments[self._deployment] = after
        if not after:
            del self._store.deployments[self._deployment]
        if self._file:
            write_whole(self._file, json.dumps(self._store.to_json(), indent=1) + "\n")

    def destroy(self) -> None:
        """Everything of the deployment goes."""
        destroy_by_plan(self)

    def _load(self) -> None:
        if self._file and Path(self._file).exists():
            try:
                self._store = Store.from_json(json.loads(Path(self._file).read_text(encoding="utf-8")))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise YtwinError(f"{self._file}: not a file of the fake target: {error}") from error

    def _others(self) -> dict[RowKey, Item]:
        """What does not belong to this deployment; nodes and the outside excepted, which are a lab's own."""
        found = {
            k: v
            for name, state in self._store.deployments.items()
            if name != self._deployment
            for k, v in state.items()
        }
        return {
            key: item
            for key, item in (self._store.foreign | found).items()
            if key.table not in (NODE, OutsideConfig.table)
        }

    def _refuse_conflicts(self, plan: Changes) -> None:
        others = self._others()
        problems: list[str] = []
        for change in plan:
            theirs, after = others.get(change.key), change.after
            if theirs is None or change.before is not None or after is None:
                continue
            if change.key.table not in _CONTAINERS:
                problems.append(f"{change.key}: exists already and belongs to somebody else")
            elif isinstance(after, GlobalOption):
                if after != theirs:
                    problems.append(f"{change.key}: is set otherwise by others")
            elif is_row(after) and not _has(theirs, asked_settings(after)):
                problems.append(
                    f"{change.key}: belongs to somebody else, who would have to set {dict(asked_settings(after))}"
                )
        if problems:
            raise YtwinError("rows of others are in the way; nothing was done:\n  " + "\n  ".join(problems))

    def _staying(self, plan: Changes) -> list[RowKey]:
        """Rows of ours that others have put something into."""
        used = {parent[0] for item in self._others().values() for parent in [_parent(item)] if parent}
        staying = {c.key for c in plan if c.after is None and c.key in used and c.key not in self._others()}
        for change in plan:  # a router whose port stays has to stay too
            parent = _parent(change.before) if change.before is not None and change.key in staying else None
            if parent and parent[0] in {c.key for c in plan if c.after is None}:
                staying.add(parent[0])
        return sorted(staying)


def _parent(item: Item) -> tuple[RowKey, str] | None:
    return parent_of(item) if is_row(item) else None


def _has(theirs: Item, settings: Mapping[str, str]) -> bool:
    now: Mapping[str, str] = asked_settings(theirs) if is_row(theirs) else EMPTY
    return all(now.get(key) == value for key, value in settings.items())


def _left(item: Item) -> Item:
    """A row of ours as it is left to others: without our marks, and without references to our rows."""
    if isinstance(item, LogicalSwitch | LogicalRouter):
        return replace(item, external_ids=EMPTY, load_balancer=(), load_balancer_group=())
    return item
