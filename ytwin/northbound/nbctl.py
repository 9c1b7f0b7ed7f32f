"""A shell script of stock `ovn-nbctl` calls that fills an empty Northbound with exactly these rows.

It speaks the generic commands (`create`, `add`, `set`), because those alone reach every column. A row that OVN keeps only while
its parent refers to it is created in the transaction that adds it to the parent. Rows go in chunks, one transaction each,
parents first, so that no command line grows beyond what a kernel takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from shlex import quote

from ytwin.northbound.rows import (
    GatewayChassis,
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    RouterPolicy,
    Row,
    StaticRoute,
)

CHUNK_ROWS = 2000
"""Rows per transaction. Each call of ovn-nbctl reads the whole database first, so few large ones are much faster."""
CHUNK_BYTES = 400_000
"""Bytes of text per command line, about; Linux takes 128 KiB per argument and, with a pointer for each, 2 MiB in all."""

_HEAD = """\
#!/bin/sh
# Northbound of OVN 23.03, for an empty database. Set OVN_NB_DB to reach one elsewhere.
set -e
if [ -n "$(ovn-nbctl --bare --columns=_uuid list Logical_Switch)$(ovn-nbctl --bare --columns=_uuid list Logical_Router)" ]; then
    echo "the Northbound already has switches or routers: nothing was changed" >&2
    exit 1
