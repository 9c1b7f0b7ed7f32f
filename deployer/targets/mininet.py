"""A running network on this machine: a lab of Mininet, one chassis per node, with the Northbound in its own central."""

from __future__ import annotations

from deployer.lab import Lab, LabError, lab_names
from deployer.lab.state import LabState
from deployer.northbound.ledger import check_deployment
from deployer.outside import OutsideConfig
from deployer.target import NODE, Changes, Item, State
from deployer.targets import TargetOptions
from deployer.targets.ovsdb import OvsdbTarget
from ytwin.core.plan import Plan
from ytwin.core.plan import apply as apply_plan
from ytwin.nodes.config import NodeConfig
from ytwin.northbound.rows import RowKey

_OWN_TABLES = (NODE, OutsideConfig.table)


def lab_name(options: TargetOptions) -> str:
    """The lab that the options mean: `--lab`, else the deployment's name."""
    return options.lab or options.deployment


def open_lab(options: TargetOptions) -> Lab:
    """The running lab; LabError if there is none."""
    return Lab.open(lab_name(options))


class MininetTarget:
    """A lab as a target. The lab begins with the first plan that is applied to it, and ends with `destroy`."""

    name = "mininet"
    owns_nodes = True

    def __init__(self, lab: str, deployment: str, timeout_s: float = 60.0) -> None:
        self._lab_name = lab
        self._deployment = check_deployment(deployment)
        self._timeout_s = timeout_s
        self._northbound: OvsdbTarget | None = None

    @classmethod
    def open(cls, options: TargetOptions) -> MininetTarget:
        """For the command line; the lab need not exist yet."""
        return cls(lab_name(options), options.deployment, options.timeout_s)

    @property
    def place(self) -> str:
        """The lab and the deployment."""
        return f"lab {self._lab_name} deployment {self._deployment}"

    def close(self) -> None:
        """Let go of the Northbound."""
        northbound, self._northbound = self._northbound, None
        if northbound is not None:
            northbound.close()

    def snapshot(self) -> State:
        """The Northbound's rows, and what every living node and outside host is told; nothing if there is no lab."""
        lab = self._lab()
        if lab is None:
            return {}
        state: dict[RowKey, Item] = dict(self._rows(lab).snapshot())
        state |= {RowKey(NODE, name): config for name, config in lab.observed_nodes().items()}
        state |= {outside.key: outside for outside in lab.observed_outsides().values()}
        return state

    def notes(self, plan: Changes) -> tuple[str, ...]:
        """What the Northbound says; and that a lab begins."""
        lab = self._lab()
        if lab is None:
            return (f"lab {self._lab_name} does not exist: it will be started",)
        return self._rows(lab).notes(_northbound_part(plan))

    def apply(self, plan: Changes) -> None:
        """Nodes that come, then the Northbound, then nodes that go; then wait until packets may flow.

        Interrupted while the lab is being started, nothing of it stays; interrupted later, another plan reaches the goal.
        """
        apply_plan(self.snapshot(), plan)
        lab = self._lab()
        if lab is None:
            self._begin(plan)
            return
        created = [c.after for c in plan if c.before is None and isinstance(c.after, NodeConfig)]
        known = lab.known_nodes
        lab.add_nodes(config for config in created if config.node not in known)
        for change in plan:
            after = change.after
            if isinstance(after, NodeConfig) and (change.before is not None or after.node in known):
                lab.apply_node(after)
            elif isinstance(after, OutsideConfig):
                lab.apply_outside(after)
        self._rows(lab).apply(_northbound_part(plan))
        for change in plan:
            if change.after is None and change.key.table == NODE:
                lab.remove_node(change.key.name)
            elif change.after is None and change.key.table == OutsideConfig.table:
                lab.remove_outside(change.key.name)
        lab.wait_ready()

    def destroy(self) -> None:
        """End the lab, a broken or unfinished one too."""
        self.close()
        if self._lab_name in lab_names():
            LabState.open(self._lab_name).destroy()

    def _lab(self) -> Lab | None:
        """The lab; None if there is none, or only what a killed start has left, which `Lab.create` removes."""
        if self._lab_name not in lab_names() or LabState.open(self._lab_name).abandoned:
            return None
        return Lab.open(self._lab_name)

    def _begin(self, plan: Changes) -> None:
        items = [change.after for change in plan]
        nodes = [item for item in items if isinstance(item, NodeConfig)]
        lab = Lab.create(self._lab_name, nodes, [item for item in items if isinstance(item, OutsideConfig)])
        try:
            self._rows(lab).apply(_northbound_part(plan))
            lab.wait_ready()
        except BaseException:
            self.close()
            lab.destroy()
            raise

    def _rows(self, lab: Lab) -> OvsdbTarget:
        if self._northbound is None:
            self._northbound = OvsdbTarget(lab.northbound_remote, self._deployment, timeout_s=self._timeout_s)
        return self._northbound


def _northbound_part(plan: Changes) -> Changes:
    return Plan(tuple(change for change in plan if change.key.table not in _OWN_TABLES))


__all__ = ["LabError", "MininetTarget", "lab_name", "open_lab"]
