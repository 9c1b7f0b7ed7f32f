"""Loading a Northbound into real OVN so that everything northd orders or numbers by chance is fixed.

northd walks rows in the order of their UUIDs and hands out tunnel keys as it meets them. Here rows get UUIDs in the order of the
Northbound and the tunnel keys of the twin's model, so that flows can be compared to the letter, numbers of ECMP groups included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from deployer.ovsdb_json import insert_all
from deployer.sandbox import OvnSandbox
from ytwin.core.memo import Memo
from ytwin.logical.southbound import LogicalFlow
from ytwin.northbound.rows import (
    LoadBalancer,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
)
from ytwin.northd.collect import Collector
from ytwin.northd.model import Model, resolve
from ytwin.northd.router import router_flows

FlowKey = tuple[str, str, int, str, str]
"""Datapath, stage, priority, match, actions."""


def router_flow_keys(flows: Iterable[LogicalFlow]) -> set[FlowKey]:
    """The flows of routers, one entry per datapath."""
    return {
        (datapath.name, flow.stage, flow.priority, flow.match, flow.actions)
        for flow in flows
        for datapath in flow.datapaths
        if datapath.kind == "router"
    }


def twin_flows(northbound: Northbound, memo: Memo | None = None) -> set[FlowKey]:
    """What the twin's router half emits."""
    collector = Collector()
    router_flows(resolve(northbound, memo or Memo()), collector)
    return router_flow_keys(collector.done())


_loads = count()
"""Makes UUIDs unique: northd would take a new row with an old row's UUID for the same datapath."""


def load_in_order(ovn: OvnSandbox, northbound: Northbound) -> dict[str, str]:
    """Replace the Northbound of `ovn`, with UUIDs in row order and the model's tunnel keys; names of load balancers by UUID."""
    model = resolve(northbound, Memo())
    uuids: dict[str, str] = {}
    operations = insert_all(northbound)
    for number, (row, operation) in enumerate(zip(northbound.rows.values(), operations, strict=True)):
        operation["uuid"] = uuids[operation.pop("uuid-name")] = f"{number:08x}-0000-4000-8000-{next(_loads):012x}"
        key = _tunnel_key(model, row)
        if key:
            column = "other_config" if isinstance(row, LogicalSwitch) else "options"
            operation["row"][column][1].append(["requested-tnl-key", str(key)])
    ovn.load(Northbound({}, northbound.options))
    ovn.transact([_resolved(operation, uuids) for operation in operations])
    return {
        operation["uuid"]: row.name
        for row, operation in zip(northbound.rows.values(), operations, strict=True)
        if isinstance(row, LoadBalancer)
    }


def _resolved(value: Any, uuids: Mapping[str, str]) -> Any:
    """The same JSON with each named-uuid as the UUID that it stands for."""
    if isinstance(value, dict):
        return {name: _resolved(item, uuids) for name, item in value.items()}
    if isinstance(value, list):
        if len(value) == 2 and value[0] == "named-uuid":
            return ["uuid", uuids[value[1]]]
        return [_resolved(item, uuids) for item in value]
    return value


def _tunnel_key(model: Model, row: object) -> int:
    match row:
        case LogicalSwitch():
            return model.switches[row.name].tunnel_key
        case LogicalRouter():
            return model.routers[row.name].tunnel_key
        case LogicalSwitchPort() if row.name in model.switch_ports:
            return model.switch_ports[row.name].tunnel_key
        case LogicalRouterPort() if row.name in model.router_ports:
            return model.router_ports[row.name].tunnel_key
    return 0


def real_flows(ovn: OvnSandbox, northbound: Northbound) -> set[FlowKey]:
    """What stock ovn-northd emits for routers."""
    names = load_in_order(ovn, northbound)
    ovn.wait_northd()
    return {_named(flow, names) for flow in router_flow_keys(ovn.southbound().flows)}


def _named(flow: FlowKey, names: Mapping[str, str]) -> FlowKey:
    """Controller events name the load balancer by its UUID; the twin, which has none, by its name."""
    actions, event, uuid = flow[4].partition('load_balancer = "')
    return (*flow[:4], f"{actions}{event}{names[uuid[:36]]}{uuid[36:]}") if event else flow


def differences(northbound: Northbound, ovn: OvnSandbox) -> str:
    """Flows that only one of the two has, one per line; "" if they are identical."""
    twin, real = twin_flows(northbound), real_flows(ovn, northbound)
    assert real or not any(True for _ in northbound.of_type(LogicalRouter)), "no flows read from the real Southbound"
    lines = [f"only northd: {flow}" for flow in real - twin] + [f"only twin:   {flow}" for flow in twin - real]
    return "\n".join(sorted(lines, key=lambda line: line.split("(", 1)[1]))
