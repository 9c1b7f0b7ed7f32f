"""What actions ask of a packet.

An action that needs something narrows its flow: `ip4.dst = X;` makes the flow match IPv4 packets only. OVN joins these
prerequisites to the match; `flow_match` does the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from ytwin.logical.actions import (
    Action,
    CheckPktLarger,
    CtCommit,
    CtLb,
    CtNat,
    CtNext,
    DecTtl,
    Exchange,
    FdbAction,
    FieldRef,
    Load,
    Move,
    NeighborAction,
    Nested,
    Opaque,
    Pop,
    Push,
    Result,
    Select,
)
from ytwin.logical.fields import SYMBOLS
from ytwin.logical.meaning import definition
from ytwin.logical.parse_match import parse_match
from ytwin.logical.tree import TRUE, Expr, conjunction

NESTED_PREREQUISITES = {
    "clone": "",
    "reject": "",
    "arp": "ip4",
    "nd_ns": "ip6",
    "nd_na": "nd_ns",
    "nd_na_router": "nd_ns",
    "icmp4": "ip4",
    "icmp4_error": "ip4",
    "icmp6": "ip6",
    "icmp6_error": "ip6",
    "tcp_reset": "tcp",
    "sctp_abort": "sctp",
}
"""What an action with a block of actions asks of the packet; "" means: what the actions inside ask."""


def _field_prerequisites(ref: FieldRef) -> Iterator[Expr]:
    """Prerequisites of a field and of the fields that it is a part of."""
    name = ref.name
    while name:
        prerequisite, _ = definition(name)
        if prerequisite is not None:
            yield prerequisite
        name = SYMBOLS[name].parent


@cache
def _predicate(name: str) -> Expr:
    return parse_match(name)


_RESULT_PREREQUISITES = {"dns_lookup": "udp", "put_nd_ra_opts": "ip6"}


def _prerequisites(action: Action) -> Iterator[Expr]:
    refs: tuple[FieldRef | None, ...] = ()
    match action:
        case DecTtl() | CtNext() | CtCommit() | CtNat() | CtLb():
            yield _predicate("ip")
        case Nested(kind, actions):
            name = NESTED_PREREQUISITES[kind]
            if name:
                yield _predicate(name)
            else:
                for inner in actions:
                    yield from _prerequisites(inner)
        case Load(target) | Select(target) | CheckPktLarger(target):
            refs = (target,)
        case Move(left, right) | Exchange(left, right):
            refs = (left, right)
        case Push(ref) | Pop(ref):
            refs = (ref,)
        case NeighborAction(_, args, target) | FdbAction(_, args, target):
            refs = (*args, target)
        case Result(target, name) | Opaque(name, _, target):
            refs = (target,)
            if name in _RESULT_PREREQUISITES:
                yield _predicate(_RESULT_PREREQUISITES[name])
        case _:
            pass
    for needed in refs:
        if needed is not None:
            yield from _field_prerequisites(needed)


def prerequisites(actions: tuple[Action, ...]) -> Expr:
    """What the actions ask of a packet, each condition once; true if nothing."""
    found: dict[Expr, None] = {}
    for action in actions:
        found.update(dict.fromkeys(_prerequisites(action)))
    return conjunction(found) if found else TRUE


def flow_match(match: Expr, actions: tuple[Action, ...]) -> Expr:
    """The match that the flow really has: its own, and the prerequisites of its actions."""
    needed = prerequisites(actions)
    return match if needed == TRUE else conjunction((match, needed))
