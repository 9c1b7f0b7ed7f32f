"""Parser of logical flow actions (ovn-sb(5), Logical_Flow, `actions`), and of whole flows."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from ytwin.core.errors import Unsupported
from ytwin.logical.actions import (
    Action,
    Backend,
    CheckPktLarger,
    CommitLbAff,
    CtClear,
    CtCommit,
    CtLb,
    CtNat,
    CtNext,
    CtSnatToVip,
    DecTtl,
    Exchange,
    FdbAction,
    FieldRef,
    Load,
    Move,
    NeighborAction,
    Nested,
    Next,
    Opaque,
    Output,
    Pop,
    Push,
    Result,
    Select,
)
from ytwin.logical.addresses import ip_int, ip_text
from ytwin.logical.fields import SYMBOLS, Form, Scope
from ytwin.logical.lexer import ParseError, TokenStream
from ytwin.logical.parse_match import constant_of, constant_width, cut, parse_field, parse_match, port_name
from ytwin.logical.prerequisites import NESTED_PREREQUISITES, flow_match
from ytwin.logical.tree import Expr

MAX_TABLE = 63
"""No OVN release has as many logical tables in a pipeline."""

_MAX_NESTING = 31
_PORT_MAX = 0xFFFF

_NAT_KINDS = frozenset({"ct_dnat", "ct_snat", "ct_dnat_in_czone", "ct_snat_in_czone"})
_RESULTS = frozenset(
    {
        "chk_lb_hairpin",
        "chk_lb_hairpin_reply",
        "check_in_port_sec",
        "check_out_port_sec",
        "chk_lb_aff",
        "chk_ecmp_nh",
        "chk_ecmp_nh_mac",
        "dns_lookup",
    }
)
_NEIGHBOR_CALLS = {"get_arp": (0, 32), "get_nd": (0, 128), "put_arp": (0, 32, 48), "put_nd": (0, 128, 48)}
_NEIGHBOR_LOOKUPS = {
    "lookup_arp": (0, 32, 48),
    "lookup_nd": (0, 128, 48),
    "lookup_arp_ip": (0, 32),
    "lookup_nd_ip": (0, 128),
}
_OPAQUE_CALLS = frozenset(
    {
        "log",
        "igmp",
        "handle_svc_check",
        "trigger_event",
        "set_queue",
        "set_meter",
        "sample",
        "handle_dhcpv6_reply",
        "handle_bfd_msg",
        "bind_vport",
        "commit_ecmp_nh",
        "mac_cache_use",  # statistics of neighbours, in every router of OVN 23.09 and later
    }
)
_OPAQUE_RESULTS = frozenset({"put_dhcp_opts", "put_dhcpv6_opts", "put_nd_ra_opts"})
_PLAIN: dict[str, Callable[[], Action]] = {
    "output": Output,
    "ct_next": CtNext,
    "ct_clear": CtClear,
    "ct_snat_to_vip": CtSnatToVip,
    "ct_commit_nat": lambda: CtNat("ct_commit_nat"),
}


class _Parser:
    def __init__(self, text: str, pipeline: str, table: int) -> None:
        self._stream = TokenStream(text)
        self._pipeline = pipeline
        self._table = table
        self._scope = Scope.ACTIONS
        self._depth = 0

    def parse(self) -> tuple[Action, ...]:
        return self._actions("end")

    def _actions(self, closing: str) -> tuple[Action, ...]:
        """Actions up to and with the closing token; `drop;` alone stands for none."""
        stream = self._stream
        if stream.token.kind == "id" and stream.token.text == "drop" and stream.look_ahead() == ";":
            stream.take()
            stream.take()
            self._close(closing)
            return ()
        found: list[Action] = []
        while stream.token.kind != closing:
            found.append(self._action())
            stream.expect(";")
        self._close(closing)
        return tuple(found)

    def _close(self, closing: str) -> None:
        if self._stream.token.kind != closing:
            raise self._stream.error(f"`{closing}` is expected")
        self._stream.take()

    def _action(self) -> Action:
        stream = self._stream
        if stream.token.kind == "^":
            raise stream.error("a template variable that nobody has expanded")
        if stream.token.kind != "id":
            raise stream.error("an action is expected")
        if stream.look_ahead() in {"=", "<->", "["}:
            return self._assignment()
        name, start = stream.token.text, stream.token.start
        special = {
            "next": self._next,
            "ip.ttl": self._dec_ttl,
            "ct_commit": self._ct_commit,
            "commit_lb_aff": self._commit_lb_aff,
            "put_fdb": lambda: FdbAction("put_fdb", self._arguments(0, 48)),
            "push": lambda: Push(*self._arguments(None)),
            "pop": self._pop,
        }
        if name in special:
            stream.take()
            return special[name]()
        if name in _PLAIN:
            stream.take()
            return _PLAIN[name]()
        if name in _NAT_KINDS:
            return self._ct_nat(stream.take().text)
        if name in {"ct_lb", "ct_lb_mark"}:
            return self._ct_lb(stream.take().text)
        if name in NESTED_PREREQUISITES:
            stream.take()
            return Nested(name, self._block(Scope.ACTIONS if name == "clone" else self._scope))
        if name in _NEIGHBOR_CALLS:
            stream.take()
            return NeighborAction(name, self._arguments(*_NEIGHBOR_CALLS[name]))
        if name in _OPAQUE_CALLS:
            stream.take()
            return Opaque(name, self._opaque(start))
        raise stream.error(f"action `{name}` is not supported")

    def _block(self, scope: Scope) -> tuple[Action, ...]:
        """`{ actions }` with fields writable as in the given scope."""
        self._stream.expect("{")
        if self._depth + 1 >= _MAX_NESTING:
            raise self._stream.error("actions are nested too deeply")
        outer, self._scope = self._scope, scope
        self._depth += 1
        actions = self._actions("}")
        self._depth -= 1
        self._scope = outer
        return actions

    def _next(self) -> Action:
        stream = self._stream
        pipeline, table = self._pipeline, self._table + 1
        if stream.match("("):
            if stream.token.kind == "number":
                table = stream.expect_int("a table", MAX_TABLE)
            else:
                while True:
                    if stream.match_id("pipeline"):
                        stream.expect("=")
                        if stream.token.text not in {"ingress", "egress"}:
                            raise stream.error("`ingress` or `egress` is expected")
                        pipeline = stream.expect("id").text
                    else:
                        stream.expect_id("table")
                        stream.expect("=")
                        table = stream.expect_int("a table", MAX_TABLE)
                    if not stream.match(","):
                        break
            stream.expect(")")
        return Next(pipeline, table)

    def _dec_ttl(self) -> Action:
        self._stream.expect("--")
        return DecTtl()

    def _pop(self) -> Action:
        (ref,) = self._arguments(None)
        self._check_writable(ref)
        return Pop(ref)

    def _ct_commit(self) -> Action:
        if self._stream.token.kind == "(":
            raise self._stream.error("ct_commit with arguments in parentheses is not supported")
        return CtCommit(self._block(Scope.CT_COMMIT) if self._stream.token.kind == "{" else ())

    def _ct_nat(self, kind: str) -> Action:
        stream = self._stream
        if not stream.match("("):
            return CtNat(kind)
        address = self._address()
        low = high = 0
        if stream.match(","):
            low = stream.expect_int("a port", _PORT_MAX)
            if stream.match("-"):
                high = stream.expect_int("a port", _PORT_MAX)
                if high <= low:
                    raise stream.error("the range of ports is empty")
            if not low:
                raise stream.error("a range of ports cannot start with 0")
        stream.expect(")")
        return CtNat(kind, address, low, high)

    def _address(self, *forms: Form) -> str:
        """An unmasked IPv4 or IPv6 address, in canonical text."""
        token = self._stream.token
        if not token.is_number() or token.form not in (forms or (Form.IPV4, Form.IPV6)):
            raise self._stream.error("an IP address is expected")
        self._stream.take()
        return ip_text(token.value, token.form is Form.IPV6)

    def _ct_lb(self, kind: str) -> Action:
        stream = self._stream
        if not stream.match("(") or stream.match(")"):
            return CtLb(kind)
        stream.expect_id("backends")
        stream.expect("=")
        backends: list[Backend] = []
        while stream.token.kind not in {";", ")"}:
            backends.append(self._backend())
            stream.match(",")
        hash_fields: tuple[str, ...] = ()
        flag = ""
        if stream.match(";") and stream.match_id("hash_fields"):
            stream.expect("=")
            hash_fields = self._hash_fields()
            stream.match(";")
        for name in ("skip_snat", "force_snat"):
            if not flag and stream.match_id(name):
                flag = name
        stream.expect(")")
        if not backends and (hash_fields or flag):
            raise stream.error("options without backends")
        return CtLb(kind, tuple(backends), hash_fields, flag)

    def _hash_fields(self) -> tuple[str, ...]:
        names = tuple(self._stream.token.text.split(","))
        if any(not name.replace("_", "").isalnum() for name in names):
            raise self._stream.error("names of fields with commas between them are expected")
        self._stream.expect("string")
        return names

    def _backend(self) -> Backend:
        stream = self._stream
        if stream.match("["):
            address = self._address(Form.IPV6)
            stream.expect("]")
        else:
            address = self._address()
            if ":" in address:
                return Backend(address, 0)
        return Backend(address, stream.expect_int("a port", _PORT_MAX) if stream.match(":") else 0)

    def _commit_lb_aff(self) -> Action:
        stream = self._stream
        stream.expect("(")
        ends: list[str] = []
        for name in ("vip", "backend"):
            stream.expect_id(name)
            stream.expect("=")
            if not _is_endpoint(stream.token.text):
                raise stream.error("an address and port is expected")
            ends.append(stream.expect("string").text)
            stream.expect(",")
        protocol = ""
        if stream.match_id("proto"):
            stream.expect("=")
            if stream.token.text not in {"tcp", "udp", "sctp"}:
                raise stream.error("a protocol is expected")
            protocol = stream.expect("id").text
            stream.expect(",")
        stream.expect_id("timeout")
        stream.expect("=")
        timeout_s = stream.expect_int("a timeout", _PORT_MAX)
        stream.expect(")")
        return CommitLbAff(ends[0], ends[1], protocol, timeout_s)

    def _arguments(self, *widths: int | None) -> tuple[FieldRef, ...]:
        """`(field, ...)` with fields of the given widths: 0 for a string, None for any."""
        stream = self._stream
        found: list[FieldRef] = []
        for i, width in enumerate(widths):
            stream.expect("," if i else "(")
            start = stream.token.start
            ref = self._field()
            if width is not None and ref.width != width:
                raise ParseError(f"{ref} has {ref.width} bits where {width} are needed", stream.source, start)
            found.append(ref)
        stream.expect(")")
        return tuple(found)

    def _field(self) -> FieldRef:
        """A field that stores something."""
        stream = self._stream
        start = stream.token.start
        ref = parse_field(stream)
        if SYMBOLS[ref.name].predicate:
            raise ParseError(f"predicate {ref.name} stores nothing", stream.source, start)
        return ref

    def _check_writable(self, ref: FieldRef) -> None:
        if SYMBOLS[ref.name].scope not in {self._scope, Scope.ANYWHERE}:
            raise self._stream.error(f"{ref.name} cannot be written here")

    def _opaque(self, start: int) -> str:
        """Source text from `start` up to the `;` that ends the action; parentheses in it are balanced."""
        stream = self._stream
        depth = 0
        end = stream.token.start
        while depth or stream.token.kind != ";":
            if stream.token.kind == "end":
                raise stream.error("`;` is expected")
            token = stream.take()
            depth += {"(": 1, ")": -1}.get(token.kind, 0)
            end = token.end
            if depth < 0:
                raise stream.error("`;` is expected")
        return stream.source[start:end].rstrip()

    def _assignment(self) -> Action:
        stream = self._stream
        start = stream.token.start
        target = self._field()
        if stream.match("<->"):
            other = self._field()
            self._check_same_width(target, other)
            self._check_writable(target)
            self._check_writable(other)
            return Exchange(target, other)
        stream.expect("=")
        self._check_writable(target)
        if stream.token.kind != "id":
            return self._load(target)
        if stream.look_ahead() == "(":
            return self._call(target, start)
        source = self._field()
        self._check_same_width(target, source)
        return Move(target, source)

    def _check_same_width(self, left: FieldRef, right: FieldRef) -> None:
        if left.width != right.width:
            raise self._stream.error(f"{left} and {right} differ in width")

    def _load(self, target: FieldRef) -> Action:
        stream = self._stream
        if not target.width:
            return Load(target, port_name(stream.expect("string").text))
        token = stream.expect("number")
        constant = constant_of(token)
        width = SYMBOLS[target.name].width
        if constant_width(constant) > width:
            raise ParseError(f"{token.text} does not fit {width}-bit field {target.name}", stream.source, token.start)
        if token.mask is not None:
            raise ParseError("assignment under a mask is not supported", stream.source, token.start)
        return Load(target, cut(constant, target).value, token.form)

    def _call(self, target: FieldRef, start: int) -> Action:
        stream = self._stream
        name = stream.token.text
        if name == "select":
            return self._select(target)
        if name == "get_fdb":
            if target.width not in {0, 32}:
                raise stream.error("get_fdb needs 32 bits or a port for its result")
            stream.take()
            return FdbAction(name, self._arguments(48), target)
        if target.width != 1:
            raise stream.error(f"{target} is not the single bit that a result needs")
        stream.take()
        if name in _RESULTS:
            stream.expect("(")
            stream.expect(")")
            return Result(target, name)
        if name == "check_pkt_larger":
            stream.expect("(")
            limit_bytes = stream.expect_int("a length")
            stream.expect(")")
            return CheckPktLarger(target, limit_bytes)
        if name in _NEIGHBOR_LOOKUPS:
            return NeighborAction(name, self._arguments(*_NEIGHBOR_LOOKUPS[name]), target)
        if name == "lookup_fdb":
            return FdbAction(name, self._arguments(0, 48), target)
        if name in _OPAQUE_RESULTS:
            return Opaque(name, self._opaque(start), target)
        raise stream.error(f"function `{name}` is not supported")

    def _select(self, target: FieldRef) -> Action:
        stream = self._stream
        if target.width < 16:
            raise stream.error("select needs at least 16 bits for its result")
        stream.take()
        stream.expect("(")
        choices: list[tuple[int, int]] = []
        while not stream.match(")"):
            value = stream.expect_int("a number", _PORT_MAX)
            weight = stream.expect_int("a weight", _PORT_MAX) if stream.match("=") else 100
            if not weight:
                raise stream.error("a weight cannot be 0")
            choices.append((value, weight))
            stream.match(",")
        if len(choices) < 2:
            raise stream.error("select needs at least two choices")
        return Select(target, tuple(choices))


def _is_endpoint(text: str) -> bool:
    """`IP`, `IP:PORT`, `[IP6]` or `[IP6]:PORT`."""
    host, bracket, rest = text[1:].partition("]") if text.startswith("[") else (text, "", "")
    port = rest
    if not bracket and host.count(":") == 1:
        host, colon, digits = host.partition(":")
        port = colon + digits
    try:
        ip_int(host)
    except ValueError:
        return False
    number = port[1:]
    return not port or (port[0] == ":" and number.isascii() and number.isdecimal() and int(number[:6]) <= _PORT_MAX)


@lru_cache(maxsize=1 << 16)
def parse_actions(text: str, pipeline: str, table: int) -> tuple[Action, ...]:
    """The actions of a flow in the given pipeline and table; `drop;` is ().

    ParseError (an Unsupported) for what OVN 23.03 would refuse, and for actions outside the twin's subset.
    """
    return _Parser(text, pipeline, table).parse()


def parse_flow(match: str, actions: str, pipeline: str, table: int) -> tuple[Expr, tuple[Action, ...]]:
    """Match (with the prerequisites of the actions) and actions of a flow; an error names both texts."""
    try:
        parsed = parse_actions(actions, pipeline, table)
        return flow_match(parse_match(match), parsed), parsed
    except ParseError as error:
        where = f"flow ({match}) -> {actions} in {pipeline} table {table}"
        raise Unsupported(f"{where}: {error}") from error
