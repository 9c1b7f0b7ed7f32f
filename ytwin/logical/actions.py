"""Syntax tree of OVN actions. `parse_actions` makes it, `str()` of a node prints it in OVN's form.

Covers the subset of actions that topologies of Services meet; anything else is an `Unsupported` error that names the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from ytwin.logical.addresses import endpoint
from ytwin.logical.fields import FieldRef as FieldRef  # noqa: PLC0414  re-exported: actions are made of references
from ytwin.logical.fields import Form, number_text, quote


@dataclass(frozen=True, slots=True)
class Next:
    """`next;`, `next(3);`, `next(pipeline=ingress, table=11);` - resolved to pipeline and table by the parser.

    `str()` prints the long form, which means the same everywhere; `print_actions` prints OVN's short one.
    """

    pipeline: str
    table: int

    def __str__(self) -> str:
        return f"next(pipeline={self.pipeline}, table={self.table});"


@dataclass(frozen=True, slots=True)
class Output:
    """`output;`"""

    def __str__(self) -> str:
        return "output;"


@dataclass(frozen=True, slots=True)
class Load:
    """`field = constant;` - an int, or a str for inport/outport (the port "none" is "")."""

    target: FieldRef
    value: int | str
    form: Form | None = field(default=None, compare=False)
    """How the constant was written; None: as is usual for the field. Does not take part in equality."""

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return f"{self.target} = {quote(self.value)};"
        return f"{self.target} = {number_text(self.value, self.form or self.target.form())};"


@dataclass(frozen=True, slots=True)
class Move:
    """`a = b;`"""

    target: FieldRef
    source: FieldRef

    def __str__(self) -> str:
        return f"{self.target} = {self.source};"


@dataclass(frozen=True, slots=True)
class Exchange:
    """`a <-> b;`"""

    left: FieldRef
    right: FieldRef

    def __str__(self) -> str:
        return f"{self.left} <-> {self.right};"


@dataclass(frozen=True, slots=True)
class Push:
    """`push(field);` - onto the stack of the flow's actions."""

    field: FieldRef

    def __str__(self) -> str:
        return f"push({self.field});"


@dataclass(frozen=True, slots=True)
class Pop:
    """`pop(field);` - off the stack of the flow's actions."""

    field: FieldRef

    def __str__(self) -> str:
        return f"pop({self.field});"


@dataclass(frozen=True, slots=True)
class DecTtl:
    """`ip.ttl--;`"""

    def __str__(self) -> str:
        return "ip.ttl--;"


@dataclass(frozen=True, slots=True)
class Nested:
    """Actions on a copy or a generated packet: `kind` is clone, arp, nd_ns, nd_na, nd_na_router, icmp4, icmp4_error, icmp6,
    icmp6_error, tcp_reset, sctp_abort or reject."""

    kind: str
    actions: tuple[Action, ...]

    def __str__(self) -> str:
        return f"{self.kind} {{ {join_actions(map(str, self.actions))} }};"


@dataclass(frozen=True, slots=True)
class CtNext:
    """`ct_next;` - conntrack lookup in the port's zone, then the next table."""

    def __str__(self) -> str:
        return "ct_next;"


@dataclass(frozen=True, slots=True)
class CtCommit:
    """`ct_commit { ct_mark.x = 1; ... };` - loads into ct_mark / ct_label."""

    actions: tuple[Action, ...] = ()

    def __str__(self) -> str:
        return f"ct_commit {{ {join_actions(map(str, self.actions))} }};" if self.actions else "ct_commit;"


@dataclass(frozen=True, slots=True)
class CtNat:
    """`kind`: ct_dnat, ct_snat, ct_dnat_in_czone, ct_snat_in_czone, ct_commit_nat; without address: apply existing NAT."""

    kind: str
    address: str = ""
    port_low: int = 0
    port_high: int = 0

    def __str__(self) -> str:
        if not self.address:
            return f"{self.kind};"
        ports = f",{self.port_low}" if self.port_low else ""
        ports += f"-{self.port_high}" if self.port_high else ""
        return f"{self.kind}({self.address}{ports});"


@dataclass(frozen=True, slots=True)
class Backend:
    """One `IP:PORT` of a load-balancing action; port 0: none given."""

    address: str
    port: int

    def __str__(self) -> str:
        return endpoint(self.address, self.port)


