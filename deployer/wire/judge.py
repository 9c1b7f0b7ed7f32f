"""Whether what the wire did is what the twin said. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from deployer.wire.question import ANSWER, Outcome, Question


def difference(question: Question, seen: Mapping[Outcome, int]) -> str:
    """In what the wire differs from the twin; "" if in nothing."""
    extra = sorted(seen.keys() - question.forecast)
    missing = sorted(question.forecast - seen.keys())
    if question.constant and not extra:
        if len(seen) == 1:
            return ""
        return f"a client's connections end in {len(seen)} ways, although nothing that is hashed differs between them"
    if not extra and not missing:
        return ""
    problems = [_unforeseen(question, outcome) for outcome in extra]
    count = sum(seen.values())
    problems += [
        f"{outcome} was forecast and never happened in {count} connections (by chance: {question.miss_probability(count):.1g})"
        for outcome in missing
    ]
    return "; ".join(problems)


def _unforeseen(question: Question, outcome: Outcome) -> str:
    alike = [o for o in question.forecast if o.kind == ANSWER and o.backend == outcome.backend]
    if outcome.kind == ANSWER and alike:
        said = alike[0]
        if said.seen_as != outcome.seen_as:
            return f"{outcome.backend} sees {outcome.seen_as}, the twin said {said.seen_as}"
        return f"{outcome.backend} answers from {outcome.source}, the twin said {said.source}"
    return f"{outcome} was not forecast"


def complete(question: Question, seen: Mapping[Outcome, int]) -> bool:
    """Whether more connections could not teach more: everything forecast was seen often enough, or the bound is reached."""
    count = sum(seen.values())
    if count >= question.at_most or seen.keys() - question.forecast:
        return True
    return count >= question.at_least and question.forecast <= seen.keys()
