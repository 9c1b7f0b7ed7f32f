"""Matches of logical flows: syntax tree, parser, printer, and what a match means.

The tree is what OVN makes of the text (ovn-sb(5), Logical_Flow, `match`): negation is pushed down to the comparisons while
parsing, so there is no node for it, and nested `&&` in `&&` or `||` in `||` is one node.

Meaning. A comparison with a field that has a prerequisite is true only if the prerequisite holds too, also under `!`:
`!(tcp.dst == 80)` is `tcp.dst != 80 && tcp`. A predicate stands for its expansion, prerequisites included, and `!` of it negates
all of that. Two restrictions keep this sane: nominal fields and predicates may be tested only for equality.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Protocol, TypeAlias, TypeVar

from ytwin.logical.fields import SYMBOLS, FieldRef, Form, Level, Scope, masked_text, number_text, quote
from ytwin.logical.lexer import ParseError, Token, TokenStream
from ytwin.logical.state import PacketState


@dataclass(frozen=True, slots=True)
class Constant:
    """A number and the bits of it that count; both are cut to the width of the field beside them, value within mask."""

    value: int
    mask: int
    form: Form | None = field(default=None, compare=False)
    """How it was written; None: as is usual for the field. Does not take part in equality."""


@dataclass(frozen=True, slots=True)
class SetRef:
    """`$name`, an address set (sigil "$"), or `@name`, a port group (sigil "@"); its members are looked up later."""

    sigil: str
    name: str

    def __str__(self) -> str:
        return self.sigil + self.name


ConstantOrSet: TypeAlias = Constant | str | SetRef


@dataclass(frozen=True, slots=True)
class Compare:
    """`field op values`. `==`: the field is one of the values; `!=`: it is none of them; the others have one Constant.

    String fields (width 0) compare with str and port groups only, the others with Constant and address sets. A test of one
    bit with a constant is always `==`.
    """

    field: FieldRef
    op: str
    values: tuple[ConstantOrSet, ...]

    def __str__(self) -> str:
        if self.field.width == 1 and self.op == "==" and len(self.values) == 1:
            (value,) = self.values
            if isinstance(value, Constant) and value.mask:
                return str(self.field) if value.value else f"!{self.field}"
        texts = [self._text(value) for value in self.values]
        return f"{self.field} {self.op} {texts[0] if len(texts) == 1 else '{' + ', '.join(texts) + '}'}"

    def _text(self, value: ConstantOrSet) -> str:
        if isinstance(value, str):
            return quote(value)
        if isinstance(value, SetRef):
            return str(value)
        form = value.form or self.field.form()
        if value.mask == (1 << self.field.width) - 1:
            return number_text(value.value, form)
        return masked_text(value.value, value.mask, form)


@dataclass(frozen=True, slots=True)
class Resident:
    """`is_chassis_resident("port")`, or its negation."""

    port: str
    negated: bool = False

    def __str__(self) -> str:
        return f"{'!' if self.negated else ''}is_chassis_resident({quote(self.port)})"


@dataclass(frozen=True, slots=True)
class Bool:
    """`1` or `0`."""

    value: bool

    def __str__(self) -> str:
        return "1" if self.value else "0"


@dataclass(frozen=True, slots=True)
class And:
    """All of at least two terms, none of which is an And."""

    terms: tuple[Expr, ...]

    def __str__(self) -> str:
        return " && ".join(map(_in_parentheses, self.terms))


@dataclass(frozen=True, slots=True)
class Or:
    """Any of at least two terms, none of which is an Or."""

    terms: tuple[Expr, ...]

    def __str__(self) -> str:
        return " || ".join(map(_in_parentheses, self.terms))


Expr: TypeAlias = Compare | Resident | Bool | And | Or
TRUE = Bool(True)
FALSE = Bool(False)


def _in_parentheses(term: Expr) -> str:
    return f"({term})" if isinstance(term, And | Or) else str(term)


def conjunction(terms: Iterable[Expr]) -> Expr:
    """All of the terms, flat; none is true."""
    return _join(And, terms, TRUE)


def disjunction(terms: Iterable[Expr]) -> Expr:
    """Any of the terms, flat; none is false."""
    return _join(Or, terms, FALSE)


def _join(kind: type[And] | type[Or], terms: Iterable[Expr], empty: Bool) -> Expr:
    flat: list[Expr] = []
    for term in terms:
        flat.extend(term.terms if isinstance(term, kind) else (term,))
    if not flat:
        return empty
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


_INVERSE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_TURNED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
RELATIONS = frozenset(_INVERSE)


def compare(ref: FieldRef, op: str, values: tuple[ConstantOrSet, ...]) -> Compare:
    """A comparison in canonical form: a one-bit field differs from a constant exactly if it equals the other one."""
    if op == "!=" and ref.width == 1 and len(values) == 1:
        (value,) = values
        if isinstance(value, Constant) and value.mask:
            return Compare(ref, "==", (Constant(1 - value.value, 1),))
    return Compare(ref, op, values)


def negate(expr: Expr) -> Expr:
    """The opposite of the whole expression. Prerequisites are no part of a comparison yet, so they stay as they are."""
    if isinstance(expr, Compare):
        if expr.op == "==" and expr.field.width == 1 and len(expr.values) == 1:
            (value,) = expr.values
            if isinstance(value, Constant) and value.mask:
                return Compare(expr.field, "==", (Constant(1 - value.value, 1),))
        return compare(expr.field, _INVERSE[expr.op], expr.values)
    if isinstance(expr, And):
        return Or(tuple(map(negate, expr.terms)))
    if isinstance(expr, Or):
        return And(tuple(map(negate, expr.terms)))
    if isinstance(expr, Bool):
        return Bool(not expr.value)
    return Resident(expr.port, not expr.negated)


NO_PORT = "none"
"""In matches and assignments this port name means no port, as "" does."""


def port_name(text: str) -> str:
    """The port that a string constant names: "" for none."""
    return "" if text == NO_PORT else text


def constant_of(token: Token) -> Constant:
    """The constant that a number token writes, not yet cut to a field. Its mask is -1 if it has none."""
    return Constant(token.value, -1 if token.mask is None else token.mask, token.form)


def constant_width(constant: Constant) -> int:
    """Bits that a constant needs: an address those of its form, another number its own; a masked one those of its mask."""
    if constant.mask != -1:
        return constant.mask.bit_length()
    fixed = {Form.IPV4: 32, Form.IPV6: 128, Form.MAC: 48}
    form = constant.form
    return fixed[form] if form in fixed and form is not None else constant.value.bit_length()


def cut(constant: Constant, ref: FieldRef) -> Constant:
    """The constant within the bits of the field or slice that it is compared with or assigned to."""
    ones = (1 << ref.width) - 1
    return Constant(constant.value & constant.mask & ones, constant.mask & ones, constant.form)


def parse_field(stream: TokenStream) -> FieldRef:
    """A field, or a slice `field[low]` or `field[low..high]`."""
    symbol = SYMBOLS.get(stream.token.text) if stream.token.kind == "id" else None
    if symbol is None:
        raise stream.error("a field name is expected")
    stream.take()
    if stream.token.kind != "[":
        return symbol.ref()
    if not symbol.width:
        raise stream.error(f"string field {symbol.name} has no bits to select")
    stream.take()
    low = high = stream.expect_int("a bit number")
    if stream.match(".."):
        high = stream.expect_int("a bit number")
    if not low <= high < symbol.width:
        raise stream.error(f"bits {low} to {high} do not exist in {symbol.width}-bit field {symbol.name}")
    if symbol.level is Level.NOMINAL and high - low + 1 != symbol.width:
        raise stream.error(f"nominal field {symbol.name} has no bits to select")
    stream.expect("]")
    return FieldRef(symbol.name, low, high - low + 1)


_MAX_DEPTH = 100
"""Parentheses deeper than this are an error in OVN."""


@dataclass(slots=True)
class _Constants:
    values: list[Constant | str | SetRef]
    braces: bool
    strings: bool
    start: int


class _Parser:
    def __init__(self, text: str) -> None:
        self._stream = TokenStream(text)
        self._inside_not = False
        self._depth = 0

    def parse(self) -> Expr:
        expr = self._expression()
        if self._stream.token.kind != "end":
            raise self._stream.error("an operator or the end is expected")
        return expr

    def _expression(self) -> Expr:
        terms = [self._term()]
        operator = self._stream.token.kind
        if operator not in {"&&", "||"}:
            return terms[0]
        while self._stream.match(operator):
            terms.append(self._term())
        if self._stream.token.kind in {"&&", "||"}:
            raise self._stream.error("&& and || need parentheses when used together")
        return conjunction(terms) if operator == "&&" else disjunction(terms)

    def _term(self) -> Expr:
        if not self._stream.match("!"):
            return self._primary()[0]
        start = self._stream.token.start
        self._inside_not = not self._inside_not
        expr, atomic = self._primary()
        self._inside_not = not self._inside_not
        if not atomic:
            raise ParseError("the operand of ! needs parentheses", self._stream.source, start)
        return negate(expr)

    def _primary(self) -> tuple[Expr, bool]:
        """A term without `!`, and whether `!` may stand before it."""
        stream = self._stream
        if stream.match("("):
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise stream.error("parentheses are nested too deeply")
            expr = self._expression()
            self._depth -= 1
            stream.expect(")")
            return expr, True
        if stream.token.kind != "id":
            return self._constants_first()
        if stream.look_ahead() == "(":
            stream.expect_id("is_chassis_resident")
            stream.take()
            port = stream.expect("string").text
            stream.expect(")")
            return Resident(port), True
        return self._field_first()

    def _field_first(self) -> tuple[Expr, bool]:
        stream = self._stream
        start = stream.token.start
        ref = parse_field(stream)
        if stream.token.kind in RELATIONS:
            op = stream.take().kind
            return self._comparison(ref, op, self._constants()), False
        if not ref.width or stream.token.kind == "=":
            raise stream.error("a relational operator is expected")
        if ref.width > 1 and not self._inside_not:
            raise ParseError(f"`{ref}` is no truth value: compare it, e.g. with `!= 0`", stream.source, start)
        zero = Constant(0, -1, Form.HEX)
        return self._comparison(ref, "!=", _Constants([zero], False, False, start)), True

    def _constants_first(self) -> tuple[Expr, bool]:
        stream = self._stream
        number = stream.token
        constants = self._constants()
        if stream.token.kind not in RELATIONS and not constants.braces and number.is_small(limit=1):
            return Bool(number.value == 1), True
        if stream.token.kind not in RELATIONS:
            raise stream.error("a relational operator is expected")
        first = stream.take().kind
        ref = parse_field(stream)
        left = self._comparison(ref, _TURNED[first], constants)
        if stream.token.kind not in RELATIONS:
            return left, False
        second_token = stream.token
        second = stream.take().kind
        if not ({first, second} <= {"<", "<="} or {first, second} <= {">", ">="}):
            raise ParseError("a range has the form x < field < y", stream.source, second_token.start)
        return conjunction((left, self._comparison(ref, second, self._constants()))), False

    def _constants(self) -> _Constants:
        stream = self._stream
        start = stream.token.start
        if not stream.match("{"):
            value, string = self._constant()
            return _Constants([value], False, string, start)
        found = _Constants([], True, False, start)
        while True:
            place = stream.token.start
            value, string = self._constant()
            if found.values and string != found.strings:
                raise ParseError("strings and numbers in one set", stream.source, place)
            found.strings = string
            found.values.append(value)
            stream.match(",")
            if stream.match("}"):
                return found

    def _constant(self) -> tuple[Constant | str | SetRef, bool]:
        """One constant, and whether it is a string."""
        token = self._stream.token
        if token.kind == "number":
            self._stream.take()
            return constant_of(token), False
        if token.kind == "string":
            self._stream.take()
            return port_name(token.text), True
        if token.kind in {"$", "@"}:
            self._stream.take()
            return SetRef(token.kind, token.text), token.kind == "@"
        if token.kind == "^":
            raise self._stream.error("a template variable that nobody has expanded")
        raise self._stream.error("a constant is expected")

    def _comparison(self, ref: FieldRef, op: str, constants: _Constants) -> Expr:
        problem = _type_problem(ref, constants) or _level_problem(ref, op, constants, self._inside_not)
        if problem:
            raise ParseError(problem, self._stream.source, constants.start)
        values = (cut(value, ref) if isinstance(value, Constant) else value for value in constants.values)
        return compare(ref, op, tuple(values))


def _type_problem(ref: FieldRef, constants: _Constants) -> str:
    if constants.strings != (ref.width == 0):
        return f"{ref.name} and {'a string' if constants.strings else 'a number'} cannot be compared"
    width = SYMBOLS[ref.name].width
    for value in constants.values:
        if isinstance(value, Constant) and constant_width(value) > width:
            return f"a {constant_width(value)}-bit constant does not fit {width}-bit field {ref.name}"
    return ""


def _level_problem(ref: FieldRef, op: str, constants: _Constants, inside_not: bool) -> str:
    symbol = SYMBOLS[ref.name]
    if symbol.scope is Scope.ANYWHERE:
        return f"{ref.name} can be written but not tested"
    (first, *more) = constants.values
    if op not in {"==", "!="}:
        if constants.braces or more or isinstance(first, SetRef):
            return "only == and != go with sets"
        if symbol.level is not Level.ORDINAL:
            return f"only == and != go with {symbol.level.value} field {ref.name}"
        if isinstance(first, Constant) and first.mask != -1:
            return "only == and != go with masked constants"
    if symbol.level is not Level.NOMINAL:
        return ""
    if symbol.predicate:
        if any(isinstance(value, SetRef) for value in constants.values):
            return f"predicate {ref.name} has no address set to be in"
        for value in constants.values:
            if isinstance(value, Constant) and (value.value & 1 == 0) ^ (op == "!=") ^ inside_not:
                return f"nominal predicate {ref.name} can only be tested positively"
    elif op != ("!=" if inside_not else "=="):
        return f"nominal field {ref.name} can only be tested for equality"
    return ""


@lru_cache(maxsize=1 << 16)
def parse_match(text: str) -> Expr:
    """The tree of a match; equal texts, which big tables have many of, share one. ParseError (an Unsupported) for anything that OVN 23.03 would not accept."""
    return _Parser(text).parse()


class Residence(Protocol):
    """Where a match is evaluated: knows which ports are bound to this chassis."""

    def resident(self, port: str) -> bool:
        """Whether `is_chassis_resident(port)` holds."""
        ...


_Member = TypeVar("_Member", Constant, str)


@dataclass(frozen=True, slots=True)
class Sets:
    """Members of address sets and port groups by the name that matches use."""

    address_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    port_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    datapath_key: int = 0
    """Tunnel key of the datapath: the Southbound names a group's share of a datapath KEY_NAME."""

    def members(self, ref: SetRef, target: FieldRef) -> tuple[Constant | str, ...]:
        """Constants that the set stands for beside the field. Unsupported if nobody has defined the set."""
        if ref.sigil == "@":
            for name in (f"{self.datapath_key}_{ref.name}", ref.name):
                if name in self.port_groups:
                    return self.port_groups[name]
            raise ParseError("there is no such port group", str(ref), 0)
        if ref.name not in self.address_sets:
            raise ParseError("there is no such address set", str(ref), 0)
        return tuple(self._constants(ref, self.address_sets[ref.name], target))

    @staticmethod
    def _constants(ref: SetRef, texts: Iterable[str], target: FieldRef) -> Iterable[Constant]:
        for text in texts:
            token = TokenStream(text).token
            if token.kind != "number":
                continue  # OVN skips members that are no addresses
            constant = constant_of(token)
            if constant_width(constant) > SYMBOLS[target.name].width:
                raise ParseError(f"{text} in {ref} does not fit {target.name}", str(ref), 0)
            yield cut(constant, target)


