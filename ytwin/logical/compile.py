"""Matches as fast Python predicates, and what a table needs to index its flows by.

Steps: `lower` turns the tree into tests of single PacketState slots (predicates expanded, prerequisites joined, sets replaced
by their members); `simplify` drops what other tests already decide, so that prerequisites nearly vanish; then Python source is
written from the tests. Source depends on the shape only, constants are parameters: flows that differ in addresses share one
compiled function.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, cast

from frozendict import frozendict

from ytwin.logical.fields import FieldRef, Part, parts
from ytwin.logical.meaning import NO_SETS, Residence, Sets, definition, resolve_values
from ytwin.logical.state import PacketState
from ytwin.logical.tree import And, Bool, Compare, Constant, Expr, Or, Resident

Matcher: TypeAlias = Callable[[PacketState, Residence], bool]
WHOLE = -1
"""Mask of a test that looks at the whole slot."""


@dataclass(frozen=True, slots=True)
class Test:
    """`slot & mask` is (or, if not `positive`, is not) one of `values`."""

    slot: str
    mask: int
    values: frozenset[int | str]
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Relation:
    """Comparison of a field or slice with a bound: `op` is <, <=, > or >=."""

    field: FieldRef
    op: str
    bound: int


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of at least two terms."""

    terms: tuple[Lowered, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of at least two terms."""

    terms: tuple[Lowered, ...]


Lowered: TypeAlias = Test | Relation | Resident | Bool | AllOf | AnyOf
Known: TypeAlias = Mapping[str, tuple[int, int | str]]
"""What is certain about slots: slot -> (mask, value of the bits in the mask)."""

_YES, _NO = Bool(True), Bool(False)
_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def _all(terms: Iterable[Lowered]) -> Lowered:
    flat: dict[Lowered, None] = {}
    for term in terms:
        if term == _NO:
            return _NO
        if isinstance(term, AllOf):
            flat.update(dict.fromkeys(term.terms))
        elif term != _YES:
            flat[term] = None
    if not flat:
        return _YES
    return next(iter(flat)) if len(flat) == 1 else AllOf(tuple(flat))


def _any(terms: Iterable[Lowered]) -> Lowered:
    flat: dict[Lowered, None] = {}
    for term in terms:
        if term == _YES:
            return _YES
        if isinstance(term, AnyOf):
            flat.update(dict.fromkeys(term.terms))
        elif term != _NO:
            flat[term] = None
    if not flat:
        return _NO
    return next(iter(flat)) if len(flat) == 1 else AnyOf(tuple(flat))


def _not(term: Lowered) -> Lowered:
    if isinstance(term, Test):
        return Test(term.slot, term.mask, term.values, not term.positive)
    if isinstance(term, Relation):
        return Relation(term.field, _OPPOSITE[term.op], term.bound)
    if isinstance(term, Resident):
        return Resident(term.port, not term.negated)
    if isinstance(term, Bool):
        return Bool(not term.value)
    return (_any if isinstance(term, AllOf) else _all)(map(_not, term.terms))


def lower(expr: Expr, sets: Sets = NO_SETS) -> Lowered:
    """The match as tests of slots, not yet simplified."""
    if isinstance(expr, And):
        return _all(lower(term, sets) for term in expr.terms)
    if isinstance(expr, Or):
        return _any(lower(term, sets) for term in expr.terms)
    if isinstance(expr, Compare):
        return _lower_compare(expr, sets)
    return expr


@cache
def _lower_definition(name: str) -> tuple[Lowered, Lowered]:
    prerequisite, expansion = definition(name)
    return (
        _YES if prerequisite is None else lower(prerequisite),
        _YES if expansion is None else lower(expansion),
    )


def _lower_compare(expr: Compare, sets: Sets) -> Lowered:
    values = resolve_values(expr, sets)
    if not values:
        return Bool(expr.op == "!=")
    prerequisite, expansion = _lower_definition(expr.field.name)
    if not expr.field.width:
        test: Lowered = Test(expr.field.name, WHOLE, frozenset(values), expr.op == "==")  # type: ignore[arg-type]  # all str
        return _all((test, prerequisite))
    constants = [value for value in values if isinstance(value, Constant)]
    if definition(expr.field.name)[1] is not None:
        test = _any(expansion if constant.value else _not(expansion) for constant in constants)
    elif expr.op in {"==", "!="}:
        test = _lower_equality(parts(expr.field), constants)
    else:
        return _all((Relation(expr.field, expr.op, constants[0].value), prerequisite))
    return _all((test if expr.op == "==" else _not(test), prerequisite))


def _lower_equality(pieces: tuple[Part, ...], constants: list[Constant]) -> Lowered:
    if len(pieces) > 1:
        return _any(_all(_part_test(piece, [constant]) for piece in pieces) for constant in constants)
    return _part_test(pieces[0], constants)


def _part_test(piece: Part, constants: list[Constant]) -> Lowered:
    """Whether the part of a slot equals the same part of one of the constants; one test per mask."""
    ones = (1 << piece.width) - 1
    by_mask: dict[int, set[int | str]] = {}
    for constant in constants:
        mask = ((constant.mask >> piece.low) & ones) << piece.slot_low
        value = ((constant.value >> piece.low) & ones) << piece.slot_low
        by_mask.setdefault(WHOLE if mask == (1 << piece.slot_width) - 1 else mask, set()).add(value)
    return _any(Test(piece.slot, mask, frozenset(values)) if mask else _YES for mask, values in by_mask.items())


def _decide(test: Test, known: Known) -> Lowered:
    """The test given what is known: decided, or without the values that cannot be any more."""
    if test.slot not in known:
        return test
    mask, value = known[test.slot]
    if isinstance(value, str):
        return Bool((value in test.values) == test.positive)
    if mask == WHOLE or mask & test.mask == test.mask:
        return Bool((value & test.mask in test.values) == test.positive)
    both = mask & test.mask
    possible = frozenset(v for v in test.values if isinstance(v, int) and v & both == value & both)
    if not possible:
        return Bool(not test.positive)
    return Test(test.slot, test.mask, possible, test.positive)


def _learn(terms: Iterable[Lowered], known: Known) -> dict[str, tuple[int, int | str]] | None:
    """Known with the single-valued tests among the terms added; None if they contradict each other."""
    learned = dict(known)
    for term in terms:
        if not (isinstance(term, Test) and term.positive and len(term.values) == 1):
            continue
        (value,) = term.values
        mask, before = learned.get(term.slot, (0, 0))
        if isinstance(value, str) or isinstance(before, str):
            if term.slot in learned and before != value:
                return None
            learned[term.slot] = (WHOLE, value)
            continue
        both = mask & term.mask
        if before & both != value & both:
            return None
        learned[term.slot] = (mask | term.mask, before | value)
    return learned


def _merge(terms: Iterable[Lowered], positive_keep: Callable[[Any, Any], Any]) -> list[Lowered]:
    """Tests of the same bits with the same sign as one: `positive_keep` joins values of positive ones, its dual the others."""
    negative_keep = frozenset.union if positive_keep is frozenset.intersection else frozenset.intersection
    groups: dict[object, Lowered] = {}
    for term in terms:
        if not isinstance(term, Test):
            groups[term] = term
            continue
        key = (term.slot, term.mask, term.positive)
        other = groups.get(key)
        if isinstance(other, Test):
            keep = positive_keep if term.positive else negative_keep
            groups[key] = Test(term.slot, term.mask, keep(other.values, term.values), term.positive)
        else:
            groups[key] = term
    return [Bool(not term.positive) if isinstance(term, Test) and not term.values else term for term in groups.values()]


def simplify(term: Lowered, known: Known = frozendict()) -> Lowered:
    """An equivalent of the term wherever `known` holds, without what that or other terms already decide."""
    if isinstance(term, Test):
        return _decide(term, known)
    if isinstance(term, AnyOf):
        return _any(_merge((simplify(each, known) for each in term.terms), frozenset.union))
    if not isinstance(term, AllOf):
        return term
    terms: tuple[Lowered, ...] = term.terms
    while True:
        learned = _learn(terms, known)
        if learned is None:
            return _NO
        certain = {slot: fact for slot, fact in learned.items() if known.get(slot) != fact}
        others = [t for t in terms if not (isinstance(t, Test) and t.positive and len(t.values) == 1)]
        rest = _all(_merge((simplify(each, learned) for each in others), frozenset.intersection))
        singles = [Test(slot, mask, frozenset((value,))) for slot, (mask, value) in certain.items()]
        result = _all((*singles, rest))
        if not isinstance(result, AllOf) or result.terms == terms:
            return result
        terms = result.terms


class _Source:
    """Python source of a term, with its constants set apart as parameters."""

    def __init__(self) -> None:
        self.constants: list[object] = []

    def constant(self, value: object) -> str:
        self.constants.append(value)
        return f"c{len(self.constants) - 1}"

    def of(self, term: Lowered) -> str:
        if isinstance(term, Test):
            return self._test(term)
        if isinstance(term, Relation):
            return f"{_field_source(parts(term.field))} {term.op} {self.constant(term.bound)}"
        if isinstance(term, Resident):
            return f"{'not ' if term.negated else ''}env.resident({self.constant(term.port)})"
        if isinstance(term, Bool):
            return str(term.value)
        texts = (f"({self.of(each)})" for each in sorted(term.terms, key=_cost))
        return (" and " if isinstance(term, AllOf) else " or ").join(texts)

    def _test(self, test: Test) -> str:
        value = f"s.{test.slot}" if test.mask == WHOLE else f"(s.{test.slot} & {self.constant(test.mask)})"
        if len(test.values) == 1:
            return f"{value} {'==' if test.positive else '!='} {self.constant(next(iter(test.values)))}"
        return f"{value} {'in' if test.positive else 'not in'} {self.constant(test.values)}"


def _cost(term: Lowered) -> int:
    """Cheap and selective first; the sort is stable, so equal ones stay in the order of the text."""
    if isinstance(term, Test):
        return 0 if term.positive and len(term.values) == 1 else 1
    if isinstance(term, Relation | Bool):
        return 2
    return 4 if isinstance(term, Resident) else 3


def _field_source(pieces: tuple[Part, ...]) -> str:
    """Source of the value of a field or slice."""
    texts = []
    for slot, slot_low, slot_width, width, low in pieces:
        value = f"s.{slot} >> {slot_low}" if slot_low else f"s.{slot}"
        value = f"({value}) & {(1 << width) - 1}" if width < slot_width else value
        texts.append(f"(({value}) << {low})" if low else f"({value})")
    return f"({' | '.join(texts)})"


@cache
def _factory(source: str, constants: int) -> Callable[..., Matcher]:
    """Function from constants to predicate. The source is `_Source`'s: names of slots and parameters, operators, bit counts."""
    names = ", ".join(f"c{i}" for i in range(constants))
    return cast(Callable[..., Matcher], eval(f"lambda {names}: lambda s, env: {source}", {"__builtins__": {}}))


@dataclass(frozen=True)
class PreparedMatch:
    """A match ready for a table: what it certainly needs of a packet, and its predicate."""

    term: Lowered

    @property
    def always(self) -> bool:
        """The match holds for every packet."""
        return self.term == _YES

    @property
    def never(self) -> bool:
        """The match holds for no packet."""
        return self.term == _NO

    def _terms(self) -> tuple[Lowered, ...]:
        return self.term.terms if isinstance(self.term, AllOf) else (self.term,)

    def keys(self) -> dict[str, int | str]:
        """Whole slots and the one value that they must have: {"inport": "p", "ip4_dst": 0x0a000064, "tp_dst": 80}."""
        return {slot: next(iter(values)) for slot, values in self.choices().items() if len(values) == 1}

    def choices(self) -> dict[str, frozenset[int | str]]:
        """Whole slots and the values of which they must have one; `keys` are those with one value."""
        tests = [t for t in self._terms() if isinstance(t, Test) and t.positive and t.mask == WHOLE]
        return {test.slot: test.values for test in tests}

    def masked(self) -> tuple[tuple[str, int, int], ...]:
        """(slot, mask, value): bits of slots that must have the value, e.g. a prefix of ip4_dst or flags in reg0."""
        return tuple(
            (test.slot, test.mask, cast(int, next(iter(test.values))))
            for test in self._terms()
            if isinstance(test, Test) and test.positive and test.mask != WHOLE and len(test.values) == 1
        )

    def matcher(self, given: Collection[str] = ()) -> Matcher:
        """The predicate. Whole-slot tests of the slots in `given` are left out: the table's index has made them."""

        def is_given(term: Lowered) -> bool:
            return isinstance(term, Test) and term.slot in given and term.positive and term.mask == WHOLE

        source = _Source()
        text = source.of(_all(term for term in self._terms() if not is_given(term)))
        return _factory(text, len(source.constants))(*source.constants)


def prepare(expr: Expr, sets: Sets = NO_SETS) -> PreparedMatch:
    """Lower and simplify a match."""
    return PreparedMatch(simplify(lower(expr, sets)))


def compile_match(expr: Expr, sets: Sets = NO_SETS) -> Matcher:
    """The match as `f(state, residence) -> bool`; equals `evaluate(expr, state, residence, sets)`."""
    return prepare(expr, sets).matcher()


@dataclass(frozen=True, slots=True)
class Analysis:
    """What every packet that matches has; see PreparedMatch for the parts."""

    always: bool
    never: bool
    keys: frozendict[str, int | str]
    choices: frozendict[str, frozenset[int | str]]
    masked: tuple[tuple[str, int, int], ...]


def analyze(expr: Expr, sets: Sets = NO_SETS) -> Analysis:
    """Constraints of a match for an index, by PacketState slot."""
    match = prepare(expr, sets)
    return Analysis(match.always, match.never, frozendict(match.keys()), frozendict(match.choices()), match.masked())
