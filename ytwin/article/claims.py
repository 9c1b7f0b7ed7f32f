"""The article's claims put to its own tables: formulas over cells, and verdicts that are computed, never written down."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, Field

from ytwin.article.tables import shipped_text
from ytwin.core.units import quantity


class ClaimVerdict(StrEnum):
    """From best to worst."""

    HOLDS = "holds"
    GENEROUS = "generous"
    NOT = "does not follow"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class ClaimText(_Strict):
    """A sentence and the formula that tests it."""

    text: str
    section: str
    row: str
    formula: str
    about: str = ""
    more_than: str = Field("", alias="moreThan")
    remark: str = ""

    @property
    def claimed(self) -> float:
        """As a ratio."""
        return quantity(self.about or self.more_than, "ratio", f"claims: {self.text}")


class FactText(_Strict):
    """A number that follows from the tables, and what follows from it."""

    text: str
    formula: str
    unit: str
    follows: str


class ClaimRules(_Strict):
    """claims.yaml."""

    grain: str
    generous: str
    claims: tuple[ClaimText, ...]
    facts: tuple[FactText, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim, judged."""

    said: ClaimText
    article: float
    """What the formula gives on the article's cells."""
    low: float
    high: float
    """The same, each cell moved by the article's noise, added in quadrature."""
    verdict: ClaimVerdict
    twin: float
    """What it gives on the twin's cells."""
    twin_verdict: ClaimVerdict


@dataclass(frozen=True, slots=True)
class Fact:
    """One number that follows."""

    said: FactText
    article: float
    twin: float


@cache
def article_claims() -> ClaimRules:
    """The shipped claims.yaml."""
    return ClaimRules.model_validate(yaml.safe_load(shipped_text("claims.yaml")))


_OPERATORS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_CELL = re.compile(r"[a-z]+\.[a-z]+\.[a-z]+")


def cells_of(formula: str) -> tuple[str, ...]:
    """The cells that a formula names."""
    return tuple(dict.fromkeys(_CELL.findall(formula)))


def evaluate(formula: str, cells: Mapping[str, float]) -> float:
    """Numbers, cells (`table.row.mode`), + - * / and brackets; ValueError for anything else.

    >>> evaluate("1 - latency.pod.offload / latency.pod.software", {"latency.pod.offload": 33, "latency.pod.software": 44})
    0.25
    """

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return float(node.value)
        if isinstance(node, ast.Attribute) and (name := ast.unparse(node)) in cells:
            return cells[name]
        raise ValueError(f"{formula}: {ast.unparse(node)} is no number and no cell")

    return value(ast.parse(formula, mode="eval").body)


def noise_of(formula: str, cells: Mapping[str, float], noise: float) -> float:
    """How far the formula's value goes if each cell is off by `noise` (a ratio) independently of the others."""
    at = evaluate(formula, cells)
    moved = (evaluate(formula, {**cells, name: cells[name] * (1 + noise)}) for name in cells_of(formula))
    return math.hypot(*(value - at for value in moved))


def judge_claim(said: ClaimText, value: float, rules: ClaimRules) -> ClaimVerdict:
    """What the number says of the claim, by the rules that claims.yaml states."""
    claimed = said.claimed
    if said.more_than:
        # "More than" is a bound: no rounding.
        if value > claimed:
            return ClaimVerdict.HOLDS
    else:
        grain = quantity(rules.grain, "ratio")
        if round(value / grain) >= round(claimed / grain):
            return ClaimVerdict.HOLDS
    return ClaimVerdict.GENEROUS if value >= claimed * quantity(rules.generous, "ratio") else ClaimVerdict.NOT


def judge_claims(
    article: Mapping[str, float], twin: Mapping[str, float], noise: float, rules: ClaimRules | None = None
) -> tuple[tuple[Claim, ...], tuple[Fact, ...]]:
    """Every claim and every fact, on the article's cells and on the twin's."""
    rules = rules or article_claims()
    claims = []
    for said in rules.claims:
        value, guess = evaluate(said.formula, article), evaluate(said.formula, twin)
        off = noise_of(said.formula, article, noise)
        judged, guessed = judge_claim(said, value, rules), judge_claim(said, guess, rules)
        claims.append(Claim(said, value, value - off, value + off, judged, guess, guessed))
    facts = [Fact(f, evaluate(f.formula, article), evaluate(f.formula, twin)) for f in rules.facts]
    return tuple(claims), tuple(facts)
