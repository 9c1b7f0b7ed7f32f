"""Syntax tree of OVN actions. `parse_actions` makes it, `str()` of a node prints it in OVN's form.

Covers the subset of actions that topologies of Services meet; anything else is an `Unsupported` error that names the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A field or a slice of one: `reg0[2]` is ("reg0", 2, 1); `ip4.dst` is ("ip4.dst", 0, 32). `width` 0: a string field."""

    name: str
    low: int
    width: int


@dataclass(frozen=True, slots=True)
class Next:
    """`next;`, `next(3);`, `next(pipeline=ingress, table=11);` - resolved to pipeline and table by the parser."""

    pipeline: str
    table: int


@dataclass(frozen=True, slots=True)
class Output:
    """`output;`"""


@dataclass(frozen=True, slots=True)
class Load:
    """`field = constant;` - an int, or a str for inport/outport."""

    target: FieldRef
    value: int | str


@dataclass(frozen=True, slots=True)
class Move:
    """`a = b;`"""

    target: FieldRef
    source: FieldRef


@dataclass(frozen=True, slots=True)
class Exchange:
    """`a <-> b;`"""

    left: FieldRef
    right: FieldRef


@dataclass(frozen=True, slots=True)
class Push:
    field: FieldRef


@dataclass(frozen=True, slots=True)
class Pop:
    field: FieldRef


@dataclass(frozen=True, slots=True)
class DecTtl:
    """`ip.ttl--;`"""


@dataclass(frozen=True, slots=True)
class Nested:
    """Actions on a copy or a generated packet: `kind` is clone, arp, nd_ns, nd_na, nd_na_router, icmp4, icmp4_error, icmp6,
    icmp6_error, tcp_reset, sctp_abort or reject."""

    kind: str
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class CtNext:
    """`ct_next;` - conntrack lookup in the port's zone, then the next table."""


@dataclass(frozen=True, slots=True)
class CtCommit:
    """`ct_commit { ct_mark.x = 1; ... };` - loads into ct_mark / ct_label."""

    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class CtNat:
    """`kind`: ct_dnat, ct_snat, ct_dnat_in_czone, ct_snat_in_czone, ct_commit_nat; without address: apply existing NAT."""

    kind: str
    address: str = ""
    port_low: int = 0
    port_high: int = 0


@dataclass(frozen=True, slots=True)
class Backend:
    """One `IP:PORT` of a load-balancing action; port 0: none given."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class CtLb:
    """`ct_lb(...)` / `ct_lb_mark(...)`: without backends, NAT what conntrack knows. `flag`: "", skip_snat or force_snat."""

    kind: str
    backends: tuple[Backend, ...] = ()
    hash_fields: tuple[str, ...] = ()
    flag: str = ""


@dataclass(frozen=True, slots=True)
class CtClear:
    """`ct_clear;`"""


@dataclass(frozen=True, slots=True)
class CtSnatToVip:
    """`ct_snat_to_vip;` - source NAT of a hairpinned packet."""


@dataclass(frozen=True, slots=True)
class Select:
    """`reg = select(1=100, 2=100);`: (value, weight) pairs."""

    target: FieldRef
    choices: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Result:
    """`field = predicate();` - chk_lb_hairpin, chk_lb_hairpin_reply, check_in_port_sec, check_out_port_sec, chk_lb_aff,
    chk_ecmp_nh, chk_ecmp_nh_mac, dns_lookup."""

    target: FieldRef
    function: str


@dataclass(frozen=True, slots=True)
class CheckPktLarger:
    """`field = check_pkt_larger(LIMIT_BYTES);`"""

    target: FieldRef
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class NeighborAction:
    """`get_arp(P, A)`, `put_arp(P, A, E)`, `field = lookup_arp(P, A, E)`, `field = lookup_arp_ip(P, A)` and their nd twins.

    `args` are fields, in order port, ip[, mac]; `target` only for lookups.
    """

    function: str
    args: tuple[FieldRef, ...]
    target: FieldRef | None = None


@dataclass(frozen=True, slots=True)
class FdbAction:
    """`field = get_fdb(E)`, `put_fdb(P, E)`, `field = lookup_fdb(P, E)`."""

    function: str
    args: tuple[FieldRef, ...]
    target: FieldRef | None = None


@dataclass(frozen=True, slots=True)
class CommitLbAff:
    """`commit_lb_aff(vip = "...", backend = "...", proto = tcp, timeout = 60);` vip and backend as "IP:PORT"; proto may be ""."""

    vip: str
    backend: str
    protocol: str
    timeout_s: int


@dataclass(frozen=True, slots=True)
class Opaque:
    """An action that does not decide where a packet of ours goes (log, igmp, handle_svc_check, trigger_event, put_dhcp_opts,
    set_queue, set_meter, sample, dns_lookup ...). `target` is set where it writes a result bit."""

    name: str
    text: str
    target: FieldRef | None = None


Action: TypeAlias = (
    Next
    | Output
    | Load
    | Move
    | Exchange
    | Push
    | Pop
    | DecTtl
    | Nested
    | CtNext
    | CtCommit
    | CtNat
    | CtLb
    | CtClear
    | CtSnatToVip
    | Select
    | Result
    | CheckPktLarger
    | NeighborAction
    | FdbAction
    | CommitLbAff
    | Opaque
)
