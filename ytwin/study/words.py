"""An answer in sentences: the result first, then what limits, then what it rests on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from ytwin.study.amounts import amount, short, shown
from ytwin.study.designs import Variant, told
from ytwin.study.goals import LIMIT, Answer, Row, Swing, first_limits
from ytwin.study.intervals import SURE, Comparison, Number, Order, beyond, under
from ytwin.study.model import Compare
from ytwin.study.search import Ending, Found
from ytwin.study.texts import amount_text, cap, interval_text, limit_text, number_text, title_of

MOST_NAMED = 6
"""Variants that a sentence names; of more it gives the ends."""


def sentences(answer: Answer) -> tuple[str, ...]:
    """The answer in words; the first sentence is the answer."""
    said = [
        *_compared(answer),
        *_results(answer),
        *_moved(answer),
        *_unmoved(answer),
        *_wide(answer),
        *_failures(answer),
    ]
    said = said or ["Nothing can be told yet." if answer.missing and answer.rows else "Nothing was computed."]
    if answer.missing:
        # More than these may be missing: a search says where to look next only when it knows where it looked last.
        there, of = len(answer.rows), answer.variants
        said.insert(
            0, f"Not finished: {answer.missing} points are missing. What follows is of {there} of {of} variants only."
        )
    return tuple(said)


def _results(answer: Answer) -> Iterator[str]:
    rows = [row for row in answer.rows if not row.error]
    if not rows or not answer.metrics:
        return
    if answer.spec.goal.limit is not None:
        yield from _limits(answer, rows)
        return
    metric = answer.metrics[0]
    known = [row for row in rows if metric in row.numbers]
    if len(known) == 1:
        told_ones = [m for m in answer.metrics[:4] if m in known[0].numbers]
        listed = [f"{title_of(m, answer)} {number_text(known[0].numbers[m], m, answer)}" for m in told_ones]
        yield f"{cap('; '.join(listed))}."
    elif known and answer.spec.goal.compare is None:
        yield _ends_of(known, metric, answer)
        yield from _trends(known, answer)
    yield from _what_limits(rows)


def _ends_of(rows: Sequence[Row], metric: str, answer: Answer) -> str:
    """The best and the worst variant by a metric."""
    ranked = sorted(rows, key=lambda row: row.numbers[metric].value)
    low, high = (number_text(row.numbers[metric], metric, answer) for row in (ranked[0], ranked[-1]))
    title = title_of(metric, answer)
    if low == high:
        return f"{cap(title)} is {low} in all {len(rows)} variants."
    ends = [("Highest", "highest", high, ranked[-1]), ("Lowest", "lowest", low, ranked[0])]
    if answer.spec.goal.best == "lowest":
        ends.reverse()
    (first, word, best, at_best), (_, last, worst, at_worst) = ends
    text = f"{first} {title}: {best} with {_alike(at_best, rows, metric, answer)}; "
    text += f"{last}: {worst} with {_alike(at_worst, rows, metric, answer)}"
    rivals = _rivals(at_best, rows, metric, answer)
    if not rivals:
        return f"{text}."
    reach = "The interval of 1 more reaches" if rivals == 1 else f"The intervals of {rivals} more reach"
    return f"{text}. {reach} into the {word} one's, so by these alone which is {word} is open."


def _alike(one: Row, rows: Sequence[Row], metric: str, answer: Answer) -> str:
    """The variants that have the same number in writing: three of them by name."""
    names = [row.variant.text for row in rows if _same(one, row, metric, answer)]
    if len(names) <= MOST_TIED:
        return " and with ".join(names)
    return f"{' and with '.join(names[:MOST_TIED])} (and {len(names) - MOST_TIED} more)"


MOST_TIED = 3


def _same(one: Row, other: Row, metric: str, answer: Answer) -> bool:
    texts = {number_text(row.numbers[metric], metric, answer) for row in (one, other)}
    return len(texts) == 1


def _rivals(best: Row, rows: Sequence[Row], metric: str, answer: Answer) -> int:
    """How many could be the best as well, by their intervals; those that are the same in writing are none."""
    own = best.numbers[metric]
    others = [row.numbers[metric] for row in rows if not _same(best, row, metric, answer)]
    lowest = answer.spec.goal.best == "lowest"
    reach = [n.low <= own.high if lowest else n.high >= own.low for n in others if n.low < n.high or own.low < own.high]
    return sum(reach)


def _trends(rows: Sequence[Row], answer: Answer) -> Iterator[str]:
    """For the first plot over a parameter of numbers: both ends of each line, and where it changes most."""
    plot = next((p for p in answer.spec.plots if p.y != LIMIT), None)
    if plot is None or answer.spec.design.kind != "grid":
        return
    metric = next((m for row in rows for m in row.numbers if m == plot.y or short(m) == plot.y), "")
    lines: dict[str, list[tuple[float, Row]]] = {}
    for row in rows:
        x = amount(row.variant[plot.x])
        if x is None:
            return
        if metric in row.numbers and all(row.variant[k] == v for k, v in plot.only.items()):
            others = ", ".join(f"{k} {told(v)}" for k, v in row.variant.values if k != plot.x and k not in plot.only)
            lines.setdefault(others, []).append((x.value, row))
    fixed = "".join(f", {k} {told(v)}" for k, v in plot.only.items())
    for others, places in list(lines.items())[:MOST_NAMED]:
        line = [row for _, row in sorted(places, key=lambda place: place[0])]
        if len(line) > 2:
            yield _trend(line, metric, plot.x, others + fixed, answer)


def _trend(line: Sequence[Row], metric: str, x: str, who: str, answer: Answer) -> str:
    values = [row.numbers[metric].value for row in line]
    first, last = (
        f"{shown(row.numbers[metric].value, metric)} at {x} {told(row.variant[x])}" for row in (line[0], line[-1])
    )
    text = f"With {who.removeprefix(', ')}: " if who else ""
    text += f"{title_of(metric, answer)} {first}, {last}"
    text = cap(text)
    stretches = [(name, list(group)) for name, group in groupby(line, key=lambda row: row.texts.get("limit", ""))]
    if 1 < len(stretches) <= MOST_STRETCHES:
        named_ones = (f"{name or 'nothing'} from {told(group[0].variant[x])} on" for name, group in stretches)
        text += f"; what limits: {', '.join(named_ones)}"
    elif max(values) > FLAT * min(values) > 0:
        steps = [max(a, b) / min(a, b) for a, b in pairwise(values)]
        at = steps.index(max(steps))
        text += f"; it changes most between {told(line[at].variant[x])} and {told(line[at + 1].variant[x])}"
    return f"{text}."


MOST_STRETCHES = 3
FLAT = 1.05
"""A line that changes by less than this factor has no place where it does."""


def _what_limits(rows: Sequence[Row]) -> Iterator[str]:
    limits = first_limits(rows)
    often = " most often" if any(row.replications > 1 for row in rows) else ""
    if limits:
        total = sum(limits.values())
        if len(limits) == 1:
            where = (
                ""
                if len(rows) == 1
                else " everywhere"
                if total == len(rows)
                else f", in {total} of {len(rows)} variants"
            )
            yield f"What limits{often}{where}: {next(iter(limits))}."
        else:
            listed = "; ".join(f"{name} in {count}" for name, count in limits.most_common(MOST_NAMED))
            yield f"What limits{often}, in {total} of {len(rows)} variants: {listed}."


def _limits(answer: Answer, rows: Sequence[Row]) -> Iterator[str]:
    ranked = sorted(rows, key=lambda row: -row.numbers[LIMIT].value)
    shown_rows = ranked if len(ranked) <= MOST_NAMED else [ranked[0], ranked[-1]]
    for row in shown_rows:
        yield limit_sentence(row, answer)
    if len(ranked) > MOST_NAMED:
        yield f"{len(ranked)} variants were searched; the table has all."
    for row in rows:
        if row.limit is not None and row.limit.odd:
            yield _odd_sentence(row, row.limit, answer)


def _odd_sentence(row: Row, found: Found, answer: Answer) -> str:
    """Of conditions that change more than once in what was searched."""
    limit = answer.spec.goal.limit
    assert limit is not None
    who = f"With {row.variant.text}: " if row.variant.values else ""
    places = ", ".join(amount_text(a.value, a.dimension, limit.start) for a in found.odd)
    match found.ending:
        case Ending.NEVER:
            more = f"they hold higher up, at {places}: search from there to find how far"
        case Ending.BEYOND:
            more = f"they fail in between, at {places}: search below that to find how far"
        case _:
            more = f"look at {places}; the limit is one of several"
    return _start(who, f"the conditions do not change once only: {more}.")


def limit_sentence(row: Row, answer: Answer) -> str:
    """What a search found for one variant."""
    limit, found = answer.spec.goal.limit, row.limit
    assert limit is not None
    assert found is not None
    conditions = " and ".join(limit.conditions)
    who = f"With {row.variant.text}: " if row.variant.values else ""
    name = limit.parameter
    match found.ending:
        case Ending.NEVER:
            broken = ", ".join(map(str, found.broken))
            return f"{_start(who, f'not even {name} {limit.start} holds {broken}')}{_of_draws(row, answer)}."
        case Ending.BEYOND:
            here = f"{conditions} holds up to {name} {limit.end} and maybe beyond, where the search ended"
            return f"{who}{here}{_of_draws(row, answer)}."
        case _:
            at = number_text(row.numbers[LIMIT], LIMIT, answer)
            broken = ", ".join(map(str, found.broken))
            cause = row.texts.get("limit", "")
            return f"{who}{name} can go up to {at}; above, {broken} no longer holds{f' ({cause})' if cause else ''}."


def _of_draws(row: Row, answer: Answer) -> str:
    """Where the limits of the draws lie, if not where the search ended."""
    number = row.numbers[LIMIT]
    if not row.limits or number.low == number.high:
        return ""
    return (
        f"; 95 % of the draws lie between {' and '.join(limit_text(end, answer) for end in (number.low, number.high))}"
    )


def _compared(answer: Answer) -> Iterator[str]:
    compare = answer.spec.goal.compare
    if compare is None or not answer.comparisons:
        return
    metric = answer.comparisons[0].metric
    of_metric = [c for c in answer.comparisons if c.metric == metric]
    ranked = sorted(of_metric, key=lambda c: -c.ratio.value)
    if len(ranked) > 2:
        yield _counted(ranked, title_of(metric, answer), compare)
    ends = ranked if len(ranked) <= 2 else [ranked[0], ranked[-1]]
    for comparison in sorted(ends, key=lambda c: -abs(c.ratio.value - 1)):
        yield comparison_sentence(comparison, answer)


def _counted(comparisons: Sequence[Comparison], title: str, compare: Compare) -> str:
    """How many go which way, and whether that is sure."""
    orders = Counter(c.order for c in comparisons)
    surely = "surely " if all(c.interval and c.confidence >= SURE for c in comparisons) else ""
    chance = next((c.confidence for c in comparisons if c.interval), None)
    why = "" if surely else " by the nominal numbers" if chance is None else f" by intervals of {100 * chance:g} %"
    rest = orders[Order.EQUAL] + orders[Order.OPEN]
    b, a = told(compare.b), told(compare.a)
    text = f"Of {len(comparisons)} comparisons, {title} with {compare.parameter} {b} is {surely}higher{why} than with {a} in "
    text += f"{orders[Order.HIGHER]}, {surely}lower in {orders[Order.LOWER]}, and equal or open in {rest}"
    if surely:
        return f"{text}."
    lacking = "an interval of the difference" if chance is None else f"intervals of {100 * SURE:g} %"
    return f"{text}; without {lacking} none of this is sure."


def comparison_sentence(comparison: Comparison, answer: Answer) -> str:
    """One metric of b against a."""
    compare = answer.spec.goal.compare
    assert compare is not None
    metric = comparison.metric
    where = ", ".join(f"{name} {told(value)}" for name, value in comparison.others)
    a, b = (f"{compare.parameter} {told(value)}" for value in (compare.a, compare.b))
    text = f"{title_of(metric, answer)} with {b}: {number_text(comparison.b, metric, answer)}, "
    text += f"with {a}: {number_text(comparison.a, metric, answer)}"
    text += "".join(f"; {part}" for part in (change_text(comparison), _how_sure(comparison)) if part)
    return f"{f'At {where}: ' if where else ''}{cap(text) if not where else text}."


def change_text(comparison: Comparison) -> str:
    """By how much b is above a, with its interval; of limits outside what was searched, what is known of it. "" if a is 0."""
    ratio = comparison.ratio
    low, high = (f"{100 * (end - 1):+.1f}" for end in (ratio.low, ratio.high))
    if not comparison.known:
        if math.isinf(ratio.high):
            return f"at least {low} %" if ratio.low > 0 else ""
        return f"at most {high} %"
    if not comparison.a.value:
        return ""
    if math.isinf(ratio.value):
        return f"at least {low} %"
    text = f"{100 * (ratio.value - 1):+.1f} %"
    if ratio.low == ratio.high:
        return text
    return f"{text} (at least {low} %)" if math.isinf(ratio.high) else f"{text} ({low} to {high} %)"


def _how_sure(comparison: Comparison) -> str:
    difference = comparison.difference
    if comparison.order in (Order.HIGHER, Order.LOWER):
        if comparison.interval:
            return "" if comparison.sure else f"by an interval of {100 * comparison.confidence:g} %"
        a, b = comparison.a, comparison.b
        wide = comparison.metric != LIMIT and (a.low < a.high or b.low < b.high)
        overlap = wide and a.low <= b.high and b.low <= a.high
        return f"by the nominal numbers{', and their intervals overlap' if overlap else ''}"
    if comparison.order is Order.EQUAL:
        return ""
    if not comparison.known and (math.isinf(difference.high) or math.isinf(difference.low)):
        return "the searches ended before it showed which is higher"
    if comparison.interval:
        return "the interval holds 0, so which is better is open"
    return "closer than the search's tolerance, so which is higher is open"


def _moved(answer: Answer) -> Iterator[str]:
    if not answer.swings:
        asked = answer.spec.goal.sensitivity is not None
        if asked and answer.rows and not answer.failed and not answer.unknown and not answer.missing:
            yield "No profile number that the answer uses has an interval."
        return
    by_variant: dict[Variant, list[Swing]] = {}
    for swing in answer.swings:
        by_variant.setdefault(swing.variant, []).append(swing)
    for variant, swings in list(by_variant.items())[:MOST_NAMED]:
        first = max(swings, key=lambda s: s.width)
        who = f"With {variant.text}: " if variant.values else ""
        if first.width == 0:
            still_all = f"no uncertain number moves {title_of(answer.swing_metric, answer)}{_outside(first, answer)}"
            yield f"{_start(who, still_all)}."
            continue
        still = sum(s.width == 0 for s in swings)
        text = (
            f"{title_of(answer.swing_metric, answer)} moves most with {first.uncertain.number} of {first.uncertain.profile} "
            f"({first.uncertain.quantity.kind}, {interval_text(first.uncertain.quantity)}): {_moves(first, answer)}; "
            f"{still} of {len(swings)} uncertain numbers do not move it{_outside(first, answer)}."
        )
        yield _start(who, text)


def _unmoved(answer: Answer) -> Iterator[str]:
    """Of which numbers it is not known what they do."""
    by_variant: dict[Variant, list[str]] = {}
    for one in answer.unknown:
        by_variant.setdefault(one.variant, []).append(f"{one.uncertain.number} of {one.uncertain.profile}")
    known = {swing.variant for swing in answer.swings}
    title = title_of(answer.swing_metric, answer)
    for variant, names in list(by_variant.items())[:MOST_NAMED]:
        who = f"With {variant.text}: " if variant.values else ""
        if variant not in known:
            yield f"{_start(who, f'there is no {title} with any number, so nothing tells what moves it')}."
            continue
        listed = ", ".join(names[:MOST_TIED])
        more = f" and {len(names) - MOST_TIED} more" if len(names) > MOST_TIED else ""
        end = "an end of its interval" if len(names) == 1 else "an end of their intervals"
        yield f"{_start(who, f'at {end} there is no {title}: {listed}{more}; that is not among what moves it')}."


def _wide(answer: Answer) -> Iterator[str]:
    """Where replications ended before the interval was as narrow as it was to be."""
    repeats = answer.spec.repeats
    wide = [row.half_width for row in answer.rows if row.half_width is not None and row.half_width > repeats.relative]
    if wide:
        where = f" in {len(wide)} of {len(answer.rows)} variants" if len(answer.rows) > 1 else ""
        yield (
            f"Not tight{where} after {repeats.at_most} replications: the mean of {repeats.metric} was to be known to "
            f"{repeats.half_width}, and is to {100 * max(wide):.2g} %{' or better' if len(wide) > 1 else ''}."
        )


def _start(who: str, rest: str) -> str:
    """A sentence that begins with its variant, where there are several, or else with a capital letter."""
    return f"{who}{rest}" if who else cap(rest)


def _outside(swing: Swing, answer: Answer) -> str:
    """Of a limit outside what was searched it is not known what moves it."""
    limit = answer.spec.goal.limit
    if answer.swing_metric != LIMIT or limit is None or not (beyond(swing.base, limit) or under(swing.base, limit)):
        return ""
    return f" into what was searched ({limit.start} to {limit.end}): it is {limit_text(swing.base, answer)}"


def _moves(swing: Swing, answer: Answer) -> str:
    texts = [number_text(Number(v, v, v), answer.swing_metric, answer) for v in (swing.low, swing.high)]
    return f"{texts[0]} to {texts[1]}"


def _failures(answer: Answer) -> Iterator[str]:
    if answer.failed:
        first = answer.failed[0]
        yield (
            f"{len(answer.failed)} of {len(answer.rows)} variants could not be computed; the first, {first.variant.text}: "
            f"{first.error.splitlines()[0]}"
        )
