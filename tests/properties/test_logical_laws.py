"""Laws of the language: printing and parsing are inverse, compiled is as defined, only YtwinError escapes from any text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ytwin.core.errors import YtwinError
from ytwin.logical.actions import (
    Action,
    Backend,
    CtCommit,
    CtLb,
    CtNat,
    DecTtl,
    Exchange,
    Load,
    Move,
    Nested,
    Next,
    Output,
    Select,
    print_actions,
)
from ytwin.logical.addresses import ipv4_text, ipv6_text
from ytwin.logical.compile import compile_match, lower, prepare, simplify
from ytwin.logical.expr import (
    And,
    Bool,
    Compare,
    Constant,
    Expr,
    Or,
    Resident,
    SetRef,
    Sets,
    compare,
    conjunction,
    disjunction,
    evaluate,
    negate,
    parse_match,
)
from ytwin.logical.fields import SYMBOLS, FieldRef, Form, Level, Scope, Symbol, root
from ytwin.logical.meaning import definition
from ytwin.logical.parse_actions import parse_actions
from ytwin.logical.prerequisites import flow_match
from ytwin.logical.state import FIELD_SLOTS, PacketState

LAWS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""

FLOWS = [line.split("\t") for line in (Path(__file__).parent / "logical_flows.tsv").read_text().splitlines() if line]
"""Flows of a real ovn-northd 23.03.1, one per shape: pipeline, table, match, actions."""

SETS = Sets({"as": ("10.0.0.1", "10.1.0.0/16"), "empty": ()}, {"pg": ("p1", "p2"), "nobody": ()})
NAMES = st.one_of(
    st.sampled_from(("p1", "p2", "")),
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8),
)


class Chassis:
    def __init__(self, ports: tuple[str, ...] = ("p1",)) -> None:
        self.ports = ports

    def resident(self, port: str) -> bool:
        return port in self.ports


@st.composite
def references(draw: st.DrawFn, symbol: Symbol) -> FieldRef:
    if symbol.level is not Level.ORDINAL or symbol.width <= 1 or draw(st.booleans()):
        return symbol.ref()
    low = draw(st.integers(0, symbol.width - 1))
    return FieldRef(symbol.name, low, draw(st.integers(1, symbol.width - low)))


def numbers(width: int) -> st.SearchStrategy[int]:
    top = (1 << width) - 1
    common = [0, 1, 6, 80, 0x800, 0x86DD, 0x0A000001, top, 1 << (width - 1)]
    return st.one_of(st.sampled_from([n & top for n in common]), st.integers(0, top))


@st.composite
def constants(draw: st.DrawFn, width: int, masked: bool = True) -> Constant:
    ones = (1 << width) - 1
    mask = draw(st.one_of(st.just(ones), st.integers(0, ones))) if masked and draw(st.booleans()) else ones
    return Constant(draw(numbers(width)) & mask, mask)


@st.composite
def comparisons(draw: st.DrawFn) -> Expr:
    """A comparison that OVN allows."""
    symbol = draw(st.sampled_from([s for s in SYMBOLS.values() if s.scope is not Scope.ANYWHERE]))
    if not symbol.width:
        members = st.one_of(
            NAMES.filter(lambda n: n != "none"), st.just(SetRef("@", "pg")), st.just(SetRef("@", "nobody"))
        )
        return compare(symbol.ref(), "==", tuple(draw(st.lists(members, min_size=1, max_size=3))))
    if symbol.predicate:
        positive = symbol.level is Level.NOMINAL or draw(st.booleans())
        return compare(symbol.ref(), "==", (Constant(int(positive), 1),))
    ref = draw(references(symbol))
    if symbol.level is Level.NOMINAL:
        return compare(ref, "==", tuple(draw(st.lists(constants(ref.width), min_size=1, max_size=3))))
    op = draw(st.sampled_from(("==", "==", "!=", "<", "<=", ">", ">=")))
    if op not in {"==", "!="}:
        return compare(ref, op, (draw(constants(ref.width, masked=False)),))
    members = st.one_of(constants(ref.width), constants(ref.width))
    if symbol.width >= 32:
        members = st.one_of(members, st.just(SetRef("$", "as")), st.just(SetRef("$", "empty")))
    return compare(ref, op, tuple(draw(st.lists(members, min_size=1, max_size=3))))


LEAVES = st.one_of(comparisons(), st.booleans().map(Bool), st.builds(Resident, NAMES, st.booleans()))
MATCHES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(conjunction),
        st.lists(inner, min_size=1, max_size=3).map(disjunction),
    ),
    max_leaves=8,
)


@st.composite
def packets(draw: st.DrawFn) -> PacketState:
    """Any values at all: the language defines what a match means even for packets that cannot exist."""
    state = PacketState(inport=draw(st.sampled_from(("p1", "p2", "p3"))))
    state.eth_type = draw(st.sampled_from((0x800, 0x86DD, 0x806, 0x8035, 5)))
    state.ip_proto = draw(st.sampled_from((1, 6, 17, 58, 132)))
    state.vlan_tci = draw(st.sampled_from((0, 0x1005)))
    state.ct_state = draw(st.integers(0, 255))
    state.ip_ttl, state.icmp_type = draw(st.sampled_from((64, 255))), draw(st.sampled_from((0, 8, 131, 135, 136)))
    for slot in draw(st.lists(st.sampled_from(FIELD_SLOTS[2:]), max_size=6)):
        ref = _reference_of(slot)
        if ref is not None and slot not in {"eth_type", "ip_proto"}:
            state.set(ref, draw(numbers(ref.width)))
    return state


def _reference_of(slot: str) -> FieldRef | None:
    for symbol in SYMBOLS.values():
        if symbol.slots == (slot,):
            return symbol.ref()
    return None


@given(MATCHES)
@LAWS
def test_what_is_printed_parses_back(tree: Expr) -> None:
    assert parse_match(str(tree)) == tree


@given(MATCHES, st.lists(packets(), min_size=1, max_size=5))
@settings(LAWS, max_examples=300)
def test_compiled_is_defined(tree: Expr, states: list[PacketState]) -> None:
    compiled = compile_match(tree, SETS)
    prepared = prepare(tree, SETS)
    for state in states:
        holds = evaluate(tree, state, Chassis(), SETS)
        assert compiled(state, Chassis()) is holds
        assert not (prepared.always and not holds)
        assert not (prepared.never and holds)
        if holds:
            assert all(getattr(state, slot) == value for slot, value in prepared.keys().items())
            assert all(getattr(state, slot) in values for slot, values in prepared.choices().items())
            assert all(getattr(state, slot) & mask == value for slot, mask, value in prepared.masked())
        rest = prepared.matcher(given=prepared.choices())
        kept = all(getattr(state, slot) in values for slot, values in prepared.choices().items())
        assert holds == (kept and rest(state, Chassis()))


@given(MATCHES)
@LAWS
def test_simplifying_twice_changes_nothing(tree: Expr) -> None:
    once = simplify(lower(tree, SETS))
    assert simplify(once) == once


@given(MATCHES)
@LAWS
def test_negating_twice_changes_nothing(tree: Expr) -> None:
    assert negate(negate(tree)) == tree


@given(MATCHES, packets())
@LAWS
def test_a_match_and_its_negation_divide_packets(tree: Expr, state: PacketState) -> None:
    """Never both; and one of them, unless a prerequisite fails, which it then does on both sides."""
    both = [evaluate(each, state, Chassis(), SETS) for each in (tree, negate(tree))]
    assert not all(both)
    assert any(both) or _has_prerequisite(tree)


def _has_prerequisite(tree: Expr) -> bool:
    if isinstance(tree, And | Or):
        return any(map(_has_prerequisite, tree.terms))
    return isinstance(tree, Compare) and definition(tree.field.name)[0] is not None


@given(MATCHES, MATCHES, packets())
@LAWS
def test_de_morgan(left: Expr, right: Expr, state: PacketState) -> None:
    negated = negate(conjunction((left, right)))
    either = disjunction((negate(left), negate(right)))
    assert evaluate(negated, state, Chassis(), SETS) == evaluate(either, state, Chassis(), SETS)


@st.composite
def stores(draw: st.DrawFn, scope: Scope = Scope.ACTIONS) -> Action:
    symbol = draw(st.sampled_from([s for s in SYMBOLS.values() if s.scope is scope]))
    if not symbol.width:
        other = FieldRef("outport" if symbol.name == "inport" else "inport", 0, 0)
        name = draw(NAMES.filter(lambda n: n != "none"))
        return draw(
            st.sampled_from((Load(symbol.ref(), name), Move(symbol.ref(), other), Exchange(symbol.ref(), other)))
        )
    ref = draw(references(symbol))
    if draw(st.booleans()):
        form = draw(st.sampled_from((None, Form.HEX, Form.DECIMAL)))
        return Load(ref, draw(numbers(ref.width)), form)
    same = [s for s in SYMBOLS.values() if s.width == ref.width and s.scope is scope]
    source = draw(st.sampled_from([s.ref() for s in same] or [ref]))
    return draw(st.sampled_from((Move(ref, source), Exchange(ref, source))))


ADDRESSES = st.one_of(st.integers(0, 2**32 - 1).map(ipv4_text), st.integers(0, 2**128 - 1).map(ipv6_text))
BACKENDS = st.builds(Backend, ADDRESSES, st.integers(0, 65535))
SIMPLE = st.one_of(
    stores(),
    st.builds(Next, st.sampled_from(("ingress", "egress")), st.integers(0, 40)),
    st.sampled_from((Output(), DecTtl(), CtNat("ct_dnat"), CtLb("ct_lb_mark"))),
    st.lists(stores(Scope.CT_COMMIT), max_size=2).map(lambda inner: CtCommit(tuple(inner))),
    st.builds(CtNat, st.sampled_from(("ct_snat", "ct_dnat_in_czone")), ADDRESSES, st.integers(1, 9), st.just(10)),
    st.builds(
        CtLb,
        st.sampled_from(("ct_lb", "ct_lb_mark")),
        st.lists(BACKENDS, min_size=1, max_size=3).map(tuple),
        st.sampled_from(((), ("ip_dst", "ip_src"))),
        st.sampled_from(("", "skip_snat", "force_snat")),
    ),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=2, max_size=3).map(
        lambda choices: Select(FieldRef("reg8", 16, 16), tuple(choices))
    ),
)
ACTIONS = st.recursive(
    SIMPLE,
    lambda inner: st.builds(
        lambda kind, actions: Nested(kind, tuple(actions)),
        st.sampled_from(("clone", "arp", "icmp4", "reject", "nd_na")),
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)


@given(st.lists(ACTIONS, max_size=4).map(tuple), st.sampled_from(("ingress", "egress")), st.integers(0, 40))
@LAWS
def test_actions_print_and_parse_back(actions: tuple[Action, ...], pipeline: str, table: int) -> None:
    assert parse_actions(print_actions(actions, pipeline, table), pipeline, table) == actions
    assert parse_actions(" ".join(map(str, actions)) or "drop;", "ingress", 0) == actions


@given(stores(), packets())
@LAWS
def test_a_store_changes_only_its_own_bits(action: Action, state: PacketState) -> None:
    assert isinstance(action, Load | Move | Exchange)
    if not isinstance(action, Load):
        return
    before = state.copy()
    state.set(action.target, action.value)
    assert state.get(action.target) == action.value
    state.set(action.target, before.get(action.target))
    assert state == before
    assert state.get(root(action.target)) == before.get(action.target)


@pytest.mark.parametrize("flow", FLOWS, ids=range(len(FLOWS)))
def test_real_flows(flow: list[str]) -> None:
    pipeline, table, match, actions = flow
    tree, parsed = parse_match(match), parse_actions(actions, pipeline, int(table))
    assert parse_match(str(tree)) == tree
    assert parse_actions(print_actions(parsed, pipeline, int(table)), pipeline, int(table)) == parsed
    assert not prepare(flow_match(tree, parsed), _everything(match)).never


def _everything(match: str) -> Sets:
    """Address sets and port groups of all the names in the match, each with one member."""
    groups = dict.fromkeys(re.findall(r"@([\w.]+)", match), ("p1",))
    return Sets(dict.fromkeys(re.findall(r"\$([\w.]+)", match), ("10.0.0.1",)), groups)


FRAGMENTS = sorted(
    {token for _, _, *texts in FLOWS for text in texts for token in re.findall(r"\w+|[^\w\s]+|\s", text)}
)


@st.composite
def mutated(draw: st.DrawFn, column: int) -> str:
    """A real flow's text with pieces taken out, doubled, exchanged with others, or cut in the middle."""
    pieces = re.findall(r"\w+|[^\w\s]|\s", draw(st.sampled_from(FLOWS))[column])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(pieces) - 1)))
        kind = draw(st.integers(0, 4))
        if kind == 0:
            del pieces[at : at + draw(st.integers(1, 4))]
        elif kind == 1:
            pieces[at:at] = pieces[at : at + draw(st.integers(1, 6))]
        elif kind == 2:
            pieces[at : at + 1] = [draw(st.sampled_from(FRAGMENTS))]
        elif kind == 3:
            pieces[at:at] = [draw(st.text(max_size=3))]
        else:
            pieces[at:] = []
    return "".join(pieces)


T = TypeVar("T")


def _or_none(parse: Callable[[], T], text: str) -> T | None:
    """What `parse` returns, or None if it raises an error that names the text."""
    try:
        return parse()
    except YtwinError as error:
        message = str(error)
    assert text in message
    return None


@given(st.one_of(mutated(2), st.text(max_size=40)))
@settings(LAWS, max_examples=1500)
def test_any_match_text_parses_or_is_refused(text: str) -> None:
    tree = _or_none(lambda: parse_match(text), text)
    if tree is None:
        return
    assert parse_match(str(tree)) == tree
    _or_none(lambda: compile_match(tree, _everything(text)), "")


@given(st.one_of(mutated(3), st.text(max_size=40)))
@settings(LAWS, max_examples=1500)
def test_any_action_text_parses_or_is_refused(text: str) -> None:
    actions = _or_none(lambda: parse_actions(text, "ingress", 5), text)
    if actions is None:
        return
    assert parse_actions(print_actions(actions, "ingress", 5), "ingress", 5) == actions
    prepare(flow_match(parse_match("1"), actions))
