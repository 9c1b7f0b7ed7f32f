"""A node that runs an Open vSwitch of its own: ovsdb-server and ovs-vswitchd with their own run directory."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from deployer.jsonrpc import Connection, RpcError
from deployer.lab.net import LabHost
from deployer.lab.requirements import VSWITCH_SCHEMA
from deployer.lab.state import LabError
from deployer.ovsdb_json import Operation, encode_map, encode_set

DATABASE = "Open_vSwitch"
QUIET = ("--no-chdir", "-vconsole:off", "-vsyslog:off")
START_S = 30.0
_POLL_S = 0.01
_RPC_S = 60.0


def until(condition: Callable[[], Any], what: str, timeout_s: float = START_S, pause_s: float = _POLL_S) -> Any:
    """The first true value of `condition`; LabError says what did not happen in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout_s:.0f} s in vain: {what}")
        time.sleep(pause_s)


def connect(path: Path, timeout_s: float = START_S) -> Connection:
    """A connection to a server that is just starting."""

    def attempt() -> Connection | None:
        try:
            return Connection(path, _RPC_S)
        except RpcError:
            return None

    connection: Connection = until(attempt, f"no server at {path}", timeout_s)
    return connection


def transact(connection: Connection, database: str, operations: Iterable[Operation]) -> list[dict[str, Any]]:
    """One transaction; LabError names the operation that failed."""
    listed = list(operations)
    results = connection.call("transact", [database, *listed])
    for i, result in enumerate(results):
        if result and result.get("error"):
            where = listed[i] if i < len(listed) else "commit"
            raise LabError(f"{result['error']}: {result.get('details', '')} in {where}")
    return [result or {} for result in results]


def short(prefix: str, name: str) -> str:
    """A device name for something with a long name: stable, and unique within a node."""
    return prefix + blake2b(name.encode(), digest_size=5).hexdigest()


class OvsNode(LabHost):
    """`datapath` is "netdev" or "system"."""

    datapath = "netdev"

    @property
    def directory(self) -> Path:
        """Run directory: sockets, database, logs."""
        return self.state.directory / self.name.replace("/", "_")

    @property
    def vswitchd_control(self) -> Path:
        return self.directory / "vswitchd.ctl"

    def start_database(self) -> None:
        """Start ovsdb-server, with the files it has, or with an empty database."""
        self.directory.mkdir(exist_ok=True)
        files = self.directory / "conf.db"
        if not files.exists():
            template = self.state.directory / "vswitch.template"
            if not template.exists():
                mine = f"{template}.{os.getpid()}.{self.pid}"
                self.run("ovsdb-tool", "create", mine, str(VSWITCH_SCHEMA))
                Path(mine).rename(template)
            shutil.copy(template, files)
        self.start(
            "ovsdb-server",
            [
                "ovsdb-server",
                *QUIET,
                f"--remote=punix:{self.directory}/db.sock",
                f"--unixctl={self.directory}/ovsdb.ctl",
                f"--log-file={self.directory}/ovsdb.log",
                str(files),
            ],
            self.directory,
        )
        with self.database() as db:
            if not transact(db, DATABASE, [{"op": "select", "table": DATABASE, "where": []}])[0]["rows"]:
                transact(db, DATABASE, [{"op": "insert", "table": DATABASE, "row": {}}])

    def start_switch(self) -> None:
        """Start ovs-vswitchd; return without waiting for it."""
        self.start(
            "vswitchd",
            [
                "ovs-vswitchd",
                *QUIET,
                f"unix:{self.directory}/db.sock",
                f"--unixctl={self.vswitchd_control}",
                f"--log-file={self.directory}/vswitchd.log",
            ],
            self.directory,
            OVS_RUNDIR=str(self.directory),
        )

    def database(self) -> Connection:
        """A connection to this node's Open_vSwitch database."""
        return connect(self.directory / "db.sock")

    def change(self, operations: Iterable[Operation]) -> int:
        """One transaction of Open_vSwitch; the configuration number to wait for."""
        bump = {"op": "mutate", "table": DATABASE, "where": [], "mutations": [["next_cfg", "+=", 1]]}
        read = {"op": "select", "table": DATABASE, "where": [], "columns": ["next_cfg"]}
        with self.database() as db:
            return int(transact(db, DATABASE, [*operations, bump, read])[-1]["rows"][0]["next_cfg"])

    def wait_configured(self, number: int) -> None:
        """Return when ovs-vswitchd has done what configuration `number` asks for."""
        read = {"op": "select", "table": DATABASE, "where": [], "columns": ["cur_cfg"]}
        with self.database() as db:
            until(
                lambda: transact(db, DATABASE, [read])[0]["rows"][0]["cur_cfg"] >= number,
                f"ovs-vswitchd of {self.name} does not take its configuration; see {self.directory}/vswitchd.log",
            )

    def select(self, table: str, columns: Iterable[str]) -> list[dict[str, Any]]:
        """Rows of a table of Open_vSwitch."""
        with self.database() as db:
            query = {"op": "select", "table": table, "where": [], "columns": list(columns)}
            return list(transact(db, DATABASE, [query])[0]["rows"])

    def control(self, method: str, *args: str) -> str:
        """A command of ovs-vswitchd's control socket, e.g. "dpctl/dump-flows"."""
        with connect(self.vswitchd_control) as control:
            return str(control.call(method, args))


