"""A private OVN without root: ovsdb-server with both databases, ovn-northd and ovn-trace in a temporary folder.

It is the oracle of the conformance tests and benchmarks: no ovs-vswitchd, no ovn-controller, no packet ever leaves it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from deployer.jsonrpc import Connection, RpcError
from deployer.ovsdb_json import Operation, encode_map, insert_all
from ytwin.core.errors import YtwinError
from ytwin.logical.southbound import Southbound
from ytwin.northbound.rows import Northbound, RowKey

REFERENCE = "23.03"
"""Release of OVN whose flows the twin's northd writes."""
NB, SB = "OVN_Northbound", "OVN_Southbound"
BINARIES = {  # binary -> Debian package
    "ovsdb-server": "openvswitch-common",
    "ovsdb-tool": "openvswitch-common",
    "ovsdb-client": "openvswitch-common",
    "ovn-trace": "ovn-common",
    "ovn-nbctl": "ovn-common",
    "ovn-northd": "ovn-central",
}
_SETTINGS_TABLES = frozenset({"NB_Global", "Connection", "SSL"})
_NORTHD_OPTIONS = ("mac_prefix", "svc_monitor_mac", "max_tunid", "northd_internal_version")
_START_S = 20.0
_SOCKET_PATH_BYTES = 107

# Outlives its parent: when the parent's end of the pipe closes, for whatever reason, nothing of the sandbox stays behind.
_REAPER = 'read -r _; for f in "$1"/*.pid; do [ -e "$f" ] && kill "$(cat "$f")"; done; rm -rf "$1"'


def missing_binaries() -> dict[str, str]:
    """What a sandbox needs and this machine lacks: binary (or schema file) -> Debian package."""
    missing = {name: package for name, package in BINARIES.items() if _which(name) is None}
    for schema in ("ovn-nb.ovsschema", "ovn-sb.ovsschema"):
        if not (_pkgdata() / schema).exists():
            missing[str(_pkgdata() / schema)] = "ovn-central"
    return missing


def why_no_reference() -> str:
    """Why this machine's OVN cannot be the oracle of conformance; "" if it can.

    Logical flows change with every release: only the release that the twin's northd reproduces can judge it.
    """
    missing = missing_binaries()
    if missing:
        return f"not installed: {', '.join(sorted(set(missing.values())))}"
    text = subprocess.run([_binary("ovn-northd"), "--version"], capture_output=True, text=True, check=False).stdout
    words = text.split("\n", 1)[0].split()
    version = words[-1] if words else "unknown"
    return "" if version.startswith(f"{REFERENCE}.") else f"ovn-northd here is {version}, the reference is {REFERENCE}"


