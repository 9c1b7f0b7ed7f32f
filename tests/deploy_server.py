"""An ovsdb-server of its own that a test may kill and start again, a proxy that cuts connections, and a child that applies."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployer.jsonrpc import Connection, RpcError
from deployer.northbound.reader import PARENTS
from deployer.northbound.server import COLUMNS, DATABASE
from deployer.target import Item
from deployer.targets.ovsdb import OvsdbTarget
from ytwin.core.errors import StalePlan
from ytwin.core.plan import diff
from ytwin.northbound.rows import RowKey

SCHEMA = Path("/usr/share/ovn/ovn-nb.ovsschema")


def binary(name: str) -> str:
    """Full name of an OVS program."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin") or name


class Server:
    """A Northbound without northd; `with Server() as server`."""

    def __init__(self, schema: Path = SCHEMA, remotes: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> None:
        self.schema = schema
        self.database = json.loads(schema.read_text())["name"]
        self.remotes = remotes
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.directory = Path(tempfile.mkdtemp(prefix="ytwin-nb-"))
        self.socket = self.directory / "nb.sock"
        subprocess.run([binary("ovsdb-tool"), "create", str(self.directory / "nb.db"), str(self.schema)], check=True)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.directory)

    @property
    def remote(self) -> str:
        return f"unix:{self.socket}"

    def start(self) -> None:
        """Start the process and return when it answers."""
        quiet = subprocess.DEVNULL
        command = [binary("ovsdb-server"), "--no-chdir", f"--remote=punix:{self.socket}", *self.options]
        command += [f"--remote={remote}" for remote in self.remotes]
        command += [
            f"--unixctl={self.directory}/ctl",
            f"--log-file={self.directory}/log",
            "-vconsole:off",
            "-vsyslog:off",
        ]
        self.process = subprocess.Popen([*command, str(self.directory / "nb.db")], stdout=quiet, stderr=quiet)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(RpcError), Connection(self.socket) as connection:
                if self.database in connection.call("list_dbs"):
                    return
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.005)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of the tables that are written, as it is stored."""
        with Connection(self.socket) as connection:
            selects = [{"op": "select", "table": table, "where": []} for table in COLUMNS]
            answers = connection.call("transact", [DATABASE, *selects])
        return {table: answer["rows"] for table, answer in zip(COLUMNS, answers, strict=True)}


def assert_sound(server: Server, state: Mapping[RowKey, Item]) -> None:
    """The stored rows are those of `state`, each once; every child has one parent; the ledger has nothing else."""
    tables = server.tables()
    stored = {table: len(rows) for table, rows in tables.items() if table != "NB_Global" and rows}
    wanted = Counter(key.table for key in state if key.table != "NB_Global")
    assert stored == dict(wanted), "something is doubled, orphaned or missing"
    for child, (parent, column, _) in PARENTS.items():
        held = [uuid for row in tables[parent] for uuid in _uuids(row[column])]
        assert sorted(held) == sorted(row["_uuid"][1] for row in tables[child]), f"{child} has other parents than one"
    entries = {key for row in tables["NB_Global"] for key, _ in row["external_ids"][1]}
    groups = {
        f"ytwin/default/{key.table}/{key.name}" for key in state if key.table in ("Load_Balancer_Group", "NB_Global")
    }
    assert entries - {"ytwin/default/token"} == groups
    if not state:
        assert not entries


def _uuids(value: Any) -> list[str]:
    return [item[1] for item in (value[1] if value[0] == "set" else [value])]


def apply_goal(remote: str, goal: Mapping[RowKey, Item], changes_per_transaction: int | None) -> None:
    """What a process does that runs `deploy apply`: look, plan, apply."""
    target = OvsdbTarget(remote, "default", timeout_s=20.0, changes_per_transaction=changes_per_transaction)
    try:
        target.apply(diff(target.snapshot(), goal))
    finally:
        target.close()


STALE = 3


def apply_in_child(remote: str, goal: Mapping[RowKey, Item], changes_per_transaction: int | None) -> None:
    """`apply_goal`; ends with status STALE if somebody else was faster."""
    try:
        apply_goal(remote, goal, changes_per_transaction)
    except StalePlan:
        sys.exit(STALE)


def children() -> Any:
    """Where to start children that may be killed: forked, so that their life is all reading, planning and sending."""
    return multiprocessing.get_context("fork")


class CuttingProxy:
    """A Unix socket in front of a server; each connection is cut after as many bytes as its turn in `limits` says."""

    def __init__(self, server: Server, limits: list[int]) -> None:
        self.server = server
        self.limits = limits
        self.path = server.directory / "proxy.sock"
        self.cuts = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._open = True
        self._accepting = threading.Thread(target=self._accept)

    def __enter__(self) -> CuttingProxy:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
        self._accepting.join()
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        self.path.unlink()

    @property
    def remote(self) -> str:
        return f"unix:{self.path}"

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            if not self._open:
                near.close()
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self.server.socket))
            budget = [self.limits.pop(0)] if self.limits else [1 << 60]
            pair = [
                threading.Thread(target=self._pump, args=ends) for ends in ((near, far, budget), (far, near, budget))
            ]
            self._threads += pair
            for thread in pair:
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, budget: list[int]) -> None:
        with contextlib.suppress(OSError):
            while budget[0] > 0:
                data = source.recv(1 << 16)
                if not data:
                    break
                part = data[: budget[0]]
                budget[0] -= len(part)
                sink.sendall(part)
            self.cuts += budget[0] <= 0
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()
