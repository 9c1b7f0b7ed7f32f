"""Numbers of an answer as texts: with units, few digits, and their interval where there is one."""

from __future__ import annotations

from ytwin.hardware.model import Quantity
from ytwin.study.amounts import amount, short, shown, written
from ytwin.study.goals import LIMIT, Answer
from ytwin.study.intervals import Number, beyond, under


def number_text(number: Number, metric: str, answer: Answer) -> str:
    """With its unit, and its interval where there is one."""
    if metric == LIMIT:
        text = limit_text(number.value, answer)
        if not answer.spec.draws or number.low == number.high:
            return text  # what lies between low and high is the search's tolerance
        return f"{text} ({limit_text(number.low, answer)} to {limit_text(number.high, answer)})"
    text = shown(number.value, metric)
    if number.low == number.high:
        return text
    return f"{text} ({_bare(number.low, metric)} to {_bare(number.high, metric)})"


def limit_text(value: float, answer: Answer) -> str:
    """A value of the searched parameter with four digits and its unit; of one outside what was searched, on which side."""
    limit = answer.spec.goal.limit
    if limit is None:
        return amount_text(value, "")
    if beyond(value, limit):
        return f"at least {limit.end}"
    if under(value, limit):
        return f"below {limit.start}"
    found = amount(limit.start)
    return amount_text(value, found.dimension if found is not None else "", limit.start)


def amount_text(value: float, dimension: str, like: object = "") -> str:
    """With four digits, and a unit such as that of `like`."""
    if not dimension:
        return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"
    number, _, unit = str(written(value, dimension, like)).partition(" ")
    return f"{float(number):,.0f} {unit}" if abs(float(number)) >= 10_000 else f"{float(number):.4g} {unit}"


def interval_text(quantity: Quantity) -> str:
    """Between what a profile number lies."""
    low, high = (amount_text(end, quantity.dimension, quantity.text) for end in (quantity.low, quantity.high))
    number, _, unit = low.partition(" ")
    return f"{number if unit == high.partition(' ')[2] else low} to {high}"


def _bare(value: float, metric: str) -> str:
    return shown(value, metric).partition(" ")[0]


def title_of(metric: str, answer: Answer) -> str:
    """A metric's name for people."""
    if metric == LIMIT and answer.spec.goal.limit is not None:
        return f"highest {answer.spec.goal.limit.parameter}"
    return short(metric).replace("_", " ")


def cap(text: str) -> str:
    """As a sentence begins."""
    return text[:1].upper() + text[1:]