NO_SETS = Sets()


def resolve_values(expr: Compare, sets: Sets) -> tuple[Constant | str, ...]:
    """The values of a comparison with sets replaced by their members."""
    found: list[Constant | str] = []
    for value in expr.values:
        if isinstance(value, SetRef):
            found.extend(sets.members(value, expr.field))
        else:
            found.append(value)
    return tuple(found)


@cache
def definition(name: str) -> tuple[Expr | None, Expr | None]:
    """(prerequisite, expansion) of a symbol, as trees; None where it has none."""
    symbol = SYMBOLS[name]
    prerequisite = parse_match(symbol.prerequisite) if symbol.prerequisite else None
    return prerequisite, parse_match(symbol.predicate) if symbol.predicate else None


def evaluate(expr: Expr, state: PacketState, residence: Residence, sets: Sets = NO_SETS) -> bool:
    """Whether the match holds for the packet. The definition of the language; `compile_match` makes the same, fast."""
    if isinstance(expr, And):
        return all(evaluate(term, state, residence, sets) for term in expr.terms)
    if isinstance(expr, Or):
        return any(evaluate(term, state, residence, sets) for term in expr.terms)
    if isinstance(expr, Bool):
        return expr.value
    if isinstance(expr, Resident):
        return residence.resident(expr.port) != expr.negated
    values = resolve_values(expr, sets)
    if not values:
        return expr.op == "!="
    prerequisite, expansion = definition(expr.field.name)
    if prerequisite is not None and not evaluate(prerequisite, state, residence):
        return False
    if expansion is not None:
        holds = evaluate(expansion, state, residence)
        results = [holds if isinstance(value, Constant) and value.value else not holds for value in values]
        return any(results) if expr.op == "==" else not any(results)
    actual = state.get(expr.field)
    if isinstance(actual, str):
        return (actual in values) == (expr.op == "==")
    constants = [value for value in values if isinstance(value, Constant)]
    return _test(actual, expr.op, constants)


def _test(actual: int, op: str, constants: list[Constant]) -> bool:
    if op == "==":
        return any(actual & constant.mask == constant.value for constant in constants)
    if op == "!=":
        return not any(actual & constant.mask == constant.value for constant in constants)
    bound = constants[0].value
    if op in {"<", "<="}:
        return actual < bound or (op == "<=" and actual == bound)
    return actual > bound or (op == ">=" and actual == bound)
