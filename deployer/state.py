"""A State's entries as JSON, and back: the form of saved plans, of the fake target's file and of digests.

A row of the Northbound has the columns of `ytwin.northbound.jsonform`; the others have their fields.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from frozendict import frozendict

from deployer.outside import OutsideConfig
from deployer.target import NODE, GlobalOption, Item, State
from ytwin.core.errors import YtwinError
from ytwin.nodes.config import Attachment, HostRoute, NodeConfig
from ytwin.northbound.jsonform import row_to_json
from ytwin.northbound.rows import TABLES, RowKey

_KINDS: Mapping[str, type[Any]] = {kind.table: kind for kind in (*TABLES, GlobalOption, OutsideConfig)}


def item_to_json(item: Item) -> dict[str, Any]:
    """One entry."""
    if isinstance(item, NodeConfig | OutsideConfig | GlobalOption):
        return {name: _plain(value) for name, value in asdict(item).items()}
    return row_to_json(item)


def item_from_json(table: str, value: Mapping[str, Any]) -> Item:
    """The entry that `item_to_json` made `value` from; YtwinError if it cannot be."""
    try:
        if table == NODE:
            return _node(value)
        made: Item = _KINDS[table](**{name: _frozen(part) for name, part in value.items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise YtwinError(f"not an entry of {table}: {error}") from error
    return made


def state_to_json(state: State) -> list[dict[str, Any]]:
    """A State as a list sorted by key."""
    return [{"table": k.table, "name": k.name, "value": item_to_json(state[k])} for k in sorted(state)]


def state_from_json(entries: list[dict[str, Any]]) -> dict[RowKey, Item]:
    """The State that `state_to_json` made `entries` from."""
    return {RowKey(e["table"], e["name"]): item_from_json(e["table"], e["value"]) for e in entries}


def digest(state: State) -> str:
    """Equal for equal States, whatever their order; "sha256:HEX"."""
    text = json.dumps(state_to_json(state), sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _node(value: Mapping[str, Any]) -> NodeConfig:
    parts = dict(value)
    attachments = tuple(Attachment(**{k: _frozen(v) for k, v in a.items()}) for a in parts.pop("attachments"))
    routes = tuple(HostRoute(**route) for route in parts.pop("routes"))
    plain = {field.name: _frozen(parts[field.name]) for field in fields(NodeConfig) if field.name in parts}
    return NodeConfig(**plain, attachments=attachments, routes=routes)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return frozendict(value)
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value
