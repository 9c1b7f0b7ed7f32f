"""A Plan as operations of OVSDB transactions.

Each transaction proves first that nothing it relies on has moved (`wait` operations that do not wait), swaps the deployment's
token, and then writes no more than what changes: a Service added to a group of 10,000 is one member inserted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployer.northbound.ledger import OUR_IDS, OWN, SHARED, asked_settings, marks, shared_entry
from deployer.northbound.reader import PARENTS, REFERENCES, STRONG, Ask, Live, RawRow, includes, select, uuids_in
from deployer.ovsdb_json import Operation, Value, columns_of, encode_map, encode_set, parent_of
from deployer.target import Changes, GlobalOption, Item, is_row
from ytwin.core.errors import StalePlan, YtwinError
from ytwin.core.plan import Change
from ytwin.northbound.rows import (
    GatewayChassis,
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Row,
    RowKey,
)

_CONTAINERS = (LogicalSwitch.table, LogicalRouter.table, LoadBalancerGroup.table)
"""Rows of others under these tables' names are shared: they get children and references, nothing else."""
_NAMED = (*_CONTAINERS, LoadBalancer.table, LogicalSwitchPort.table, LogicalRouterPort.table, GatewayChassis.table)
_FEW = 50
_NOTHING = (["set", []], ["map", []], "")
"""What a column of a new row has anyway."""
_ORDER = {
    GlobalOption.table: 0,
    LoadBalancer.table: 1,
    LoadBalancerGroup.table: 2,
    LogicalRouter.table: 3,
    LogicalSwitch.table: 3,
    LogicalRouterPort.table: 4,
}
_LAST = 5


def ordered(plan: Changes) -> list[Change[RowKey, Item]]:
    """Changes so that each stands on those before it: what is referred to first; deletions last and the other way round."""

    def rank(change: Change[RowKey, Item]) -> tuple[int, int]:
        place = _ORDER.get(change.key.table, _LAST)
        if change.before is None:
            return 0, place
        return (1, place) if change.after is not None else (2, -place)

    return sorted(plan, key=rank)


@dataclass(slots=True)
class Foreign:
    """What other people have that a plan meets."""

    named: dict[RowKey, list[RawRow]] = field(default_factory=dict)
    """Rows under names that the plan creates."""
    referred: set[str] = field(default_factory=set)
    """UUIDs of our Load_Balancer_Groups that rows of others refer to."""


def find_foreign(ask: Ask, live: Live, plan: Changes) -> Foreign:
    """Ask for the rows of others that `plan` meets; YtwinError if it cannot be carried out beside them."""
    foreign = Foreign()
    created: dict[str, set[str]] = {}
    for change in plan:
        if change.before is None and change.key.table in _NAMED:
            created.setdefault(change.key.table, set()).add(change.key.name)
    deleted = [live.uuids[c.key] for c in plan if c.after is None and c.key.table == LoadBalancerGroup.table]
    selects = [operation for table, names in created.items() for operation in _by_name(table, names)]
    users = [
        select(table, [["load_balancer_group", "includes", ["uuid", uuid]]], ("name",))
        for uuid in deleted
        for table in (LogicalSwitch.table, LogicalRouter.table)
    ]
    answers = ask([*selects, *users]) if selects or users else ()
    ours = set(live.uuids.values())
    for operation, answer in zip(selects, answers, strict=False):
        for row in answer["rows"]:
            if row["name"] in created[operation["table"]] and row["_uuid"][1] not in ours:
                foreign.named.setdefault(RowKey(operation["table"], row["name"]), []).append(row)
    used = [uuid for uuid in deleted for _ in (1, 2)]
    for uuid, answer in zip(used, answers[len(selects) :], strict=True):
        if any(row["_uuid"][1] not in ours for row in answer["rows"]):
            foreign.referred.add(uuid)
    _refuse_conflicts(live, plan, foreign)
    return foreign


