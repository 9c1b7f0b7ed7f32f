"""What the real ovn-northd makes of a Northbound, in the same terms as ours, and the differences between the two.

Rows are inserted with ascending UUIDs: OVSDB sorts references by UUID, so row order means the same on both sides, and a stage
hint (the UUID's first eight digits) names its row. Tunnel keys, which appear in some flows, are requested to be ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

from frozendict import frozendict

from deployer.ovsdb_json import encode_map, insert_all
from deployer.sandbox import SB, OvnSandbox
from ytwin.core.memo import Memo
from ytwin.logical.southbound import Southbound
from ytwin.northbound.rows import (
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    Row,
    RowKey,
)
from ytwin.northd import northd
from ytwin.northd.model import Model, resolve
from ytwin.northd.names import quote

TUNNEL_KEY = "requested-tnl-key"
_MONITOR_MAC = "0a:00:00:00:fe:fe"
_ROUTABLE = re.compile(r"(?<= && reg0 == \{)[^}]*")
"""Addresses with add_route: northd lists them in the order of a hash that differs between kinds of CPU; here sorted."""
_generations = count(1)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def with_tunnel_keys(nb: Northbound) -> Northbound:
    """The same rows, asking for the tunnel keys that our northd gives."""
    model = resolve(nb, Memo())
    return replace(nb, rows={key: _request(model, row) for key, row in nb.rows.items()})


def _request(model: Model, row: Row) -> Row:
    match row:
        case LogicalSwitch():
            key = str(model.switches[row.name].tunnel_key)
            return replace(row, other_config=frozendict({**row.other_config, TUNNEL_KEY: key}))
        case LogicalRouter():
            key = str(model.routers[row.name].tunnel_key)
            return replace(row, options=frozendict({**row.options, TUNNEL_KEY: key}))
        case LogicalSwitchPort():
            key = str(model.switch_ports[row.name].tunnel_key)
            return replace(row, options=frozendict({**row.options, TUNNEL_KEY: key}))
        case LogicalRouterPort() if row.name in model.router_ports:
            key = str(model.router_ports[row.name].tunnel_key)
            return replace(row, options=frozendict({**row.options, TUNNEL_KEY: key}))
    return row


def load(ovn: OvnSandbox, nb: Northbound) -> dict[str, RowKey]:
    """Replace the real Northbound by `nb`, wait for northd; UUID -> row."""
    generation = next(_generations)
    rows = with_tunnel_keys(nb)
    uuids = {f"{number:08x}-0000-4000-8000-{generation:012x}": key for number, key in enumerate(rows.rows, start=1)}
    operations = _number(insert_all(rows), list(uuids))
    tables = ("Logical_Switch", "Logical_Router", "Load_Balancer", "Load_Balancer_Group")
    clear = [{"op": "delete", "table": table, "where": []} for table in tables]
    options = {"svc_monitor_mac": _MONITOR_MAC, **nb.options}
    setting = {"op": "update", "table": "NB_Global", "where": [], "row": {"options": encode_map(options)}}
    ovn.transact(clear)
    ovn.wait_northd()  # so that no old binding or datapath of the same name is reused
    ovn.transact([setting, *operations])
    ovn.wait_northd()
    return uuids


def _number(inserts: list[dict[str, Any]], uuids: list[str]) -> list[dict[str, Any]]:
    """The inserts with these UUIDs; named references become plain ones, because they may come before the row."""
    given = {insert.pop("uuid-name"): uuid for insert, uuid in zip(inserts, uuids, strict=True)}
    text = re.sub(r'\["named-uuid", "(\w+)"\]', lambda m: f'["uuid", "{given[m[1]]}"]', json.dumps(inserts))
    return [{**insert, "uuid": uuid} for insert, uuid in zip(json.loads(text), uuids, strict=True)]


def _select(ovn: OvnSandbox, table: str) -> list[dict[str, Any]]:
    rows = ovn.transact([{"op": "select", "table": table, "where": []}], SB)[0]["rows"]
    return [dict(row) for row in rows]


def _refs(value: Any) -> list[str]:
    return [value[1]] if value[0] == "uuid" else [item[1] for item in value[1]]


def _strings(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(sorted(value[1]))


Lines = dict[str, str]
"""One thing each, as text; the value is what it comes from (only compared where both sides know it)."""


def real_lines(ovn: OvnSandbox, uuids: dict[str, RowKey]) -> Lines:
    """Everything in the real Southbound that we claim to make too."""
    names: dict[str, str] = {}
    for row in _select(ovn, "Datapath_Binding"):
        ids = dict(row["external_ids"][1])
        kind = "switch" if "logical-switch" in ids else "router"
        names[row["_uuid"][1]] = f"{kind}:{ids['name']}"
    groups = {row["_uuid"][1]: _refs(row["datapaths"]) for row in _select(ovn, "Logical_DP_Group")}
    hints = {uuid[:8]: str(key) for uuid, key in uuids.items()}

    def where(row: dict[str, Any], one: str, group: str) -> str:
        members = _refs(row[one]) or [name for dp_group in _refs(row[group]) for name in groups[dp_group]]
        return ",".join(sorted(names[member] for member in members))

    lines: Lines = {}
    for row in _select(ovn, "Logical_Flow"):
        ids = dict(row["external_ids"][1])
        actions = _UUID.sub(lambda m: quote(uuids[m[0]].name)[1:-1] if m[0] in uuids else m[0], row["actions"])
        datapaths = where(row, "logical_datapath", "logical_dp_group")
        head = f"{ids['stage-name']} {row['pipeline']} {row['table_id']} {row['priority']}"
        match = _ROUTABLE.sub(lambda m: ", ".join(sorted(m[0].split(", "))), row["match"])
        lines[f"flow {datapaths} {head} ({match}) -> {actions}"] = hints.get(ids.get("stage-hint", ""), "")
    ports: dict[str, str] = {row["_uuid"][1]: row["logical_port"] for row in _select(ovn, "Port_Binding")}
    chassis_groups = _chassis_groups(ovn)
    for row in _select(ovn, "Port_Binding"):
        options = {k: v for k, v in dict(row["options"][1]).items() if k != TUNNEL_KEY}
        groups_of_port = _refs(row["ha_chassis_group"]) if row["ha_chassis_group"] != ["set", []] else []
        chassis = [item for group in groups_of_port for item in chassis_groups[group]]
        key = 0 if row["type"] == "chassisredirect" else row["tunnel_key"]  # cannot be requested, and no flow has it
        lines[
            f"port {row['logical_port']} {names[row['datapath'][1]]} {row['type']!r} {_strings(row['mac'])} "
            f"{_strings(row['port_security'])} {sorted(options.items())} {chassis} {key}"
        ] = ""
    for row in _select(ovn, "Multicast_Group"):
        members = sorted(ports[port] for port in _refs(row["ports"]))
        lines[f"group {names[row['datapath'][1]]} {row['name']} {members}"] = ""
    for row in _select(ovn, "Load_Balancer"):
        vips, options = sorted(dict(row["vips"][1]).items()), sorted(dict(row["options"][1]).items())
        protocol = _strings(row["protocol"])
        datapaths = where(row, "datapaths", "datapath_group")
        lines[f"balancer {row['name']} {vips} {protocol} {options} {datapaths}"] = ""
    for row in _select(ovn, "Address_Set"):
        lines[f"addresses {row['name']} {_strings(row['addresses'])}"] = ""
    return lines


def _chassis_groups(ovn: OvnSandbox) -> dict[str, list[tuple[str, int]]]:
    """HA_Chassis_Group -> (chassis, priority), highest first; without Chassis rows their names are in external_ids."""
    members = {row["_uuid"][1]: row for row in _select(ovn, "HA_Chassis")}
    result: dict[str, list[tuple[str, int]]] = {}
    for row in _select(ovn, "HA_Chassis_Group"):
        chosen = [members[member] for member in _refs(row["ha_chassis"])]
        pairs = [(dict(m["external_ids"][1]).get("chassis-name", ""), m["priority"]) for m in chosen]
        result[row["_uuid"][1]] = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    return result


def our_lines(sb: Southbound, monitor_mac: str = _MONITOR_MAC) -> Lines:
    """The same of our own Southbound."""
    lines: Lines = {}
    for flow in sb.flows:
        head = f"{flow.stage} {flow.pipeline} {flow.table} {flow.priority}"
        lines[f"flow {_datapaths(flow.datapaths)} {head} ({flow.match}) -> {flow.actions}"] = flow.source
    for port in sb.ports.values():
        key = 0 if port.type == "chassisredirect" else port.tunnel_key
        lines[
            f"port {port.name} {_datapaths([port.datapath])} {port.type!r} {port.mac} {port.port_security} "
            f"{sorted(port.options.items())} {list(port.gateway_chassis)} {key}"
        ] = ""
    for group in sb.multicast_groups:
        lines[f"group {_datapaths([group.datapath])} {group.name} {list(group.ports)}"] = ""
    for lb in sb.load_balancers:
        vips, options = sorted(lb.vips.items()), sorted(lb.options.items())
        lines[f"balancer {lb.name} {vips} {(lb.protocol,)} {options} {_datapaths(lb.datapaths)}"] = ""
    for name, addresses in sb.address_sets.items():
        texts = (monitor_mac,) if name == "svc_monitor_mac" else addresses
        lines[f"addresses {name} {texts}"] = ""
    assert len(lines) == len(sb.flows) + len(sb.ports) + len(sb.multicast_groups) + len(sb.load_balancers) + len(
        sb.address_sets
    ), "the same thing twice"
    return lines


def _datapaths(datapaths: Iterable[Any]) -> str:
    return ",".join(sorted(f"{datapath.kind}:{datapath.name}" for datapath in datapaths))


def differences(real: Lines, ours: Lines) -> Iterator[str]:
    """`-`: only the real northd makes it; `+`: only ours; `?`: both, but from another row."""
    for line in sorted(real.keys() - ours.keys()):
        yield f"- {line}"
    for line in sorted(ours.keys() - real.keys()):
        yield f"+ {line}"
    for line in sorted(real.keys() & ours.keys()):
        # A flow that several rows make has the hint of whichever northd met first: only the row's table is certain.
        if real[line].partition("/")[0] not in ("", ours[line].partition("/")[0]) and "," not in line.split(" ", 2)[1]:
            yield f"? {line}: {real[line]} there, {ours[line] or 'nothing'} here"


def compare(ovn: OvnSandbox, nb: Northbound) -> list[str]:
    """All differences between the real northd's Southbound for `nb` and ours; empty when there is none."""
    ours = our_lines(northd(nb), nb.options.get("svc_monitor_mac", _MONITOR_MAC))
    return list(differences(real_lines(ovn, load(ovn, nb)), ours))
