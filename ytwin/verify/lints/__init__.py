"""Checks that need no packet: known traps of OVN Services, each with a code.

A lint is a function from a LintContext to Findings; `LINTS` lists them all. To add one: write the function in the module of its
subject, add it to that module's tuple, and a row to the table in README.md. Codes never change their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from ytwin.verify.lints import coverage, left_out, placement, services
from ytwin.verify.lints.context import LintContext
from ytwin.verify.report import Finding

Lint: TypeAlias = Callable[[LintContext], Iterable[Finding]]

LINTS: tuple[Lint, ...] = (*placement.LINTS, *services.LINTS, *coverage.LINTS, *left_out.LINTS)


def lint(context: LintContext) -> tuple[Finding, ...]:
    """All findings, errors first, then by code and object."""
    order = {"error": 0, "warning": 1, "info": 2}
    found = {finding for rule in LINTS for finding in rule(context)}
    return tuple(sorted(found, key=lambda f: (order[f.severity.value], f.code, f.object, f.message)))