def _by_name(table: str, names: set[str]) -> Iterator[Operation]:
    columns = ["name"] if table == LoadBalancerGroup.table else ["name", "external_ids"]
    columns += {
        LogicalSwitch.table: ["other_config", "load_balancer_group"],
        LogicalRouter.table: ["options", "load_balancer_group"],
    }.get(table, [])
    if len(names) > _FEW:  # comparing names has no index: then one pass over the table is less work
        yield select(table, (), columns)
    else:
        yield from (select(table, [["name", "==", name]], columns) for name in sorted(names))


def _refuse_conflicts(live: Live, plan: Changes, foreign: Foreign) -> None:
    problems: list[str] = []
    for change in plan:
        after, key = change.after, change.key
        if change.before is not None or after is None:
            continue
        if isinstance(after, GlobalOption):
            value = live.options.get(key.name)
            if value is not None and value != after.value:
                problems.append(
                    f"{key}: is {value!r} already, which others have set; it would have to be {after.value!r}"
                )
            continue
        rows = foreign.named.get(key, [])
        if not rows or not is_row(after):
            continue
        owner = _owner(rows[0])
        if owner == f"deployment {live.ledger.deployment!r}":
            raise StalePlan(f"{key} has been made since the plan was made; plan again")
        if key.table not in _CONTAINERS or len(rows) > 1:
            many = f", {len(rows)} times" if len(rows) > 1 else ""
            problems.append(f"{key}: exists already{many} and belongs to {owner}")
            continue
        column = {LogicalSwitch.table: "other_config", LogicalRouter.table: "options"}.get(key.table, "")
        now = dict(rows[0][column][1]) if column else {}
        missing = {k: v for k, v in asked_settings(after).items() if now.get(k) != v}
        if missing:
            wanted = ", ".join(f"{k}={v}" for k, v in sorted(missing.items()))
            problems.append(f"{key}: belongs to {_owner(rows[0])}, who would have to set {column} {wanted}")
    if problems:
        raise YtwinError("rows of others are in the way; nothing was done:\n  " + "\n  ".join(problems))


def _owner(row: RawRow) -> str:
    ids = dict(row["external_ids"][1]) if "external_ids" in row else {}
    deployment = ids.get("ytwin-deployment")
    if deployment:
        return f"deployment {deployment!r}"
    return f"owner={ids['owner']}" if ids.get("owner") else "somebody else"


def notes(live: Live, plan: Changes, foreign: Foreign) -> Iterator[str]:
    """What is done otherwise than the plan's words say, because of others' rows."""
    for change in plan:
        if change.key in foreign.named and change.before is None:
            yield f"{change.key} exists already and belongs to {_owner(foreign.named[change.key][0])}: it is shared, not changed"
        if change.after is None and live.ledger.is_shared(change.key):
            yield f"{change.key} was there before: only what was added to it goes"
    staying = rows_in_use(live, plan, foreign)
    for change in plan:
        if change.after is None and live.uuids.get(change.key) in staying:
            yield f"{change.key} is used by others: it stays, and is theirs from then on"


def rows_in_use(live: Live, plan: Changes | Sequence[Change[RowKey, Item]], foreign: Foreign) -> set[str]:
    """UUIDs of rows that `plan` deletes but that must stay, because others have put something into them or refer to them."""
    going = {live.uuids[c.key]: c.key for c in plan if c.after is None and c.key in live.uuids}
    ours = set(live.uuids.values())
    staying = foreign.referred & going.keys()
    # Ports before routers: a router whose port stays has to stay too.
    for uuid, key in sorted(going.items(), key=lambda item: item[1].table != LogicalRouterPort.table):
        for column in STRONG.get(key.table, ()):
            children = uuids_in(live.raw[uuid].get(column, ["set", []]))
            if any(child not in ours or child in staying for child in children):
                staying.add(uuid)
    return staying


