"""How the deployer knows its own in a Northbound that it shares with others.

A row that has external_ids is marked there: `owner=ytwin` and `ytwin-deployment=<name>`. What cannot carry a mark is written in
NB_Global.external_ids, one key per thing, which the same transaction writes that makes the thing:

    ytwin/<deployment>/Load_Balancer_Group/<name> = own | shared   the table has no external_ids in OVN 23.03
    ytwin/<deployment>/NB_Global/<option> = own | shared           a key of NB_Global.options
    ytwin/<deployment>/Logical_Switch/<name> = shared {JSON}       a row of others that only got children and references of ours
    ytwin/<deployment>/token = <random>                            changed by every transaction: who planned before it is refused

`shared` says that it was there before; its JSON has the columns that the topology asks for, so that a snapshot can show them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from frozendict import frozendict

from ytwin.core.errors import YtwinError
from ytwin.northbound.names import OWNER
from ytwin.northbound.rows import LogicalRouter, LogicalSwitch, Row, RowKey, Strings

MARK = "ytwin-deployment"
OWN, SHARED = "own", "shared"
OUR_IDS = ("owner", "kind", "namespace", "object")
"""Keys of external_ids that the compiler writes; all others belong to others and are neither compared nor changed."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_ASKED = {LogicalSwitch.table: ("other_config", "external_ids"), LogicalRouter.table: ("options", "external_ids")}


def check_deployment(name: str) -> str:
    """`name`, if it can name a deployment; YtwinError if not."""
    if not _NAME.fullmatch(name):
        raise YtwinError(f"--deployment {name!r}: lower-case letters, digits, - and . only, at most 63")
    return name


def marks(deployment: str) -> dict[str, str]:
    """What `external_ids` of a row of this deployment has; a `select` by it finds all of them."""
    return {"owner": OWNER, MARK: deployment}


@dataclass(frozen=True, slots=True)
class Ledger:
    """What NB_Global.external_ids say about one deployment."""

    deployment: str
    token: str = ""
    entries: Mapping[RowKey, str] = frozendict()

    @classmethod
    def read(cls, deployment: str, external_ids: Mapping[str, str]) -> Ledger:
        """The deployment's part of NB_Global.external_ids."""
        start = f"ytwin/{deployment}/"
        entries: dict[RowKey, str] = {}
        token = ""
        for key, value in external_ids.items():
            if key.startswith(start):
                table, slash, name = key.removeprefix(start).partition("/")
                if slash:
                    entries[RowKey(table, name)] = value
                elif table == "token":
                    token = value
        return cls(deployment, token, frozendict(entries))

    @property
    def token_key(self) -> str:
        """Key of the token in NB_Global.external_ids."""
        return f"ytwin/{self.deployment}/token"

    def entry_key(self, key: RowKey) -> str:
        """Key of an entry in NB_Global.external_ids."""
        return f"ytwin/{self.deployment}/{key.table}/{key.name}"

    def is_shared(self, key: RowKey) -> bool:
        """Whether the thing was there before and stays when the deployment goes."""
        return self.entries.get(key, "").startswith(SHARED)

    def asked(self, key: RowKey) -> dict[str, Strings]:
        """The map columns that the topology asks for in a shared switch or router."""
        columns = self._about(key)
        return {name: frozendict(columns.get(name, {})) for name in _ASKED.get(key.table, ())}

    def had(self, key: RowKey) -> frozenset[str]:
        """Load_Balancer_Groups that a shared switch or router referred to before: those references are not ours."""
        return frozenset(self._about(key).get("had", ()))

    def _about(self, key: RowKey) -> dict[str, Any]:
        text = self.entries.get(key, "").removeprefix(SHARED).strip()
        try:
            about = json.loads(text) if text else {}
        except ValueError:
            about = {}  # somebody wrote there: the plan will show every column as changed
        return about if isinstance(about, dict) else {}


def shared_entry(row: Row, had: Iterable[str]) -> str:
    """The entry of a row of others that `row` is added to."""
    if row.table not in _ASKED:
        return SHARED
    about: dict[str, Any] = {name: dict(getattr(row, name)) for name in _ASKED[row.table]}
    return f"{SHARED} {json.dumps({**about, 'had': sorted(had)}, sort_keys=True)}"


def asked_settings(row: Row) -> Strings:
    """What must already be set in a row of others before it can be shared: its other_config or options."""
    names = [name for name in _ASKED.get(row.table, ()) if name != "external_ids"]
    return frozendict(getattr(row, names[0])) if names else frozendict()
