"""A study's report: one page, the answer first, then tables and charts, the topology, what it rests on, how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ytwin.core.errors import YtwinError
from ytwin.hardware import Kind, numbers
from ytwin.report import Block, Code, Drawing, Figure, Page, Section, Style, Table, Text
from ytwin.report.lines import Line, line_chart
from ytwin.report.plots import Bars, grouped_bars, log_axis, names_above
from ytwin.study.charts import Chart, charts, not_drawn
from ytwin.study.designs import told
from ytwin.study.drawing import topology_picture
from ytwin.study.evaluate import Job, Memory, Scene, scene_of
from ytwin.study.goals import LIMIT, Answer, Row
from ytwin.study.intervals import Comparison, Number, Order
from ytwin.study.texts import amount_text, cap, interval_text, number_text, title_of
from ytwin.study.words import change_text, sentences

LEADING: Final = 2
"""Sentences of the answer that stand above all sections."""
MOST_ROWS: Final = 200
"""Of a table in the page; the CSV has all."""
_TEXT_COLUMNS: Final = {"limit": "what limits", "offload": "path"}
_SHORT: Final = {"first packet only in software": "offloaded"}
"""The outcome of every path through a card that tracks connections; why stands in answer.csv."""


@dataclass(frozen=True)
class Made:
    """How the page came about."""

    command: str
    version: str
    study_text: str
    points: int
    missing: int = 0
    """Points that the answer would need as well."""
    unexpected: tuple[str, ...] | None = None
    """What is not as the study expects; None where nothing is expected."""


def page(job: Job, answer: Answer, made: Made, memory: Memory | None = None) -> Page:
    """The report of what is known."""
    said = sentences(answer)
    spec = job.study.spec
    leading = LEADING + bool(answer.missing)
    lead = " ".join(said[:leading])
    style = Style.WARN if made.missing or answer.failed or made.unexpected else Style.GOOD
    if not [row for row in answer.rows if not row.error]:
        style = Style.BAD
    sections = _answer_section(job, said[leading:], made)
    pictures = [block for chart in charts(answer) for block in _figures(chart)]
    pictures += [Text(cap(said), Style.DIM) for said in not_drawn(answer)]
    if pictures:
        sections.append(Section("Plots", pictures, anchor="plots"))
    sections.append(_table_section(answer))
    sections += _comparison_section(answer)
    sections += _sensitivity_section(answer)
    scenes = _scenes(job, answer, memory or Memory())
    if scenes:
        sections.append(_topology_section(scenes[0]))
        sections.append(_assumptions_section(answer, scenes))
    sections.append(_repeat_section(job, made))
    merits = [(f"{len(answer.rows)}", "variants"), (f"{made.points}", "points computed")]
    if answer.failed:
        merits.append((f"{len(answer.failed)}", "variants failed"))
    return Page(
        title=spec.question,
        answer=lead,
        answer_style=style,
        sections=sections,
        command=made.command,
        seed=spec.seed,
        figures_of_merit=[*_merits(answer), *merits],
    )


def _merits(answer: Answer) -> list[tuple[str, str]]:
    rows = [row for row in answer.rows if not row.error]
    if not rows or not answer.metrics or answer.metrics[0] not in rows[0].numbers:
        return []
    metric = answer.metrics[0]
    known = [row for row in rows if metric in row.numbers]
    best = (min if answer.spec.goal.best == "lowest" else max)(known, key=lambda row: row.numbers[metric].value)
    plain = Number(best.numbers[metric].value, best.numbers[metric].value, best.numbers[metric].value)
    word = "lowest" if answer.spec.goal.best == "lowest" else "highest"
    return [(number_text(plain, metric, answer), f"{title_of(metric, answer).removeprefix('highest ')}, {word}")]


def _answer_section(job: Job, said: Sequence[str], made: Made) -> list[Section]:
    """What does not stand above all sections, and how it was found."""
    blocks: list[Block] = [Text(sentence) for sentence in said]
    if made.unexpected is not None:
        blocks += [Text(f"Not as expected: {sentence}", Style.BAD) for sentence in made.unexpected]
        if not made.unexpected:
            blocks.append(Text("All that the study expects (expected.yaml) is so.", Style.DIM))
    method = job.study.spec.method
    return [Section("Answer" if blocks else "Method", blocks, method, "answer")] if blocks or method else []


def _table_section(answer: Answer) -> Section:
    blocks: list[Block] = [answer_table(answer)]
    if len(answer.rows) > MOST_ROWS:
        blocks.append(Text(f"{MOST_ROWS} of {len(answer.rows)} variants are shown; answer.csv has all.", Style.DIM))
    return Section("All variants", blocks, _what_intervals_are(answer), "table")


def _what_intervals_are(answer: Answer) -> str:
    spec = answer.spec
    known = [(name, row.numbers[name]) for row in answer.rows for name in answer.metrics if name in row.numbers]
    # A limit's low and high are the search's tolerance, unless profile numbers are drawn.
    if not any(n.low != n.high for name, n in known if name != LIMIT or spec.draws):
        return ""
    if spec.draws:
        counts = [row.replications for row in answer.rows if not row.error]
        many = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        shared = "the same for all variants" if spec.common_random_numbers else "for each variant on its own"
        return (
            f"In brackets: where at least 95 % of {many} draws lie; each draw takes every uncertain profile number "
            f"from its interval, {shared}."
        )
    if spec.engine != "analytic":
        return f"In brackets: {100 * spec.repeats.confidence:.0f} % interval of the mean over replications."
    return "In brackets: with uncertain profile numbers at the ends of their intervals, taken as independent."


def answer_table(answer: Answer, rows: int = MOST_ROWS) -> Table:
    """One line per variant."""
    labels = [p.label for p in answer.spec.parameters]
    texts = [name for name in _TEXT_COLUMNS if len({row.texts.get(name, "") for row in answer.rows}) > 1]
    # Where nothing could be computed and no metric was asked for by name, errors have a column of their own.
    titles = [title_of(metric, answer) for metric in answer.metrics] or (["error"] if answer.failed else [])
    until_tight = answer.spec.repeats.at_most is not None
    header = [*labels, *titles, *(["replications"] if until_tight else ()), *(_TEXT_COLUMNS[t] for t in texts)]
    lines, styles = [], dict[tuple[int, int], Style]()
    for index, row in enumerate(answer.rows[:rows]):
        cells = [told(row.variant[label]) for label in labels]
        cells += [_cell(row, metric, answer) for metric in answer.metrics] or ["" for _ in titles]
        cells += [_replications(row, answer)] if until_tight else []
        cells += [_SHORT.get(row.texts.get(name, ""), row.texts.get(name, "")) for name in texts]
        if row.error:
            styles[index, len(labels)] = Style.BAD
            cells[len(labels)] = f"failed: {row.error.splitlines()[0]}"
        lines.append(cells)
    return Table(header, lines, styles, frozenset(range(len(labels), len(labels) + len(titles) + until_tight)))


def _replications(row: Row, answer: Answer) -> str:
    """How many there were, and whether the interval got as narrow as it was to be."""
    wide = row.half_width is not None and row.half_width > answer.spec.repeats.relative
    return f"{row.replications}{' (not tight)' if wide else ''}"


def _cell(row: Row, metric: str, answer: Answer) -> str:
    if row.error or metric not in row.numbers:
        return ""
    return number_text(row.numbers[metric], metric, answer)


def _figures(chart: Chart) -> list[Block]:
    title = cap(chart.title)
    blocks: list[Block] = []
    if chart.names:
        names = [name.replace("\n", "<br>") for name in chart.names]
        series = [
            _bars(s.name or chart.y_title, index + 1, s.x, s.y, s.low, s.high, len(names))
            for index, s in enumerate(chart.series)
        ]
        plot = grouped_bars(names, series, chart.unit)
        height = 110 + max(26, 16 * len(series) + 10) * len(names)
        if chart.log_y:
            plot["layout"]["xaxis"] |= log_axis(value for one in series for value in one.values)
            plot["layout"]["xaxis"].pop("rangemode", None)
        if chart.baseline is not None:
            _around(plot, chart.baseline)
            apart = [name.partition("\n") for name in chart.names]
            height = 120 + names_above(plot, [(what, more) for what, _, more in apart]) * len(names)
        if len(series) == 1:
            plot["layout"]["showlegend"] = False
        blocks.append(Figure(plot, title, chart.alt, height, wide=chart.baseline is not None))
    else:
        lines = [Line(s.name or chart.y_title, s.x, s.y, s.low, s.high) for s in chart.series]
        plot = line_chart(
            lines,
            chart.x_title,
            f"{chart.y_title}, {chart.unit}" if chart.unit else chart.y_title,
            chart.log_x,
            chart.log_y,
            chart.joined,
        )
        blocks.append(Figure(plot, title, chart.alt, 340 + 18 * max(0, len(lines) - 4), wide=False))
    if chart.left_out:
        blocks.append(Text(f"{title}: {chart.left_out} more are in the table.", Style.DIM))
    return blocks


def _bars(
    name: str,
    colour: int,
    x: Sequence[float],
    y: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    count: int,
) -> Bars:
    places = {int(at): index for index, at in enumerate(x)}

    def spread(values: Sequence[float]) -> list[float | None]:
        return [values[places[i]] if i in places else None for i in range(count)]

    intervals = (spread(low), spread(high)) if tuple(low) != tuple(high) else (None, None)
    return Bars(name, spread(y), colour, *intervals)


def _around(plot: dict[str, object], baseline: float) -> None:
    """Bars that start at the baseline instead of 0: a tornado."""
    data = plot["data"]
    assert isinstance(data, list)
    for trace in data:
        trace["base"] = baseline
        trace["customdata"] = trace["x"]
        trace["x"] = [None if value is None else value - baseline for value in trace["x"]]
        trace["hovertemplate"] = f"{trace['name']}: %{{customdata:.5g}}<extra>%{{y}}</extra>"
    layout = plot["layout"]
    assert isinstance(layout, dict)
    layout["barmode"] = "overlay"
    layout["xaxis"].pop("rangemode", None)
    line = {"type": "line", "x0": baseline, "x1": baseline, "y0": 0, "y1": 1, "yref": "paper"}
    layout["shapes"] = [{**line, "line": {"color": "var(--ink)", "width": 1.4}}]


def _comparison_section(answer: Answer) -> list[Section]:
    compare = answer.spec.goal.compare
    if compare is None or not answer.comparisons:
        return []
    labels = [name for name, _ in answer.comparisons[0].others]
    header = [*labels, "metric", f"a: {told(compare.a)}", f"b: {told(compare.b)}", "b against a", "sure?"]
    lines = []
    for c in answer.comparisons[:MOST_ROWS]:
        numbers_of_both = [number_text(n, c.metric, answer) for n in (c.a, c.b)]
        lines.append(
            [*(told(v) for _, v in c.others), title_of(c.metric, answer), *numbers_of_both, change_text(c), _sure(c)]
        )
    intro = "By pairs: both sides have the same chance, so what they share cancels."
    if not answer.spec.common_random_numbers:
        intro = "Each side has chance of its own, so nothing cancels (commonRandomNumbers: false)."
    intro += " Open: the interval of the difference holds 0."
    if not all(c.interval for c in answer.comparisons):
        intro += " Nominal: there is no interval of the difference, so nothing tells whether it is sure."
    numeric = frozenset(range(len(labels) + 1, len(labels) + 4))
    return [
        Section(
            f"{compare.parameter}: {told(compare.b)} against {told(compare.a)}",
            [Table(header, lines, None, numeric), *_cut(len(answer.comparisons), "comparisons")],
            intro,
            "comparison",
        )
    ]


def _sure(comparison: Comparison) -> str:
    """Whether which side is higher is sure, for the table."""
    if comparison.order in (Order.EQUAL, Order.OPEN):
        return comparison.order.value
    if not comparison.interval:
        return "nominal"
    return "yes" if comparison.sure else f"by {100 * comparison.confidence:g} %"


def _sensitivity_section(answer: Answer) -> list[Section]:
    if not answer.swings:
        return []
    title = title_of(answer.swing_metric, answer)
    labels = [p.label for p in answer.spec.parameters]
    header = [*labels, "profile", "number", "kind", "interval", f"{title} from", "to", "source"]
    lines = []
    for swing in sorted(answer.swings, key=lambda s: -s.width / abs(s.base or 1))[:MOST_ROWS]:
        quantity = swing.uncertain.quantity
        ends = [number_text(Number(v, v, v), answer.swing_metric, answer) for v in (swing.low, swing.high)]
        at = [told(swing.variant[label]) for label in labels]
        lines.append(
            [
                *at,
                swing.uncertain.profile,
                swing.uncertain.number,
                quantity.kind.value,
                interval_text(quantity),
                *ends,
                quantity.source,
            ]
        )
    intro = "Each uncertain profile number is put to the ends of its interval, alone; widest effect first."
    blocks = [Table(header, lines), *_cut(len(answer.swings), "numbers")]
    return [Section("What the answer hangs on", blocks, intro, "sensitivity")]


def _cut(count: int, what: str) -> list[Block]:
    """What a table leaves out."""
    if count <= MOST_ROWS:
        return []
    return [Text(f"{MOST_ROWS} of {count} {what} are shown; answer.json has all.", Style.DIM)]


def _scenes(job: Job, answer: Answer, memory: Memory) -> list[Scene]:
    """One scene per set of profiles that the study uses."""
    found: list[Scene] = []
    seen: set[frozenset[str]] = set()
    by_cards: set[tuple[object, ...]] = set()
    for row in answer.rows:
        if row.error:
            continue
        settings = dict(row.variant.settings)
        key = tuple(value for path, value in sorted(settings.items()) if path.startswith(("nodes.", "path.")))
        if key in by_cards:
            continue
        by_cards.add(key)
        try:
            scene = scene_of(job, settings, memory)
        except YtwinError:
            continue  # another model than the path's may have none
        names = frozenset(card.name for card in scene.cards.values())
        if names not in seen:
            seen.add(names)
            found.append(scene)
    return found


def _topology_section(scene: Scene) -> Section:
    visited = list(dict.fromkeys(v.chassis for p in scene.programs for v in p.visits))
    alt = f"{scene.client} calls {scene.destination}; nodes on the way: {', '.join(visited)}"
    blocks: list[Block] = [
        Drawing(topology_picture(scene), "Topology and the path that is studied (first variant)", alt),
        Text("Blue: who calls. Green: backends of the Service. Below each node: its hardware profile.", Style.DIM),
    ]
    return Section("Topology", blocks, anchor="topology")


def _assumptions_section(answer: Answer, scenes: Sequence[Scene]) -> Section:
    named: dict[str, None] = {}
    for row in answer.rows:
        for item in filter(None, row.texts.get("rests_on", "").split("; ")):
            named.setdefault(item.rpartition(" (")[0])
    profiles = {card.name: card for scene in scenes for card in scene.cards.values()}
    lines = []
    for item in named:
        profile, _, number = item.partition(".")
        quantity = numbers(profiles[profile]).get(number) if profile in profiles else None
        if quantity is None or quantity.kind not in (Kind.CALIBRATED, Kind.ASSUMED):
            continue  # a drawn number counts as assumed while it is drawn, whatever it is
        interval = interval_text(quantity) if quantity.low != quantity.high else ""
        told_value = amount_text(quantity.value, quantity.dimension, quantity.text)
        source = f"{quantity.source}; {quantity.conditions}" if quantity.conditions else quantity.source
        lines.append([profile, number, told_value, interval, quantity.kind.value, source])
    intro = "Calibrated or assumed profile numbers that the answer rests on; `ytwin profiles` has all numbers."
    table = Table(("profile", "number", "value", "interval", "kind", "source"), lines, None, frozenset({2, 3}))
    return Section("Assumptions", [table] if lines else [Text("None.")], intro, "assumptions")


def _repeat_section(job: Job, made: Made) -> Section:
    spec = job.study.spec
    design = spec.design.kind if spec.design.points is None else f"{spec.design.points} points, {spec.design.kind}"
    route = f"{spec.route.client} to {spec.route.to}" if spec.route is not None else ""
    rows = [
        ("command", made.command),
        ("seed", str(spec.seed)),
        ("ytwin", made.version),
        ("engine", spec.engine),
        ("design", design),
        ("path", route),
        ("load", ", ".join(f"{name} {value}" for name, value in spec.load.items())),
        ("points", str(made.points)),
    ]
    blocks: list[Block] = [Table(("what", "value"), [row for row in rows if row[1]])]
    blocks.append(Code(made.study_text, f"The study: {job.study.name}"))
    blocks += [Code(text, name) for name, text in _texts(job.inputs.topology).items()]
    return Section("How to repeat it", blocks, anchor="repeat")


LARGEST_TEXT: Final = 20_000


def _texts(files: Mapping[str, str]) -> dict[str, str]:
    """Topology files, unless they are too large for a page."""
    return {name: text for name, text in files.items() if len(text) <= LARGEST_TEXT}
