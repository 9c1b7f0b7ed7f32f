"""What one logical flow costs in the datapath: recirculations and conntrack look-ups, by its actions.

ovn-controller encodes `ct_next`, `ct_dnat`, `ct_snat`, their `_in_czone` forms, `ct_commit_nat` and `ct_lb(_mark)` as
`ct(..., table=NEXT)`: one look-up, and one recirculation, because what conntrack says is known only after the datapath did it.
`ct_commit` and `ct_snat_to_vip` are `ct(commit, ...)` without a table: a look-up, and the packet goes on in the same pass.

`ct_lb(_mark)` with backends and `select` are OpenFlow groups of type select. With selection_method dp_hash OVS must let the
datapath compute the hash first: one more recirculation, unless the packet carries a hash already (it keeps it until it leaves the
chassis). That holds for a group of one backend too, which is how OVN writes a learned affinity, whatever the load balancer's
selection_fields. With fields to hash, OVS computes it itself; so it does for a group of more than 256 slots. Observed with OVS
3.1.0: two dp_hash groups in a row leave one `hash(l4(0)),recirc(...)`, and all later flows of the chassis match on its dp_hash.

Everything else is decided inside one translation: clone, patch ports, ct_clear, resubmits (chk_lb_hairpin, chk_lb_aff, get_arp,
port security), learn (commit_lb_aff, hairpin replies), check_pkt_larger (a datapath action of its own), meters, queues.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ytwin.core.errors import Unsupported
from ytwin.logical import actions as act
from ytwin.logical.parse_actions import parse_actions
from ytwin.trace.types import Hop

DP_HASH, CT = "dp_hash", "ct"
DP_HASH_MIN_SLOTS, DP_HASH_MAX_SLOTS = 16, 256
"""Slots of a group's hash table (OVS, group_setup_dp_hash_table)."""

_GENERATES = frozenset(
    {
        "icmp4",
        "icmp4_error",
        "icmp6",
        "icmp6_error",
        "tcp_reset",
        "sctp_abort",
        "reject",
        "nd_na",
        "nd_na_router",
    }
)
"""Nested actions that turn the packet into an answer of ovn-controller."""


@dataclass(frozen=True, slots=True)
class Recirculation:
    """One more pass, and why."""

    cause: str
    """"ct" or "dp_hash"."""
    action: str
    """OVN's action without arguments, e.g. "ct_lb_mark"."""
    stage: str
    datapath: str
    """Logical switch or router."""
    source: str
    """Northbound row of the flow, "" if unknown."""

    def __str__(self) -> str:
        return f"{self.action}{' (dp_hash)' if self.cause == DP_HASH else ''} in {self.stage} of {self.datapath}"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one flow. `hashes`: a dp_hash group is met; the recirculation for it is free if the packet has a hash."""

    action: str = ""
    """The action that recirculates, "" if none does."""
    hashes: bool = False
    recirculates: bool = False
    """By conntrack."""
    lookups: int = 0
    to_vip: bool = False
    """Has `ct_snat_to_vip`, which looks up only where a VIP's flow matches."""
    generates: bool = False
    """The packet that goes on is made by ovn-controller, and enters the datapath as a new one."""


def uses_dp_hash(weights: tuple[int, ...]) -> bool:
    """Whether OVS hashes a dp_hash group of these weights in the datapath; else it falls back to a hash of its own."""
    live = [weight for weight in weights if weight > 0]
    if not live:
        return False
    slots = -(-sum(live) // min(live))
    return max(DP_HASH_MIN_SLOTS, 1 << (slots - 1).bit_length()) <= DP_HASH_MAX_SLOTS


def cost_of(hop: Hop) -> Cost:
    """What the flow of a hop costs the packet that goes on. Unsupported: actions of which it is not clear where it goes on."""
    if hop.flow is None:
        return Cost()
    return _cost(hop.flow.actions, hop.pipeline, hop.table)


@lru_cache(maxsize=16384)
def _cost(text: str, pipeline: str, table: int) -> Cost:
    if "ct" not in text and "select" not in text and "{" not in text:
        return Cost()
    actions = parse_actions(text, pipeline, table)
    lookups = sum(isinstance(a, act.CtCommit) for a in actions)
    to_vip = any(isinstance(a, act.CtSnatToVip) for a in actions)
    leaving = [i for i, a in enumerate(actions) if _recirculates(a)]
    nested = [a for a in actions if isinstance(a, act.Nested) and a.kind in _GENERATES]
    if nested:
        return Cost(lookups=lookups, to_vip=to_vip, generates=True)
    inside = [a for a in actions if isinstance(a, act.Nested) and any(_recirculates(n) for n in a.actions)]
    if inside or (leaving and leaving != [len(actions) - 1]):
        raise Unsupported(f"`{text}`: copies of the packet go on in different passes; their number is not modelled")
    if not leaving:
        return Cost(lookups=lookups, to_vip=to_vip)
    return _last(actions[-1], lookups, to_vip)


def _recirculates(action: act.Action) -> bool:
    return isinstance(action, act.CtNext | act.CtNat | act.CtLb | act.Select)


def _last(action: act.Action, lookups: int, to_vip: bool) -> Cost:
    if isinstance(action, act.Select):
        hashes = uses_dp_hash(tuple(weight for _, weight in action.choices))
        return Cost("select", hashes, False, lookups, to_vip)
    if isinstance(action, act.CtLb):
        hashes = bool(action.backends) and not action.hash_fields and uses_dp_hash((1,) * len(action.backends))
        return Cost(action.kind, hashes, True, lookups + 1, to_vip)
    name = action.kind if isinstance(action, act.CtNat) else "ct_next"
    return Cost(name, False, True, lookups + 1, to_vip)
