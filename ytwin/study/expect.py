"""What a study is expected to find: statements in YAML, each held against the answer.

A statement names variants (`of`: values of parameters; what it leaves out may be anything) and says of each that a metric (or
`limit`) lies `between` two values, stands in a `ratio` to the same of the variants `against`, or that a text (`limit`, `offload`)
`contains` words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, ValidationError

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.resources.yamltree import YamlMap, line_of, path_text, read_yaml
from ytwin.study.amounts import amount, named
from ytwin.study.definition import plain
from ytwin.study.goals import LIMIT, Answer, Row, base_value
from ytwin.study.model import Part, Scalar

KIND = "Expected"


class Statement(Part):
    """One thing that must be so."""

    say: str
    of: dict[str, Scalar] = Field(default_factory=dict)
    against: dict[str, Scalar] = Field(default_factory=dict)
    metric: str = ""
    between: tuple[Scalar, Scalar] | None = None
    ratio: tuple[float, float] | None = None
    text: str = ""
    contains: str = ""


class Expected(Part):
    """All of a file."""

    statements: tuple[Statement, ...]


def decode_expected(file: str, text: str) -> Expected:
    """The statements of a file. InvalidInput carries every problem."""
    reading = read_yaml(file, text)
    problems = list(reading.problems)
    if not problems:
        line, tree = reading.documents[0] if reading.documents else (0, None)
        if not isinstance(tree, YamlMap) or tree.get("kind") != KIND or len(reading.documents) != 1:
            problems.append(
                Problem(Location(file, line), "kind", "this is not what a study expects", f"write kind: {KIND}")
            )
        else:
            try:
                return Expected.model_validate({key: plain(value) for key, value in tree.items() if key != "kind"})
            except ValidationError as error:
                problems += [_problem(file, line, tree, dict(one)) for one in error.errors(include_url=False)]
    raise InvalidInput(problems)


def _problem(file: str, line: int, tree: YamlMap, error: dict[str, Any]) -> Problem:
    where = Location(file, line_of(tree, error["loc"], line), path_text(error["loc"]))
    return Problem(where, "value", str(error["msg"]), "correct the value")


def broken(expected: Expected, answer: Answer) -> tuple[str, ...]:
    """What is not as expected, one sentence each; () if all is."""
    return tuple(f"{one.say}: {why}" for one in expected.statements for why in _judge(one, answer))


def _judge(statement: Statement, answer: Answer) -> Sequence[str]:
    rows = _rows(statement.of, answer)
    if not rows:
        return [f"no variant is {statement.of}"]
    found = []
    for row in rows:
        if row.error:
            found.append(f"{row.variant.text}: {row.error}")
        elif statement.text:
            said = row.texts.get(statement.text, "")
            if statement.contains not in said:
                found.append(f"{row.variant.text}: {statement.text} is {said!r}")
        elif statement.between is not None:
            value = _value(row, statement.metric, answer)
            low, high = (end.value if (end := amount(text)) is not None else 0.0 for text in statement.between)
            if value is None or not low <= value <= high:
                found.append(f"{row.variant.text}: {statement.metric} is {value}, not {low} to {high} in base units")
        elif statement.ratio is not None:
            found += _ratios(statement, row, answer)
    return found


def _ratios(statement: Statement, row: Row, answer: Answer) -> Sequence[str]:
    assert statement.ratio is not None
    low, high = statement.ratio
    # The same of everything that `against` does not name.
    same = {label: value for label, value in row.variant.values if label not in statement.against}
    others = _rows({**same, **statement.against}, answer)
    if not others:
        return [f"{row.variant.text}: no variant is {statement.against} with the rest equal"]
    found = []
    for other in others:
        a, b = _value(other, statement.metric, answer), _value(row, statement.metric, answer)
        if a is None or b is None or not a or not low <= b / a <= high:
            ratio = b / a if a and b is not None else None
            found.append(f"{row.variant.text} against {other.variant.text}: ratio {ratio}, not {low} to {high}")
    return found


def _rows(wanted: dict[str, Scalar], answer: Answer) -> list[Row]:
    return [row for row in answer.rows if all(dict(row.variant.values).get(k) == v for k, v in wanted.items())]


def _value(row: Row, metric: str, answer: Answer) -> float | None:
    """In the base unit."""
    if metric == LIMIT:
        return row.numbers[LIMIT].value if answer.spec.goal.limit is not None and LIMIT in row.numbers else None
    try:
        name = named(metric, tuple(n for n in row.numbers if n != LIMIT))
    except KeyError:
        return None
    return base_value(row.numbers[name].value, name)
