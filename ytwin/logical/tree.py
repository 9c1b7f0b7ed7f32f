"""Syntax tree of matches, as OVN makes it of the text (ovn-sb(5), Logical_Flow, `match`), and its printed form.

Negation is pushed down to the comparisons while parsing, so there is no node for it, and nested `&&` in `&&` or `||` in `||` is
one node.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from ytwin.logical.fields import FieldRef, Form, masked_text, number_text, quote


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
TURNED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
"""The operator when the operands change places."""
RELATIONS = frozenset(_INVERSE)
"""Operators of comparisons."""


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