fi
"""


def nbctl_script(nb: Northbound) -> str:
    """The script. It stops at the first command that fails, and before the first one if the Northbound is not empty."""
    lines = [_HEAD]
    if nb.options:
        lines.append(_call([["set", "NB_Global", ".", *_pairs("options", nb.options)]]))
    for commands in _transactions(nb):
        lines.append(_call(commands))
    return "\n".join(lines) + "\n"


def _call(commands: Iterable[list[str]]) -> str:
    """One ovn-nbctl call, one command a line."""
    return "ovn-nbctl" + " \\\n    --".join(" " + " ".join(map(quote, command)) for command in commands)


# --- values --------------------------------------------------------------------------------------------------------------


def _atom(text: str) -> str:
    """A string in OVSDB's own notation; JSON's without characters beyond ASCII is one."""
    return json.dumps(text)


def _pairs(column: str, values: Mapping[str, str]) -> list[str]:
    """A map as one argument per key."""
    return [f"{column}:{_atom(key)}={_atom(values[key])}" for key in sorted(values)]


def _set(column: str, values: Iterable[str]) -> list[str]:
    """A set of strings; nothing for the empty one, which is the default."""
    text = ",".join(_atom(value) for value in values)
    return [f"{column}=[{text}]"] if text else []


def _columns(row: Row) -> list[str]:
    """The columns of a row that are no references, as `create` takes them."""
    match row:
        case LogicalSwitch():
            values = [f"name={_atom(row.name)}", *_pairs("other_config", row.other_config)]
        case LogicalSwitchPort():
            values = [
                f"name={_atom(row.name)}",
                *([f"type={_atom(row.type)}"] if row.type else []),
                *_set("addresses", row.addresses),
                *_set("port_security", row.port_security),
                *_pairs("options", row.options),
                *([] if row.tag is None else [f"tag={row.tag}"]),
            ]
        case LogicalRouter():
            values = [f"name={_atom(row.name)}", *_pairs("options", row.options)]
        case LogicalRouterPort():
            values = [
                f"name={_atom(row.name)}",
                f"mac={_atom(row.mac)}",
                *_set("networks", row.networks),
                *_pairs("options", row.options),
            ]
        case GatewayChassis():
            values = [f"name={_atom(row.name)}", f"chassis_name={_atom(row.chassis_name)}", f"priority={row.priority}"]
        case StaticRoute():
            values = [
                f"ip_prefix={_atom(row.ip_prefix)}",
                f"nexthop={_atom(row.nexthop)}",
                f"policy={_atom(row.policy)}",
                *([f"output_port={_atom(row.output_port)}"] if row.output_port else []),
                *([f"route_table={_atom(row.route_table)}"] if row.route_table else []),
                *_pairs("options", row.options),
            ]
        case RouterPolicy():
            values = [
                f"priority={row.priority}",
                f"match={_atom(row.match)}",
                f"action={_atom(row.action)}",
                *_set("nexthops", row.nexthops),
                *_pairs("options", row.options),
            ]
        case LoadBalancer():
            values = [
                f"name={_atom(row.name)}",
                f"protocol={_atom(row.protocol)}",
                *_pairs("vips", row.vips),
                *_set("selection_fields", row.selection_fields),
                *_pairs("options", row.options),
            ]
        case LoadBalancerGroup():
            return [f"name={_atom(row.name)}"]
    return [*values, *_pairs("external_ids", row.external_ids)]


# --- transactions --------------------------------------------------------------------------------------------------------


class _Parents:
    """Which rows refer to a row: the (table, name, column) that it must be added to when it is created."""

    def __init__(self, nb: Northbound) -> None:
        self._balancers: dict[str, list[tuple[str, str, str]]] = {}
        self._groups: dict[str, list[tuple[str, str, str]]] = {}
        for group in nb.of_type(LoadBalancerGroup):
            for name in group.load_balancer:
                self._balancers.setdefault(name, []).append((group.table, group.name, "load_balancer"))
        routers_and_switches: list[LogicalRouter | LogicalSwitch] = [
            *nb.of_type(LogicalRouter),
            *nb.of_type(LogicalSwitch),
        ]
        for parent in routers_and_switches:
            for name in parent.load_balancer:
                self._balancers.setdefault(name, []).append((parent.table, parent.name, "load_balancer"))
            for name in parent.load_balancer_group:
                self._groups.setdefault(name, []).append((parent.table, parent.name, "load_balancer_group"))

    def of(self, row: Row) -> list[tuple[str, str, str]]:
        match row:
            case LogicalSwitchPort():
                return [("Logical_Switch", row.switch, "ports")]
            case LogicalRouterPort():
                return [("Logical_Router", row.router, "ports")]
            case GatewayChassis():
                return [("Logical_Router_Port", row.port, "gateway_chassis")]
            case StaticRoute():
                return [("Logical_Router", row.router, "static_routes")]
            case RouterPolicy():
                return [("Logical_Router", row.router, "policies")]
            case LoadBalancer():
                return self._balancers.get(row.name, [])
            case LoadBalancerGroup():
                return self._groups.get(row.name, [])
        return []


_PARENTS_FIRST: tuple[type[Row], ...] = (
    LogicalSwitch, LogicalRouter, LogicalRouterPort, LogicalSwitchPort, GatewayChassis, StaticRoute, RouterPolicy,
    LoadBalancerGroup, LoadBalancer,
)  # fmt: skip


def _transactions(nb: Northbound) -> Iterator[list[list[str]]]:
    """Commands of one transaction each: rows created, then each parent extended once."""
    parents, numbers = _Parents(nb), count()
    for kind in _PARENTS_FIRST:
        commands: list[list[str]] = []
        additions: dict[tuple[str, str, str], list[str]] = {}
        size = 0
        for row in nb.of_type(kind):
            mark = f"@r{next(numbers)}"
            command = [f"--id={mark}", "create", kind.table, *_columns(row)]
            for parent in parents.of(row):
                additions.setdefault(parent, []).append(mark)
            commands.append(command)
            size += sum(map(len, command))
            if len(commands) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                yield [*commands, *_extended(additions)]
                commands, additions, size = [], {}, 0
        if commands:
            yield [*commands, *_extended(additions)]


def _extended(additions: Mapping[tuple[str, str, str], list[str]]) -> Iterator[list[str]]:
    for (table, name, column), marks in additions.items():
        yield ["add", table, name, column, *marks]
