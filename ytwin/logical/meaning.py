"""What a match means: `evaluate` is the definition, written to be read; `compile` makes the same, fast.

A comparison with a field that has a prerequisite is true only if the prerequisite holds too, also under `!`:
`!(tcp.dst == 80)` is `tcp.dst != 80 && tcp`. A predicate stands for its expansion, prerequisites included, and `!` of it negates
all of that. Two restrictions keep this sane: nominal fields and predicates may be tested only for equality.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from ytwin.logical.fields import SYMBOLS, FieldRef
from ytwin.logical.lexer import ParseError, TokenStream
from ytwin.logical.parse_match import constant_of, constant_width, cut, parse_match
from ytwin.logical.state import PacketState
from ytwin.logical.tree import And, Bool, Compare, Constant, Expr, Or, Resident, SetRef


class Residence(Protocol):
    """Where a match is evaluated: knows which ports are bound to this chassis."""

    def resident(self, port: str) -> bool:
        """Whether `is_chassis_resident(port)` holds."""
        ...


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