class Writer:
    """Builds the operations of one transaction: some of a plan's changes, in the order of `ordered`. Used once."""

    def __init__(self, live: Live, foreign: Foreign, token: str) -> None:
        self._live = live
        self._foreign = foreign
        self._gone: set[str] = set()
        self._staying: set[str] = set()
        self._token = token
        self._refs: dict[RowKey, Value] = {}
        self._inserts: dict[RowKey, Operation] = {}
        self._waits: list[Operation] = []
        self._updates: list[Operation] = []
        self._deletes: list[Operation] = []
        self._mutations: dict[tuple[str, str], dict[tuple[str, str], list[Value]]] = {}
        self._options: list[list[Value]] = []
        self._ledger: list[list[Value]] = []
        self._adopted: dict[RowKey, str] = {}
        self._waited: set[str] = set()
        self._marks = marks(live.ledger.deployment)
        self._present = _References(self, strict=True)
        self._past = _References(self)

    def operations(self, changes: Sequence[Change[RowKey, Item]], finish: bool) -> list[Operation]:
        """The transaction's operations; `finish`: nothing of the deployment is left after it, so its token goes too."""
        known = {key for key in self._live.uuids if not self._live.ledger.is_shared(key)}
        self._staying = rows_in_use(self._live, changes, self._foreign)
        going = {self._live.uuids[change.key] for change in changes if change.after is None and change.key in known}
        self._gone = going - self._staying
        creates = [change for change in changes if change.before is None]
        for number, change in enumerate(creates):
            self._name(change, number)
        for change in changes:
            before, after = change.before, change.after
            if change.key.table == GlobalOption.table:
                self._change_option(change.key, before, after)
            elif is_row(before) and is_row(after):
                self._update(change.key, before, after)
            elif is_row(after):
                self._create(change.key, after)
            elif is_row(before):
                self._delete(change.key, before)
            else:
                raise YtwinError(f"{change.key}: not a row of a Northbound")
        return [
            *self._inserts.values(),
            *self._waits,
            *self._guard(finish),
            *self._mutates(),
            *self._updates,
            *self._deletes,
        ]

    # -- one change ------------------------------------------------------------------------------------------------------

    def _name(self, change: Change[RowKey, Item], number: int) -> None:
        """Say how operations refer to a row that comes."""
        if isinstance(change.after, GlobalOption):
            return
        shared = self._foreign.named.get(change.key)
        if shared:
            self._adopted[change.key] = shared[0]["_uuid"][1]
            self._refs[change.key] = shared[0]["_uuid"]
        else:
            self._refs[change.key] = ["named-uuid", f"row{number}"]
            self._inserts[change.key] = {
                "op": "insert",
                "table": change.key.table,
                "uuid-name": f"row{number}",
                "row": {},
            }

    def _create(self, key: RowKey, row: Row) -> None:
        if key in self._adopted:
            self._enter(key, shared_entry(row, self._had(key)))
            self._refer(key, None, row)
        else:
            columns = columns_of(row, self._present)
            if "external_ids" in columns:
                columns["external_ids"] = encode_map({**row.external_ids, **self._marks})  # type: ignore[union-attr]  # all that have the column
            else:
                self._enter(key, OWN)
            self._inserts[key]["row"] |= {name: value for name, value in columns.items() if value not in _NOTHING}
        self._join(row, self._ref(key))

    def _update(self, key: RowKey, before: Row, after: Row) -> None:
        uuid = self._live.uuids[key]
        if self._live.ledger.is_shared(key):
            self._enter(key, shared_entry(after, self._live.ledger.had(key)), replaces=True)
        else:
            refs = self._past
            old = columns_of(before, refs)
            new = {name: value for name, value in columns_of(after, refs).items() if old[name] != value}
            changed = {name: value for name, value in new.items() if name not in REFERENCES and name != "external_ids"}
            self._expect(uuid, key.table, tuple(changed))
            if changed:
                self._updates.append({"op": "update", "table": key.table, "where": _is(uuid), "row": changed})
            if "external_ids" in new:
                ids = getattr(after, "external_ids", {})
                self._mutate(key.table, uuid, "external_ids", "delete", encode_set(OUR_IDS))
                self._mutate(key.table, uuid, "external_ids", "insert", encode_map(ids))
        self._refer(key, before, after)
        if parent_of(before) != parent_of(after):
            self._leave(key.table, uuid)
            self._join(after, ["uuid", uuid])

    def _delete(self, key: RowKey, row: Row) -> None:
        uuid = self._live.uuids[key]
        if key in self._live.ledger.entries:
            self._enter(key, None)
        if self._live.ledger.is_shared(key):
            self._refer(key, row, None)
        elif uuid in self._staying:
            self._release(key, uuid, row)
        elif key.table in PARENTS:
            self._leave(key.table, uuid)
        else:
            self._expect(
                uuid, key.table, tuple(name for name in STRONG.get(key.table, ()) if name in self._live.raw[uuid])
            )
            self._deletes.append({"op": "delete", "table": key.table, "where": _is(uuid)})

    def _release(self, key: RowKey, uuid: str, row: Row) -> None:
        """Leave a row of ours to those who use it."""
        self._refer(key, row, None)
        if key.table != LoadBalancerGroup.table:
            self._mutate(key.table, uuid, "external_ids", "delete", encode_set(sorted({*OUR_IDS, *self._marks})))

    def _change_option(self, key: RowKey, before: Item | None, after: Item | None) -> None:
        ledger = self._live.ledger
        if isinstance(after, GlobalOption):
            if before is None and self._live.options.get(key.name) == after.value and key not in ledger.entries:
                self._enter(key, SHARED)
                return
            self._options.append(["options", "delete", encode_set([key.name])])
            self._options.append(["options", "insert", encode_map({key.name: after.value})])
            self._enter(key, OWN, replaces=key in ledger.entries)
        else:
            if not ledger.is_shared(key):
                self._options.append(["options", "delete", encode_set([key.name])])
            self._enter(key, None)

    # -- what a change consists of -----------------------------------------------------------------------------------------

    def _ref(self, key: RowKey) -> Value:
        if key in self._refs:
            return self._refs[key]
        if key in self._live.uuids:
            return ["uuid", self._live.uuids[key]]
        raise StalePlan(f"{key} is not there, and something in the plan needs it; plan again")

    def _refer(self, key: RowKey, before: Row | None, after: Row | None) -> None:
        """References of a row that exists, one by one, so that those of others stay."""
        for column, table in REFERENCES.items():
            old, new = (frozenset(getattr(row, column, ())) for row in (before, after))
            uuid = self._adopted.get(key) or self._live.uuids[key]
            for names, verb in ((old - new, "delete"), (new - old, "insert")):
                theirs = (
                    self._live.ledger.had(key) if verb == "delete" and table == LoadBalancerGroup.table else frozenset()
                )
                refs = [self._ref(RowKey(table, name)) for name in sorted(names - theirs)]
                if refs:
                    self._mutate(key.table, uuid, column, verb, encode_set(refs))

    def _had(self, key: RowKey) -> list[str]:
        """Names of the groups that a row of others refers to already."""
        (row,) = self._foreign.named[key]
        groups = {
            uuid: k.name
            for k, uuid in {**self._live.uuids, **self._adopted}.items()
            if k.table == LoadBalancerGroup.table
        }
        return [groups[uuid] for uuid in uuids_in(row.get("load_balancer_group", ["set", []])) if uuid in groups]

    def _join(self, row: Row, ref: Value) -> None:
        """Put a child into its parent."""
        parent = parent_of(row)
        if parent is None:
            return
        holder, column = parent
        inserting = self._inserts.get(holder)
        if inserting is not None:
            inserting["row"].setdefault(column, ["set", []])[1].append(ref)
        else:
            self._mutate(holder.table, self._ref(holder)[1], column, "insert", encode_set([ref]))

    def _leave(self, table: str, uuid: str) -> None:
        """Take a child out of the parent that has it, unless that goes too."""
        holder_table, holder = self._live.holders.get(uuid, ("", ""))
        if holder and holder not in self._gone:
            self._mutate(holder_table, holder, PARENTS[table][1], "delete", encode_set([["uuid", uuid]]))

    def _enter(self, key: RowKey, entry: str | None, replaces: bool = False) -> None:
        """Write into the ledger, or cross out."""
        name = self._live.ledger.entry_key(key)
        if entry is None or replaces:
            self._ledger.append(["external_ids", "delete", encode_set([name])])
        if entry is not None:
            self._ledger.append(["external_ids", "insert", encode_map({name: entry})])

    def _mutate(self, table: str, uuid: str, column: str, verb: str, value: Value) -> None:
        values = self._mutations.setdefault((table, uuid), {}).setdefault((column, verb), [value[0], []])
        values[1].extend(value[1])
        self._expect(uuid, table, ())

    # -- what the transaction relies on ------------------------------------------------------------------------------------

    def _expect(self, uuid: str, table: str, columns: tuple[str, ...]) -> None:
        """The row must be there, with these columns as they were read."""
        if not columns and uuid in self._waited:
            return
        self._waited.add(uuid)
        row = {name: self._live.raw[uuid][name] for name in columns} or {"_uuid": ["uuid", uuid]}
        self._waits.append(_wait(table, _is(uuid), row))

    def _guard(self, finish: bool) -> list[Operation]:
        """Swap the token, and fail if somebody swapped it before; write the ledger and the options."""
        ledger, uuid = self._live.ledger, self._live.global_uuid
        swap: list[list[Value]] = []
        if (
            ledger.token
        ):  # a pair is deleted only if both match, and insert does not replace: so this is compare-and-swap
            swap.append(["external_ids", "delete", encode_map({ledger.token_key: ledger.token})])
        swap.append(["external_ids", "insert", encode_map({ledger.token_key: self._token})])
        operations: list[Operation] = []
        where: list[Any] = []
        if uuid:
            where = _is(uuid)
            operations.append(_wait("NB_Global", where, {"_uuid": ["uuid", uuid]}))
        else:
            none = {"op": "wait", "table": "NB_Global", "timeout": 0, "where": [], "columns": ["nb_cfg"]}
            operations += [{**none, "until": "==", "rows": []}, {"op": "insert", "table": "NB_Global", "row": {}}]
        settings = [*swap, *self._ledger, *self._options]
        operations.append({"op": "mutate", "table": "NB_Global", "where": where, "mutations": settings})
        swapped = [includes("external_ids", {ledger.token_key: self._token})]
        first = {"op": "wait", "table": "NB_Global", "timeout": 0, "where": swapped}
        operations.append({**first, "columns": ["nb_cfg"], "until": "!=", "rows": []})
        if finish:
            last = [["external_ids", "delete", encode_set([ledger.token_key])]]
            operations.append({"op": "mutate", "table": "NB_Global", "where": where, "mutations": last})
        return operations

    def _mutates(self) -> Iterator[Operation]:
        for (table, uuid), columns in self._mutations.items():
            # Taking out before putting in: a pair that is inserted does not replace one with the same key.
            mutations = [[column, verb, value] for (column, verb), value in sorted(columns.items(), key=lambda i: i[0])]
            yield {"op": "mutate", "table": table, "where": _is(uuid), "mutations": mutations}


class _References(Mapping[RowKey, Value]):
    """References by key, of rows that are there and rows that come; unless `strict`, what is gone differs from everything."""

    def __init__(self, writer: Writer, strict: bool = False) -> None:
        self._writer = writer
        self._strict = strict

    def __getitem__(self, key: RowKey) -> Value:
        try:
            return self._writer._ref(key)
        except StalePlan:
            if self._strict:
                raise
            return ["gone", str(key)]

    def __iter__(self) -> Iterator[RowKey]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


def _is(uuid: str) -> list[Any]:
    return [["_uuid", "==", ["uuid", uuid]]]


def _wait(table: str, where: Sequence[Any], row: Mapping[str, Any]) -> Operation:
    """Fail at once unless exactly one row matches and has these columns."""
    columns: Iterable[str] = row
    return {
        "op": "wait",
        "table": table,
        "timeout": 0,
        "where": where,
        "columns": list(columns),
        "until": "==",
        "rows": [row],
    }
