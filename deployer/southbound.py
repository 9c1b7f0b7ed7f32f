"""Reading a running OVN_Southbound: `ytwin ... --southbound unix:PATH | tcp:HOST:PORT | ssl:HOST:PORT`."""

from __future__ import annotations

import json
import os

from deployer.jsonrpc import Connection
from deployer.northbound.server import Tls
from ytwin.core.errors import YtwinError

DATABASE = "OVN_Southbound"
_TIMEOUT_S = 60.0


def fetch_southbound(remote: str) -> str:
    """The database behind `remote` as `ovsdb-client -f json dump` prints it.

    All tables are read in one transaction, so they fit together. For `ssl:`, files come from YTWIN_PRIVATE_KEY, YTWIN_CERTIFICATE
    and YTWIN_CA_CERT, as for `ytwin deploy`. Raises YtwinError if there is no such server or database.
    """
    tls = tls_of_environment().context() if remote.startswith("ssl:") else None
    with Connection(remote, _TIMEOUT_S, tls) as server:
        if DATABASE not in server.call("list_dbs"):
            raise YtwinError(f"{remote} does not serve {DATABASE}")
        tables = sorted(server.call("get_schema", [DATABASE])["tables"])
        selects = [{"op": "select", "table": table, "where": []} for table in tables]
        results = server.call("transact", [DATABASE, *selects])
    return "\n".join(_as_dump(table, result.get("rows", [])) for table, result in zip(tables, results, strict=True))


def tls_of_environment() -> Tls:
    """The PEM files that the environment names."""
    names = ("YTWIN_PRIVATE_KEY", "YTWIN_CERTIFICATE", "YTWIN_CA_CERT")
    return Tls(*(os.environ.get(name, "") for name in names))


def _as_dump(table: str, rows: list[dict[str, object]]) -> str:
    headings = sorted(rows[0].keys() - {"_version"}) if rows else ["_uuid"]
    data = [[row[column] for column in headings] for row in rows]
    return json.dumps({"caption": f"{table} table", "headings": headings, "data": data})
