"""Parser of matches: OVN's grammar and its rules for what can be compared with what (ovn-sb(5), Logical_Flow, `match`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ytwin.logical.fields import SYMBOLS, FieldRef, Form, Level, Scope
from ytwin.logical.lexer import ParseError, Token, TokenStream
from ytwin.logical.tree import (
    RELATIONS,
    TURNED,
    Bool,
    Constant,
    Expr,
    Resident,
    SetRef,
    compare,
    conjunction,
    disjunction,
    negate,
)

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
        left = self._comparison(ref, TURNED[first], constants)
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
    """The tree of a match; equal texts, which big tables have many of, share one.

    ParseError (an Unsupported) for anything that OVN 23.03 would not accept.
    """
    return _Parser(text).parse()