def insert_bridge(name: str, datapath: str, mac: str = "", secure: bool = False) -> list[Operation]:
    """Operations that make a bridge with its own internal port; its named-uuid is `b_<name>`."""
    bridge: dict[str, Any] = {
        "name": name,
        "datapath_type": datapath,
        "ports": encode_set([_named("p", name)]),
        "external_ids": encode_map({"ytwin": "lab"}),
    }
    if secure:
        bridge["fail_mode"] = "secure"
    if mac:
        bridge["other_config"] = encode_map({"hwaddr": mac})
    interface = {"name": name, "type": "internal"}
    return [
        {"op": "insert", "table": "Interface", "uuid-name": _named("i", name)[1], "row": interface},
        {
            "op": "insert",
            "table": "Port",
            "uuid-name": _named("p", name)[1],
            "row": {"name": name, "interfaces": _named("i", name)},
        },
        {"op": "insert", "table": "Bridge", "uuid-name": _named("b", name)[1], "row": bridge},
        {
            "op": "mutate",
            "table": DATABASE,
            "where": [],
            "mutations": [["bridges", "insert", encode_set([_named("b", name)])]],
        },
    ]


def insert_port(
    bridge: str, name: str, interface: Mapping[str, Any] | None = None, port: Mapping[str, Any] | None = None
) -> list[Operation]:
    """Operations that put a device into a bridge that exists, or that the same transaction inserted before."""
    return [
        {
            "op": "insert",
            "table": "Interface",
            "uuid-name": _named("i", name)[1],
            "row": {"name": name, **(interface or {})},
        },
        {
            "op": "insert",
            "table": "Port",
            "uuid-name": _named("p", name)[1],
            "row": {"name": name, "interfaces": _named("i", name), **(port or {})},
        },
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [["name", "==", bridge]],
            "mutations": [["ports", "insert", encode_set([_named("p", name)])]],
        },
    ]


def remove_ports(db_ports: Mapping[str, Any], names: Iterable[str]) -> list[Operation]:
    """Operations that take ports (name -> uuid in `db_ports`) out of whatever bridge holds them."""
    gone = encode_set([db_ports[name] for name in names if name in db_ports])
    return [{"op": "mutate", "table": "Bridge", "where": [], "mutations": [["ports", "delete", gone]]}]


def _named(kind: str, name: str) -> list[str]:
    return ["named-uuid", f"{kind}_" + "".join(c if c.isalnum() else "_" for c in name)]
