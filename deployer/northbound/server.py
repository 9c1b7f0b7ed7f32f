"""Finding the server of a Northbound and making sure that it is one that can be worked with, before anything is sent to it.

`remote` is what OVN's own tools take: `unix:PATH`, `tcp:HOST:PORT`, `ssl:HOST:PORT`, or several of them joined by commas (the
members of a cluster).
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.jsonrpc import Connection, RpcError
from ytwin.core.errors import YtwinError

DATABASE = "OVN_Northbound"
OLDEST = "22.03"
"""First release of OVN that has every column of COLUMNS."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "NB_Global": ("options", "external_ids"),
    "Logical_Switch": ("name", "ports", "load_balancer", "load_balancer_group", "other_config", "external_ids"),
    "Logical_Switch_Port": ("name", "type", "addresses", "port_security", "options", "tag", "external_ids"),
    "Logical_Router": (
        *("name", "ports", "static_routes", "policies", "load_balancer", "load_balancer_group", "options"),
        "external_ids",
    ),
    "Logical_Router_Port": ("name", "mac", "networks", "gateway_chassis", "options", "external_ids"),
    "Gateway_Chassis": ("name", "chassis_name", "priority", "external_ids"),
    "Logical_Router_Static_Route": (
        *("ip_prefix", "nexthop", "output_port", "policy", "route_table", "options", "external_ids"),
    ),
    "Logical_Router_Policy": ("priority", "match", "action", "nexthops", "options", "external_ids"),
    "Load_Balancer": ("name", "vips", "protocol", "selection_fields", "options", "external_ids"),
    "Load_Balancer_Group": ("name", "load_balancer"),
}
"""Every column that is read or written."""
_RETRY = (
    errno.ECONNREFUSED,
    errno.ENOENT,
    errno.ECONNRESET,
    errno.EPIPE,
    errno.ETIMEDOUT,
    errno.EAGAIN,
    errno.EHOSTUNREACH,
)


class NotNow(YtwinError):
    """The server cannot be worked with at the moment; asking again may help."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Names of PEM files; all three or none."""

    private_key: str = field(default="", repr=False)
    certificate: str = ""
    ca_cert: str = ""

    def context(self) -> ssl.SSLContext:
        """Trusts `ca_cert` and shows `certificate`. As OVS does, the chain is verified and the host's name is not."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for option, name in (
            ("--private-key", self.private_key),
            ("--certificate", self.certificate),
            ("--ca-cert", self.ca_cert),
        ):
            if not name:
                raise YtwinError(f"ssl: needs {option} FILE")
            try:
                Path(name).read_bytes()
            except OSError as error:
                raise YtwinError(f"{option} {name}: {error.strerror}") from error
        try:
            context.load_verify_locations(self.ca_cert)
        except ssl.SSLError as error:
            raise YtwinError(f"--ca-cert {self.ca_cert}: not a PEM certificate") from error
        try:
            # Without a password function OpenSSL would ask on the terminal.
            context.load_cert_chain(self.certificate, self.private_key, password=lambda: b"")
        except (ssl.SSLError, ValueError) as error:
            what = f"--certificate {self.certificate} and --private-key {self.private_key}"
            raise YtwinError(f"{what}: not a PEM certificate and its key without a passphrase") from error
        return context


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server that has the database and every column that is needed."""

    remote: str
    schema: dict[str, Any] = field(repr=False)
    clustered: bool = False
    watched: str = "NB_Global"


def find_server(remote: str, tls: Tls, timeout_s: float) -> ServerInfo:
    """The server to work with: the only one, or the leader of a cluster.

    NotNow where another try may help (nobody listens yet, no leader); YtwinError where it will not.
    """
    remotes = [part.strip() for part in remote.split(",") if part.strip()]
    if not remotes:
        raise YtwinError("no database given: --db unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT")
    problems: list[str] = []
    for name in remotes:
        if not name.startswith(("unix:", "tcp:", "ssl:")):
            raise YtwinError(f"{name}: expected unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT")
        try:
            return _examine(name, tls, timeout_s)
        except NotNow as error:
            problems.append(str(error))
    if len(remotes) == 1:
        raise NotNow(problems[0])
    raise NotNow("no server of the cluster can be used:\n  " + "\n  ".join(problems))


def _examine(remote: str, tls: Tls, timeout_s: float) -> ServerInfo:
    context = tls.context() if remote.startswith("ssl:") else None
    try:
        with Connection(remote, timeout_s, context) as server:
            databases = server.call("list_dbs")
            if DATABASE not in databases:
                served = ", ".join(sorted(set(databases) - {"_Server"})) or "no database"
                raise YtwinError(f"{remote} serves {served}, not {DATABASE}")
            clustered = _clustered(server, remote) if "_Server" in databases else False
            schema = server.call("get_schema", [DATABASE])
    except RpcError as error:
        raise _explained(remote, error) from error
    missing = missing_columns(schema)
    if missing:
        raise YtwinError(
            f"{remote}: schema {schema.get('version', '?')} of {DATABASE} lacks {', '.join(missing)}; "
            f"OVN {OLDEST} or newer is needed"
        )
    return ServerInfo(remote, schema, clustered)


def missing_columns(schema: Mapping[str, Any]) -> list[str]:
    """Tables and columns of COLUMNS that a schema does not have: `Load_Balancer_Group`, `Load_Balancer.options`."""
    tables = schema["tables"]
    missing: list[str] = []
    for table, columns in COLUMNS.items():
        if table not in tables:
            missing.append(table)
        else:
            missing += [f"{table}.{column}" for column in columns if column not in tables[table]["columns"]]
    return missing


def _clustered(server: Connection, remote: str) -> bool:
    """Whether the database is clustered; NotNow if this member does not lead."""
    columns = ["model", "connected", "leader", "schema"]
    where = [["name", "==", DATABASE]]
    select = {"op": "select", "table": "Database", "where": where, "columns": columns}
    (answer,) = server.call("transact", ["_Server", select])
    (row,) = answer["rows"]
    if row["model"] == "relay":
        raise YtwinError(f"{remote} is a relay, which cannot lead: give the servers of the cluster")
    if row["model"] != "clustered":
        return False
    if not row["connected"] or row["schema"] == ["set", []]:
        raise NotNow(f"{remote}: this member is not connected to its cluster")
    if not row["leader"]:
        raise NotNow(f"{remote}: this member is not the leader of its cluster: give all of them, joined by commas")
    return True


def _explained(remote: str, error: RpcError) -> YtwinError:
    cause = error.__cause__
    number = cause.errno if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) else None
    if number in (errno.EACCES, errno.EPERM):
        return YtwinError(
            f"{remote}: permission denied; it belongs to another user (run as root, or as a member of its group)"
        )
    if isinstance(cause, ssl.SSLError):
        return YtwinError(f"{remote}: {error}; does the server use ssl:, and do both trust the same CA?")
    if isinstance(cause, OSError) and (number in _RETRY or isinstance(cause, TimeoutError)):
        return NotNow(f"{remote} is unreachable: {cause.strerror or 'timed out'}")
    if isinstance(cause, OSError):
        return YtwinError(str(error))
    return NotNow(f"{remote}: {error}")
