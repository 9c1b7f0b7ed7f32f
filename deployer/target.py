"""What a deployment target is, and the state that it speaks of.

A target shows what the deployer owns there as a State and carries out a Plan: nothing else. Comparing, planning, ownership of
a name and asking the user are the same for all of them (`deployer.plans`).

State has one entry per thing, under the key that the compiled topology gives it:

    RowKey(TABLE, NAME)          -> a row of the Northbound (ytwin.northbound.rows)
    RowKey("NB_Global", OPTION)  -> GlobalOption: one key of NB_Global.options
    RowKey("Node", NODE)         -> NodeConfig: what a node is told; only of targets that own nodes
    RowKey("Outside", NAME)      -> OutsideConfig: the host beyond an EipGateway; only of targets that own nodes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeAlias, TypeGuard, cast

from deployer.outside import OutsideConfig, outside_configs
from ytwin.core.plan import Plan, diff
from ytwin.nodes.config import NodeConfig
from ytwin.northbound.rows import EMPTY, TABLES, Northbound, Row, RowKey, Strings
from ytwin.pipeline import Twin

NODE = "Node"
"""Table name of NodeConfigs in a State."""
DEFAULT_DEPLOYMENT = "default"
"""Name of a deployment whose user gave none. Several deployments may share a Northbound."""


@dataclass(frozen=True, slots=True)
class GlobalOption:
    """One key of NB_Global.options. The other keys of that column belong to northd or to other people."""

    table: ClassVar[str] = "NB_Global"
    external_ids: ClassVar[Strings] = EMPTY
    name: str
    value: str

    @property
    def key(self) -> RowKey:
        return RowKey(self.table, self.name)


Item: TypeAlias = Row | GlobalOption | NodeConfig | OutsideConfig
State: TypeAlias = Mapping[RowKey, Item]
Changes: TypeAlias = Plan[RowKey, Item]


class Target(Protocol):
    """Where a topology is deployed. All methods raise YtwinError with what to do; an instance is not thread-safe."""

    @property
    def name(self) -> str:
        """Kind of the target: `fake`, `ovsdb`, `mininet`."""

    @property
    def place(self) -> str:
        """Which one of its kind, e.g. the database's address and the deployment; a saved plan is for this place only."""

    @property
    def owns_nodes(self) -> bool:
        """Whether the target's State has NodeConfigs and OutsideConfigs."""

    def snapshot(self) -> State:
        """What this deployment owns there now: only its own rows, and of them only what the deployer writes.

        Lists that the target keeps as sets are sorted, as in `desired`. It is read when it is asked for, never remembered.
        """

    def notes(self, plan: Changes) -> tuple[str, ...]:
        """One line for each thing that `apply(plan)` does otherwise than the plan's words say, because of others' rows.

        YtwinError if others' rows are in the way.
        """

    def apply(self, plan: Changes) -> None:
        """Carry out `plan`, which was made against the present snapshot; StalePlan, with nothing done, if that has moved.

        Interrupted at any point, what it leaves is a State from which another plan reaches the goal.
        """

    def destroy(self) -> None:
        """Remove all that this deployment owns, and what only carries it; of a half-built or broken one too."""

    def close(self) -> None:
        """Let go of connections; a second call does nothing."""


def is_row(item: Item | None) -> TypeGuard[Row]:
    """Whether it is a row of the Northbound: what a target that owns no nodes can hold, GlobalOptions aside."""
    return isinstance(item, TABLES)


def desired(twin: Twin, target: Target) -> dict[RowKey, Item]:
    """What `target` should hold for `twin`, in the form that `target.snapshot()` has once it does."""
    state = northbound_state(twin.northbound)
    if target.owns_nodes:
        state |= {RowKey(NODE, node.node): node for node in twin.nodes}
        state |= {outside.key: outside for outside in outside_configs(twin)}
    return state


def destroy_by_plan(target: Target) -> None:
    """`Target.destroy` for a target that its snapshots show completely."""
    target.apply(diff(target.snapshot(), {}))


def northbound_state(northbound: Northbound) -> dict[RowKey, Item]:
    """The Northbound's part of a State."""
    state: dict[RowKey, Item] = {key: canonical(row) for key, row in northbound.rows.items()}
    options = (GlobalOption(name, value) for name, value in sorted(northbound.options.items()))
    return state | {option.key: option for option in options}


def canonical(row: Row) -> Row:
    """`row` with the columns that OVSDB keeps as sets sorted; the very object if they are."""
    changed: dict[str, Any] = {}
    for name in SETS.get(row.table, ()):
        before = cast("tuple[str, ...]", getattr(row, name))
        after = tuple(sorted(set(before)))
        if after != before:
            changed[name] = after
    if not changed:
        return row
    return replace(row, **changed)


SETS: Mapping[str, tuple[str, ...]] = {
    "Logical_Switch": ("load_balancer", "load_balancer_group"),
    "Logical_Switch_Port": ("addresses", "port_security"),
    "Logical_Router": ("load_balancer", "load_balancer_group"),
    "Logical_Router_Port": ("networks",),
    "Logical_Router_Policy": ("nexthops",),
    "Load_Balancer": ("selection_fields",),
    "Load_Balancer_Group": ("load_balancer",),
}
"""Columns, by table, that have no order in the database."""
