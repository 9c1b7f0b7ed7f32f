"""The central node: Northbound, Southbound and ovn-northd."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from deployer.jsonrpc import Connection
from deployer.lab.net import LabHost
from deployer.lab.ovs import QUIET, connect, transact, until
from deployer.lab.requirements import NB_SCHEMA, SB_SCHEMA
from deployer.lab.state import end, start_time

NB, SB = "OVN_Northbound", "OVN_Southbound"
SYNC_S = 120.0


class Central(LabHost):
    """Its databases are reached through Unix sockets in the lab's directory, which every namespace sees."""

    @property
    def directory(self) -> Path:
        return self.state.directory / "central"

    @property
    def northbound_remote(self) -> str:
        return f"unix:{self.directory}/nb.sock"

    @property
    def southbound_remote(self) -> str:
        return f"unix:{self.directory}/sb.sock"

    def start_all(self) -> None:
        """Start both databases, with the files they have or empty, and northd."""
        self.directory.mkdir(exist_ok=True)
        for short_name, schema in (("nb", NB_SCHEMA), ("sb", SB_SCHEMA)):
            file = self.directory / f"{short_name}.db"
            if not file.exists():
                self.run("ovsdb-tool", "create", str(file), str(schema))
            remote = f"--remote=punix:{self.directory}/{short_name}.sock"
            self._daemon(short_name, ["ovsdb-server", *QUIET, remote, str(file)])
        for database, table in ((NB, "NB_Global"), (SB, "SB_Global")):
            with self.database(database) as db:
                if not transact(db, database, [{"op": "select", "table": table, "where": []}])[0]["rows"]:
                    transact(db, database, [{"op": "insert", "table": table, "row": {}}])
        remotes = [f"--ovnnb-db={self.northbound_remote}", f"--ovnsb-db={self.southbound_remote}"]
        self._daemon("northd", ["ovn-northd", *QUIET, "--n-threads=1", *remotes])

    def stop_all(self) -> None:
        """Kill the databases and northd; the files stay."""
        running = self.state.recorded()
        pids = [running[f"{what} {self.name}"] for what in ("northd", "nb", "sb") if f"{what} {self.name}" in running]
        end({pid: start_time(pid) for pid in pids})
        for socket in self.directory.glob("*.sock"):
            socket.unlink()

    def _daemon(self, name: str, argv: list[str]) -> None:
        control = [f"--unixctl={self.directory}/{name}.ctl", f"--log-file={self.directory}/{name}.log"]
        place = {"OVS_RUNDIR": str(self.directory), "OVN_RUNDIR": str(self.directory)}
        self.start(name, [*argv, *control], self.directory, **place)

    def database(self, database: str) -> Connection:
        """A connection to one of the two databases."""
        return connect(self.directory / ("nb.sock" if database == NB else "sb.sock"))

    def select(self, database: str, table: str, *columns: str) -> list[dict[str, Any]]:
        """Columns of all rows of a table."""
        with self.database(database) as db:
            query = {"op": "select", "table": table, "where": [], "columns": list(columns)}
            return list(transact(db, database, [query])[0]["rows"])

    def sync(self, chassis: set[str], timeout_s: float = SYNC_S) -> None:
        """Return when northd has worked off the Northbound, and every one of `chassis` has put the result into its flows.

        `ovn-nbctl --wait=hv sync` waits for all chassis that ever registered, so it would wait for a lost one, too.
        """
        bump = {"op": "mutate", "table": "NB_Global", "where": [], "mutations": [["nb_cfg", "+=", 1]]}
        read = {"op": "select", "table": "NB_Global", "where": [], "columns": ["nb_cfg", "sb_cfg"]}
        with self.database(NB) as nb:
            number = transact(nb, NB, [bump, read])[1]["rows"][0]["nb_cfg"]
            until(
                lambda: transact(nb, NB, [read])[0]["rows"][0]["sb_cfg"] >= number,
                f"northd does not follow; see {self.directory}/northd.log",
                timeout_s,
            )
        private = {"op": "select", "table": "Chassis_Private", "where": [], "columns": ["name", "nb_cfg"]}
        with self.database(SB) as sb:

            def behind() -> list[str]:
                rows = transact(sb, SB, [private])[0]["rows"]
                done = {row["name"] for row in rows if row["nb_cfg"] >= number}
                return sorted(chassis - done)

            until(lambda: not behind(), f"ovn-controllers do not follow: {', '.join(sorted(chassis))}", timeout_s)

    def unsettled(self, ports: set[str], living: set[str]) -> list[str]:
        """Port_Bindings that are not what they will be, with only `living` chassis: `ports` that are down, gateways elsewhere."""
        tables = {
            "Port_Binding": ["logical_port", "type", "up", "chassis", "ha_chassis_group", "options"],
            "Chassis": ["_uuid", "name"],
            "HA_Chassis_Group": ["_uuid", "ha_chassis"],
            "HA_Chassis": ["_uuid", "external_ids", "priority"],
        }
        queries = [{"op": "select", "table": t, "where": [], "columns": columns} for t, columns in tables.items()]
        with self.database(SB) as db:
            bindings, chassis, groups, members = (result["rows"] for result in transact(db, SB, queries))
        name_of = {row["_uuid"][1]: row["name"] for row in chassis}
        member = {
            row["_uuid"][1]: (row["priority"], dict(row["external_ids"][1]).get("chassis-name", "")) for row in members
        }
        ranked = {
            row["_uuid"][1]: [name for _, name in sorted((member[u] for u in _uuids(row["ha_chassis"])), reverse=True)]
            for row in groups
        }
        wrong = []
        for row in bindings:
            port, kind = row["logical_port"], row["type"]
            there = next((name_of.get(u, "") for u in _uuids(row["chassis"])), "")
            if kind == "" and port in ports and (row["up"] is not True or there not in living):
                wrong.append(port)
            elif kind == "chassisredirect":
                candidates = [name for u in _uuids(row["ha_chassis_group"]) for name in ranked[u] if name in living]
                if candidates and there != candidates[0]:
                    wrong.append(port)
            elif kind == "l3gateway" and dict(row["options"][1]).get("l3gateway-chassis") in living - {there}:
                wrong.append(port)
        return wrong

    def keep_logs(self, where: Path) -> None:
        """Copy northd's log."""
        shutil.copy(self.directory / "northd.log", where)


def _uuids(reference: Any) -> list[str]:
    """UUIDs of a column that refers to any number of rows."""
    if reference[0] == "uuid":
        return [reference[1]]
    return [entry[1] for entry in reference[1]]