@dataclass(frozen=True, slots=True)
class CtLb:
    """`ct_lb(...)` / `ct_lb_mark(...)`: without backends, NAT what conntrack knows. `flag`: "", skip_snat or force_snat."""

    kind: str
    backends: tuple[Backend, ...] = ()
    hash_fields: tuple[str, ...] = ()
    flag: str = ""

    def __str__(self) -> str:
        if not self.backends:
            return f"{self.kind};"
        hashed = f'; hash_fields="{",".join(self.hash_fields)}"' if self.hash_fields else ""
        flag = f"; {self.flag}" if self.flag else ""
        return f"{self.kind}(backends={','.join(map(str, self.backends))}{hashed}{flag});"


@dataclass(frozen=True, slots=True)
class CtClear:
    """`ct_clear;`"""

    def __str__(self) -> str:
        return "ct_clear;"


@dataclass(frozen=True, slots=True)
class CtSnatToVip:
    """`ct_snat_to_vip;` - source NAT of a hairpinned packet."""

    def __str__(self) -> str:
        return "ct_snat_to_vip;"


@dataclass(frozen=True, slots=True)
class Select:
    """`reg = select(1=100, 2=100);`: (value, weight) pairs."""

    target: FieldRef
    choices: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return f"{self.target} = select({', '.join(f'{value}={weight}' for value, weight in self.choices)});"


@dataclass(frozen=True, slots=True)
class Result:
    """`field = predicate();` - chk_lb_hairpin, chk_lb_hairpin_reply, check_in_port_sec, check_out_port_sec, chk_lb_aff,
    chk_ecmp_nh, chk_ecmp_nh_mac, dns_lookup."""

    target: FieldRef
    function: str

    def __str__(self) -> str:
        return f"{self.target} = {self.function}();"


@dataclass(frozen=True, slots=True)
class CheckPktLarger:
    """`field = check_pkt_larger(LIMIT_BYTES);`"""

    target: FieldRef
    limit_bytes: int

    def __str__(self) -> str:
        return f"{self.target} = check_pkt_larger({self.limit_bytes});"


@dataclass(frozen=True, slots=True)
class NeighborAction:
    """`get_arp(P, A)`, `put_arp(P, A, E)`, `field = lookup_arp(P, A, E)`, `field = lookup_arp_ip(P, A)` and their nd twins.

    `args` are fields, in order port, ip[, mac]; `target` only for lookups.
    """

    function: str
    args: tuple[FieldRef, ...]
    target: FieldRef | None = None

    def __str__(self) -> str:
        return _call(self.target, self.function, self.args)


@dataclass(frozen=True, slots=True)
class FdbAction:
    """`field = get_fdb(E)`, `put_fdb(P, E)`, `field = lookup_fdb(P, E)`."""

    function: str
    args: tuple[FieldRef, ...]
    target: FieldRef | None = None

    def __str__(self) -> str:
        return _call(self.target, self.function, self.args)


@dataclass(frozen=True, slots=True)
class CommitLbAff:
    """`commit_lb_aff(vip = "...", backend = "...", proto = tcp, timeout = 60);` vip and backend as "IP:PORT"; proto may be ""."""

    vip: str
    backend: str
    protocol: str
    timeout_s: int

    def __str__(self) -> str:
        protocol = f", proto = {self.protocol}" if self.protocol else ""
        vip, backend = quote(self.vip), quote(self.backend)
        return f"commit_lb_aff(vip = {vip}, backend = {backend}{protocol}, timeout = {self.timeout_s});"


@dataclass(frozen=True, slots=True)
class Opaque:
    """An action that does not decide where a packet of ours goes (log, igmp, handle_svc_check, trigger_event, put_dhcp_opts,
    set_queue, set_meter, sample, commit_ecmp_nh, ...). `target` is set where it writes a result bit; `text` is the source."""

    name: str
    text: str
    target: FieldRef | None = None

    def __str__(self) -> str:
        return f"{self.text};"


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


def _call(target: FieldRef | None, function: str, args: Iterable[FieldRef]) -> str:
    call = f"{function}({', '.join(map(str, args))});"
    return call if target is None else f"{target} = {call}"


def join_actions(texts: Iterable[str]) -> str:
    """Actions beside each other; none at all is `drop;`."""
    return " ".join(texts) or "drop;"


def print_actions(actions: Iterable[Action], pipeline: str, table: int) -> str:
    """Actions as OVN prints them in the given pipeline and table: `next;` and `next(N);` where they suffice."""

    def text(action: Action) -> str:
        if isinstance(action, Next) and action.pipeline == pipeline:
            return "next;" if action.table == table + 1 else f"next({action.table});"
        if isinstance(action, Nested):
            return f"{action.kind} {{ {print_actions(action.actions, pipeline, table)} }};"
        return str(action)

    return join_actions(map(text, actions))
