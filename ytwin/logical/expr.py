"""Matches of logical flows in one place: tree, parser (`parse_match`), meaning (`evaluate`)."""

from __future__ import annotations

from ytwin.logical.meaning import NO_SETS, Residence, Sets, evaluate
from ytwin.logical.parse_match import parse_match
from ytwin.logical.tree import (
    FALSE,
    TRUE,
    And,
    Bool,
    Compare,
    Constant,
    Expr,
    Or,
    Resident,
    SetRef,
    compare,
    conjunction,
    disjunction,
    negate,
)

__all__ = [
    "FALSE",
    "NO_SETS",
    "TRUE",
    "And",
    "Bool",
    "Compare",
    "Constant",
    "Expr",
    "Or",
    "Residence",
    "Resident",
    "SetRef",
    "Sets",
    "compare",
    "conjunction",
    "disjunction",
    "evaluate",
    "negate",
    "parse_match",
]
