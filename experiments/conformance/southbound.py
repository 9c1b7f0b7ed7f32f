"""One Northbound through both northds: the real one in a sandbox, and the twin's; what differs, row by row.

The real northd numbers and orders by chance of UUIDs and of what it saw before. Here rows get ascending UUIDs in the order of the
Northbound and ask for the tunnel keys that the twin gives, so every row must be the same to the letter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from frozendict import frozendict

from deployer.ovsdb_json import insert_all
from deployer.sandbox import OvnSandbox
from ytwin.logical.southbound import PortBinding, Southbound
from ytwin.northbound.rows import (
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    Row,
    RowKey,
)

TUNNEL_KEY = "requested-tnl-key"
_REFERENCE = re.compile(r'\["named-uuid", "(\w+)"\]')
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MONITOR = "svc_monitor_mac"


class _Keys(Protocol):
    """What has a tunnel key."""

    @property
    def tunnel_key(self) -> int: ...


@dataclass(frozen=True)
class Comparison:
    """`rows`: how many the real northd wrote of what the twin claims; `differing`: lines for people, one per differing row."""

    flows: int
    others: int
    differing: tuple[str, ...]


def with_tunnel_keys(northbound: Northbound, model: Any) -> Northbound:
    """The same rows, asking for the tunnel keys that `model` (of `ytwin.northd.model.resolve`) gives."""
    return replace(northbound, rows={key: _asking(row, model) for key, row in northbound.rows.items()})


def _asking(row: Row, model: Any) -> Row:
    match row:
        case LogicalSwitch():
            asked = _plus_key(row.other_config, model.switches[row.name])
            return replace(row, other_config=asked)
        case LogicalRouter():
            return replace(row, options=_plus_key(row.options, model.routers[row.name]))
        case LogicalSwitchPort():
            return replace(row, options=_plus_key(row.options, model.switch_ports[row.name]))
        case LogicalRouterPort() if row.name in model.router_ports:
            return replace(row, options=_plus_key(row.options, model.router_ports[row.name]))
    return row


def _plus_key(options: frozendict[str, str], owner: _Keys) -> frozendict[str, str]:
    return frozendict({**options, TUNNEL_KEY: str(owner.tunnel_key)})


def load(ovn: OvnSandbox, northbound: Northbound, model: Any, generation: int) -> dict[str, RowKey]:
    """Make the sandbox's Northbound these rows and wait for northd; UUID -> row. `generation` differs between two loads."""
    rows = with_tunnel_keys(northbound, model)
    uuids = {f"{number:08x}-0000-4000-8000-{generation:012x}": key for number, key in enumerate(rows.rows, start=1)}
    ovn.load(Northbound(options=northbound.options))
    ovn.wait_northd()  # so that no datapath or binding of the same name is kept with its old key
    ovn.transact(_numbered(insert_all(rows), list(uuids)))
    ovn.wait_northd()
    return uuids


def _numbered(inserts: list[dict[str, Any]], uuids: list[str]) -> list[dict[str, Any]]:
    """The inserts with these UUIDs given, and plain references instead of named ones."""
    given = {insert.pop("uuid-name"): uuid for insert, uuid in zip(inserts, uuids, strict=True)}
    text = _REFERENCE.sub(lambda found: f'["uuid", "{given[found[1]]}"]', json.dumps(inserts))
    return [{**insert, "uuid": uuid} for insert, uuid in zip(json.loads(text), uuids, strict=True)]


def compare(real: Southbound, ours: Southbound, uuids: dict[str, RowKey]) -> Comparison:
    """Every row of both that a packet's way depends on."""
    names = {uuid: key.name for uuid, key in uuids.items()}
    flows_there, flows_here = _flows(real, names), _flows(ours, names)
    others_there, others_here = _others(real), _others(ours)
    lines = [f"- {line}" for line in sorted((flows_there - flows_here) | (others_there - others_here))]
    lines += [f"+ {line}" for line in sorted((flows_here - flows_there) | (others_here - others_there))]
    for what, there, here in (("flows", real.flows, flows_there), ("flows of ours", ours.flows, flows_here)):
        if len(there) != len(here):
            lines.append(f"! {len(there) - len(here)} {what} are there twice")
    return Comparison(len(real.flows), len(others_there), tuple(lines))


def _where(datapaths: Iterable[Any]) -> str:
    return ",".join(sorted(f"{d.kind}:{d.name}" for d in datapaths))


def _flows(southbound: Southbound, names: dict[str, str]) -> set[str]:
    """One text per Logical_Flow row, its datapath group in it."""
    result = set()
    for f in southbound.flows:
        # actions may name a Northbound row by its UUID (trigger_event's load_balancer)
        actions = _UUID.sub(lambda m: names.get(m[0], m[0]), f.actions) if "-4000-8000-" in f.actions else f.actions
        result.add(f"flow [{_where(f.datapaths)}] {f.pipeline} {f.table} {f.stage} {f.priority} ({f.match}) {actions}")
    return result


def _others(southbound: Southbound) -> set[str]:
    """Ports, multicast groups, load balancers, sets."""
    result = {_port(port) for port in southbound.ports.values()}
    for group in southbound.multicast_groups:
        result.add(f"group {_where([group.datapath])} {group.name} {list(group.ports)}")
    for lb in southbound.load_balancers:
        balancer = f"{sorted(lb.vips.items())} {sorted(lb.options.items())}"
        result.add(f"balancer {lb.name} {lb.protocol} {balancer} [{_where(lb.datapaths)}]")
    for kind, sets in (("addresses", southbound.address_sets), ("ports", southbound.port_groups)):
        # the monitor's MAC is random in every database
        result.update(f"{kind} {name} {() if name == _MONITOR else sets[name]}" for name in sets)
    result.update(f"datapath {_where([d])}" for d in southbound.datapaths)
    return result


def _port(port: PortBinding) -> str:
    options = sorted(item for item in port.options.items() if item[0] != TUNNEL_KEY)
    addresses = f"{list(port.mac)} {list(port.port_security)}"
    # nobody can ask for the key of a chassisredirect port, and no flow has it in it
    key = "" if port.type == "chassisredirect" else f" key {port.tunnel_key}"
    where = _where([port.datapath])
    return f"port {port.name} {where} {port.type!r} {addresses} {options} {list(port.gateway_chassis)}{key}"