def _which(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")


def _pkgdata() -> Path:
    return Path(os.environ.get("OVN_PKGDATADIR", "/usr/share/ovn"))


def _binary(name: str) -> str:
    path = _which(name)
    if path is None:
        raise YtwinError(f"{name} is not installed; on Debian or Ubuntu: apt-get install {BINARIES[name]}")
    return path


class OvnSandbox:
    """`with OvnSandbox() as ovn: ovn.load(northbound); ovn.wait_northd(); ovn.southbound_text()`.

    Any number of them may run side by side. Leaving the block, by an exception too, ends every process and removes every
    file. `separate=True` gives each database its own server process, as a production cluster has.
    """

    def __init__(self, *, separate: bool = False, timeout_s: float = 120.0) -> None:
        missing = missing_binaries()
        if missing:
            what = ", ".join(sorted(missing))
            packages = " ".join(sorted(set(missing.values())))
            raise YtwinError(f"real OVN is not installed (no {what}); on Debian or Ubuntu: apt-get install {packages}")
        self._separate = separate
        self._timeout_s = timeout_s
        self._stack = ExitStack()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._connections: dict[str, Connection] = {}
        self._default_tracer: TraceDaemon | None = None
        self._tracers = 0
        self._loaded_cfg = 0
        self.directory = Path()
        self.load_s = 0.0
        """Seconds that the last `load` took, from request to committed."""
        self.uuids: dict[RowKey, str] = {}
        """Rows that the last `load` inserted."""

    def __enter__(self) -> OvnSandbox:
        with ExitStack() as stack:
            self.directory = Path(tempfile.mkdtemp(prefix="ytwin-ovn-"))
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            stack.callback(self._end_all)
            longest = str(self.directory / "trace-000000.ctl")
            if len(os.fsencode(longest)) > _SOCKET_PATH_BYTES:
                raise YtwinError(f"{longest}: too long for a socket; set TMPDIR to a shorter path")
            reaper = self._popen(["sh", "-c", _REAPER, "reaper", str(self.directory)], stdin=subprocess.PIPE)
            stack.callback(self._end_reaper, reaper)
            self._start_databases()
            self._start_northd()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process and remove every file; a second call does nothing."""
        self._stack.close()

    @property
    def nb_remote(self) -> str:
        """Connection method of the Northbound, for `ovn-nbctl --db`."""
        return f"unix:{self._socket(NB)}"

    @property
    def sb_remote(self) -> str:
        """Connection method of the Southbound, for `ovn-trace --db` and `ytwin --southbound`."""
        return f"unix:{self._socket(SB)}"

    def transact(self, operations: Iterable[Operation], database: str = NB) -> list[dict[str, Any]]:
        """One transaction: its result per operation; raises RpcError naming the operation that failed."""
        operations = list(operations)
        self._loaded_cfg = 0
        if database == SB:
            self._forget_tracers()
        result = self._connection(database).call("transact", [database, *operations])
        for i, item in enumerate(result):
            if item and item.get("error"):
                operation = json.dumps(operations[i])[:500] if i < len(operations) else "commit"
                raise RpcError(f"{item['error']}: {item.get('details', '')} in {operation}")
        return [item or {} for item in result]

    def load(self, northbound: Northbound) -> float:
        """Replace all Northbound rows by `northbound` in one transaction; seconds until it is committed.

        northd's own options of NB_Global (its MAC prefix, ...) stay, so that two loads of the same rows end alike.
        """
        (current,) = self.transact([{"op": "select", "table": "NB_Global", "where": [], "columns": ["options"]}])
        kept = {k: v for k, v in current["rows"][0]["options"][1] if k in _NORTHD_OPTIONS}
        options = encode_map({**kept, **northbound.options})
        clearing = [{"op": "delete", "table": table, "where": []} for table in self._root_tables]
        setting = {"op": "update", "table": "NB_Global", "where": [], "row": {"options": options}}
        inserts = insert_all(northbound)
        begin = time.perf_counter()
        result, self._loaded_cfg = self.transact_and_bump([*clearing, setting, *inserts])
        self.load_s = time.perf_counter() - begin
        rows = result[len(clearing) + 1 :]
        self.uuids = {key: row["uuid"][1] for key, row in zip(northbound.rows, rows, strict=False)}
        return self.load_s

    def transact_and_bump(self, operations: Iterable[Operation]) -> tuple[list[dict[str, Any]], int]:
        """One Northbound transaction that also raises nb_cfg: results, and the number for `wait_sb_cfg`.

        northd then works once, where a separate `wait_northd` would make it work a second time.
        """
        bump = {"op": "mutate", "table": "NB_Global", "where": [], "mutations": [["nb_cfg", "+=", 1]]}
        read = {"op": "select", "table": "NB_Global", "where": [], "columns": ["nb_cfg"]}
        *results, _, row = self.transact([*operations, bump, read])
        return results, int(row["rows"][0]["nb_cfg"])

    def wait_northd(self, timeout_s: float | None = None) -> int:
        """Return when the Southbound is what ovn-northd makes of the Northbound as it is now; the nb_cfg that says so."""
        number, self._loaded_cfg = self._loaded_cfg or self.transact_and_bump([])[1], 0
        self.wait_sb_cfg(number, timeout_s)
        return number

    def wait_sb_cfg(self, number: int, timeout_s: float | None = None) -> None:
        """Wait until ovn-northd has written the Southbound for `nb_cfg` = `number`."""
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        reached = {"columns": ["sb_cfg"], "until": "==", "rows": [{"sb_cfg": number}], "timeout": 1000}
        until: Operation = {"op": "wait", "table": "NB_Global", "where": [], **reached}
        while True:
            try:
                self.transact([until])
            except RpcError as error:
                if "timed out" not in str(error):
                    raise
            else:
                break
            self._check_alive("northd")
            if time.monotonic() > deadline:
                raise YtwinError(f"ovn-northd did not finish in time\n{self.log('northd')}")
        self._forget_tracers()

    def southbound_text(self) -> str:
        """`ovsdb-client -f json dump` of the Southbound."""
        return self.run("ovsdb-client", "-f", "json", "dump", self.sb_remote, SB)

    def southbound(self) -> Southbound:
        """The Southbound as values."""
        from ytwin.logical.dump import read_southbound  # noqa: PLC0415 - only callers of this need the reader

        return read_southbound(self.southbound_text())

    def nbctl(self, *args: str, stdin: str = "") -> str:
        """Run stock ovn-nbctl on the Northbound; its output."""
        self._loaded_cfg = 0
        return self.run("ovn-nbctl", f"--db={self.nb_remote}", "--no-leader-only", *args, stdin=stdin)

    def northd_appctl(self, method: str, *args: str) -> str:
        """A command of ovn-northd's control socket, e.g. `stopwatch/show`."""
        with Connection(self.directory / "northd.ctl", self._timeout_s) as control:
            return str(control.call(method, args))

    def trace(
        self, datapath: str, microflow: str, ct: Sequence[str] = (), lb_dst: str = "", flags: Sequence[str] = ()
    ) -> str:
        """What ovn-trace says about one packet.

        `ct`: conntrack states in order of lookup ("new", "est,rpl"; "trk" is implied), then the default est; `lb_dst`: the
        backend to choose ("IP" or "IP:PORT"), else a random one; `flags`: --summary, --minimal, ... Without `ct` and `lb_dst` a
        daemon answers, which is fast; with them a process is started, because ovn-trace takes them on its command line only.
        """
        if not ct and not lb_dst:
            if self._default_tracer is None:
                self._default_tracer = self.tracer()
            return self._default_tracer.trace(datapath, microflow, flags)
        options = [f"--ct={_tracked(state)}" for state in ct] + ([f"--lb-dst={lb_dst}"] if lb_dst else [])
        return self.run("ovn-trace", *_TRACE_OPTIONS, f"--db={self.sb_remote}", *options, *flags, datapath, microflow)

    def tracer(self, ct: Sequence[str] = ()) -> TraceDaemon:
        """A new ovn-trace daemon on the Southbound as it is now; close it, or the sandbox does."""
        self._tracers += 1
        return TraceDaemon(self, f"trace-{self._tracers}", ct)

    def run(self, binary: str, *args: str, stdin: str = "") -> str:
        """Run one of OVN's programs to its end; its output. Raises YtwinError with its own words."""
        done = subprocess.run(
            [_binary(binary), *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=self._timeout_s,
            check=False,
            env=self._environment(),
        )
        if done.returncode:
            raise YtwinError(f"{binary} {' '.join(args)[:300]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def log(self, name: str) -> str:
        """Log of a process: `northd`, `nb`, `sb`, `trace-N`; "" if it wrote none."""
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # -- processes ---------------------------------------------------------------------------------------------------

    def _start_databases(self) -> None:
        for name, schema in (("nb", "ovn-nb.ovsschema"), ("sb", "ovn-sb.ovsschema")):
            self.run("ovsdb-tool", "create", str(self.directory / f"{name}.db"), str(_pkgdata() / schema))
        groups = {"nb": ["nb"], "sb": ["sb"]} if self._separate else {"nb": ["nb", "sb"]}
        for server, databases in groups.items():
            remote = f"--remote=punix:{self._socket(NB if server == 'nb' else SB)}"
            files = [str(self.directory / f"{name}.db") for name in databases]
            self._start(server, "ovsdb-server", "--no-chdir", remote, *files)
        for database in (NB, SB):
            self._connections[database] = self._await_connection(database)
        # northd and nbctl would create these rows too, but then nobody could bump nb_cfg before they did.
        self.transact([{"op": "insert", "table": "NB_Global", "row": {}}])
        self.transact([{"op": "insert", "table": "SB_Global", "row": {}}], SB)
        schema = self._connection(NB).call("get_schema", [NB])
        roots = (name for name, table in schema["tables"].items() if table.get("isRoot"))
        self._root_tables = sorted(set(roots) - _SETTINGS_TABLES)

    def _start_northd(self) -> None:
        dbs = [f"--ovnnb-db={self.nb_remote}", f"--ovnsb-db={self.sb_remote}"]
        self._start("northd", "ovn-northd", "--no-chdir", "--n-threads=1", *dbs)
        self.wait_northd()

    def _start(self, name: str, binary: str, *args: str) -> None:
        common = [f"--unixctl={self.directory / name}.ctl", f"--pidfile={self.directory / name}.pid"]
        logs = [f"--log-file={self.directory / name}.log", "-vconsole:off", "-vsyslog:off"]
        self._processes[name] = self._popen([_binary(binary), *args, *common, *logs])

    def _popen(self, command: Sequence[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        environment = self._environment()
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=quiet,
            stderr=quiet,
            cwd=self.directory,
            env=environment,
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        place = str(self.directory)
        names = ("OVS_RUNDIR", "OVN_RUNDIR", "OVS_LOGDIR", "OVN_LOGDIR", "OVS_DBDIR", "OVN_DBDIR")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OVN_", "OVS_"))}
        return inherited | dict.fromkeys(names, place) | {"LC_ALL": "C.UTF-8"}

    def _await_connection(self, database: str) -> Connection:
        """Connect as soon as the server listens."""
        deadline = time.monotonic() + _START_S
        pause_s = 0.001
        while True:
            try:
                return Connection(self._socket(database), self._timeout_s)
            except RpcError:
                self._check_alive("sb" if self._separate and database == SB else "nb")
                if time.monotonic() > deadline:
                    raise
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.05)

    def _check_alive(self, name: str) -> None:
        code = self._processes[name].poll()
        if code is not None:
            raise YtwinError(f"{name} ended with status {code}\n{self.log(name)}")

    def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _end_all(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._forget_tracers()
        for name in reversed(list(self._processes)):
            self._end(name)

    @staticmethod
    def _end_reaper(reaper: subprocess.Popen[bytes]) -> None:
        # Runs first on the way out: the others are still alive then, so end the reaper instead of releasing it.
        reaper.kill()
        reaper.wait()
        assert reaper.stdin is not None
        reaper.stdin.close()

    def _forget_tracers(self) -> None:
        if self._default_tracer is not None:
            self._default_tracer.close()
            self._default_tracer = None

    def _socket(self, database: str) -> Path:
        return self.directory / ("sb.sock" if self._separate and database == SB else "nb.sock")

    def _connection(self, database: str) -> Connection:
        return self._connections[database]


_TRACE_OPTIONS = ("--no-leader-only",)


def _tracked(state: str) -> str:
    return state if "trk" in state.split(",") else f"trk,{state}"


class TraceDaemon:
    """An ovn-trace that has read the Southbound once and answers over its control socket.

    ovn-trace consumes its conntrack states one after the other over the daemon's whole life, not per packet, and answers
    the default (est) when they are used up: `ct` is that list.
    """

    def __init__(self, sandbox: OvnSandbox, name: str, ct: Sequence[str] = ()) -> None:
        self._sandbox = sandbox
        self._name = name
        directory = sandbox.directory
        control = directory / f"{name}.ctl"
        states = [f"--ct={_tracked(state)}" for state in ct]
        # Only `--detach` makes it a daemon. The parent returns when the child has read the database and listens.
        options = [
            "--detach",
            "--no-chdir",
            f"--unixctl={control}",
            f"--pidfile={directory / name}.pid",
            "-vconsole:off",
        ]
        sandbox.run("ovn-trace", *_TRACE_OPTIONS, f"--db={sandbox.sb_remote}", *options, "-vsyslog:off", *states)
        self._pid = int((directory / f"{name}.pid").read_text())
        self._connection = Connection(control)
        sandbox._stack.callback(self.close)

    def __enter__(self) -> TraceDaemon:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def trace(self, datapath: str, microflow: str, flags: Sequence[str] = ()) -> str:
        """What it says about one packet entering `datapath` ("": that of its inport).

        `flags` are --detailed, --summary and --minimal.
        """
        return str(self._connection.call("trace", [*flags, *([datapath] if datapath else []), microflow]))

    def trace_many(self, packets: Iterable[tuple[str, str]]) -> list[str]:
        """The same for (datapath, microflow) pairs, sent together; a few dozen at a time."""
        return [str(text) for text in self._connection.call_many("trace", packets)]

    def close(self) -> None:
        """End the daemon; a second call does nothing."""
        if self._pid:
            pid, self._pid = self._pid, 0
            try:
                self._connection.call("exit")
            except RpcError:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            finally:
                self._connection.close()
