"""A Reproduction as an HTML page with plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ytwin.article import render
from ytwin.article.bench import Profiles
from ytwin.article.calibrate import formula
from ytwin.article.claims import ClaimVerdict
from ytwin.article.errors import set_to
from ytwin.article.render import Listing, percent, shown
from ytwin.article.reproduce import CellResult, Reproduction, median_error
from ytwin.article.tables import Cell, Mode, Role
from ytwin.hardware import Kind, numbers
from ytwin.performance.types import Metric, PathCost, Share
from ytwin.report import Block, Figure, Page, Section, Style, Table, Text
from ytwin.report.plots import Bars, grouped_bars, stacked_bars

BAR_PX: Final = 52
"""Of a group of two bars with its gap."""
AROUND_PX: Final = 100
"""Legend, axis and margins."""


def report_page(r: Reproduction, command: str) -> Page:
    """The answer first, then every number with where it is from."""
    inside = len(r.predicted) - len(r.red)
    good = not r.red and median_error(r.predicted) <= r.tables.target_median
    held = sum(c.verdict is ClaimVerdict.HOLDS for c in r.claims)
    merits = (
        (f"{inside} of {len(r.predicted)}", f"predicted cells within {render.target(r.tables.target_each)}"),
        (percent(median_error(r.predicted), False), f"median error; target {render.target(r.tables.target_median)}"),
        (percent(max(abs(x.error) for x in r.predicted), False), "largest error of a predicted cell"),
        (f"{held} of {len(r.claims)}", "of the article's claims hold on its own tables"),
    )
    sections = [
        Section("Every cell", [*_cells(r), Text(render.INTERVAL, Style.DIM)], _CELLS),
        Section("Article and twin", _bars(r), _BARS),
        Section("Latency by stage", _latency(r), _LATENCY),
        Section("What limits the packet rate", _limits(r), _LIMITS),
        Section("Where the cycles go", _cycles(r), _CYCLES),
        Section("The article's claims", [_claims(r), _table(render.facts(r))], _CLAIMS),
        Section("How sure is it", _sure(r), _SURE),
        Section("Numbers and their sources", _numbers(r), _NUMBERS),
    ]
    style = Style.BAD if r.red or r.beyond_stated else Style.GOOD if good else Style.WARN
    return Page(
        "The article's measurements, and the twin's", render.summary(r), style, sections, command, r.seed, merits
    )


_CELLS = "What the article measured, and what the twin says; red and OUTSIDE: a predicted cell that misses the target."
_BARS = (
    "Grey: what the article measured, with its own noise. Blue: the twin, with its interval. Cells marked c were calibrated on, "
    "those marked f fitted, so they agree by construction; all others are predictions."
)
_LATENCY = (
    "Half a round trip of one request at a time, stage by stage, the mean of both ways. A node's own port hands packets over "
    "once more than a Pod's: that is the profile's assumption, and all that makes the two software rows differ."
)
_LIMITS = (
    "Time that a resource is busy with one packet, divided by its servers: the longest one is the limit. The eSwitch and the "
    "slow path pay for passes and conntrack look-ups of the traced path, the host's stack for segments or packets."
)
_CYCLES = (
    "Cycles per request on the client's host. Two classes of instructions (stacks with application, OVS passes), each with a "
    "count and a CPI, are four numbers fitted to four cells: they agree whatever the truth is."
)
_CLAIMS = (
    "A claim is put to the article's own cells by a formula. It holds if the number, rounded to the five per cent in which the "
    "article writes, is the claim or better; it is generous if it reaches four fifths of it; else it does not follow."
)
_SURE = (
    "What one cell rests on without being measured, and two tests of the calibration: each calibrated cell predicted without "
    "itself, and each number calibrated on another cell of its kind."
)
_NUMBERS = "What was calibrated, and every other number that some cell rests on, with interval and source."


def _table(part: Listing, red_column: int | None = None) -> Table:
    columns = range(len(part.header)) if red_column is None else (red_column,)
    styles = {(row, column): Style.BAD for row in part.bad for column in columns}
    return Table(part.header, part.rows, styles, part.numeric, part.title)


def _name(cell: Cell) -> str:
    mark = {Role.CALIBRATED: " (c)", Role.FITTED: " (f)", Role.PREDICTED: ""}[cell.role]
    mode = "" if cell.table == "requests" and cell.row == "baseline" else f", {cell.mode.value}"
    return f"{render.ROWS[cell.row]}{mode}{mark}"


def _cells(r: Reproduction) -> list[Block]:
    found: list[Block] = []
    for table in r.tables.tables:
        results = _of_table(r, table.name)
        rows = [
            (
                f"{render.ROWS[x.cell.row]}, {x.cell.mode.value}",
                shown(x.cell.value),
                shown(x.value),
                f"{percent(x.error)} {render.mark(x, r)}",
                render.worth(x),
                render.span(x),
                render.limit(x),
                render.apart(x),
            )
            for x in results
        ]
        styles = {(i, 3): Style.BAD for i, x in enumerate(results) if x in r.red or x.beyond_stated}
        styles |= {(i, 4): Style.DIM for i, x in enumerate(results) if x.cell.role is not Role.PREDICTED}
        header = ("row", "article", "twin", "error", "role", "interval", "limit", "simulated")
        found.append(Table(header, rows, styles, frozenset({1, 2, 3, 5, 7}), f"{table.title}, {table.unit}"))
    return found


def _bars(r: Reproduction) -> list[Block]:
    found: list[Block] = []
    for table in r.tables.tables:
        results = [x for x in r.results if x.cell.table == table.name]
        article = [x.cell.value for x in results]
        noise = r.tables.noise
        series = (
            Bars(
                "article",
                article,
                0,
                [v * (1 - noise) for v in article],
                [v * (1 + noise) for v in article],
                [shown(v) for v in article],
            ),
            Bars(
                "twin",
                [x.value for x in results],
                1,
                [x.low for x in results],
                [x.high for x in results],
                [shown(x.value) for x in results],
            ),
        )
        figure = grouped_bars([_name(x.cell) for x in results], series, table.unit)
        said = "; ".join(f"{_name(x.cell)}: {shown(x.cell.value)} and {shown(x.value)}" for x in results)
        alt = f"{table.title} in {table.unit}, article and twin: {said}"
        found.append(Figure(figure, f"{table.title}, {table.unit}", alt, AROUND_PX + BAR_PX * len(results)))
    return found


def _of_table(r: Reproduction, table: str) -> list[CellResult]:
    return [x for x in r.results if x.cell.table == table]


def _latency(r: Reproduction) -> list[Block]:
    results = _of_table(r, "latency")
    names = [_name(x.cell) for x in results]
    stages: dict[str, list[float]] = {}
    for index, x in enumerate(results):
        ways = [way for way in (x.prediction.forward, x.prediction.reply) if way is not None]
        for way in ways:
            for part in way.latency:
                stage = part.stage.replace(f" of {part.chassis}", "").replace(f" at {part.chassis}", "")
                stages.setdefault(stage, [0.0] * len(results))[index] += part.time_ps / 1e6 / len(ways)
    rows = [
        (n, *(shown(v[i]) for v in stages.values()), shown(sum(v[i] for v in stages.values())))
        for i, n in enumerate(names)
    ]
    table = Table(("row", *stages, "sum, us"), rows, None, frozenset(range(1, len(stages) + 2)), "Time per stage, us")
    height = AROUND_PX + 20 + 40 * len(names)
    alt = "Latency by stage: " + "; ".join(
        f"{n} {shown(sum(v[i] for v in stages.values()))} us" for i, n in enumerate(names)
    )
    return [Figure(stacked_bars(names, stages, "us"), "Where the time goes", alt, height, wide=True), table]


def _busy(cost: PathCost) -> dict[str, float]:
    """Kind of resource -> ns per packet and server, of the busiest chassis."""
    found: dict[str, float] = {}
    for demand in cost.demands:
        time_ns = demand.service_ps / demand.servers / 1e3
        found[demand.share.value] = max(found.get(demand.share.value, 0.0), time_ns)
    return found


def _limits(r: Reproduction) -> list[Block]:
    results = _of_table(r, "packets")
    names = [_name(x.cell) for x in results]
    busy = [_busy(x.prediction.forward) for x in results]
    shares = [s.value for s in Share if any(s.value in one for one in busy)]
    rows: list[Sequence[object]] = []
    styles = {}
    for i, x in enumerate(results):
        why = x.prediction.forward.limit.why
        rows.append((names[i], *(shown(busy[i][s]) if s in busy[i] else "" for s in shares), x.prediction.limit, why))
        styles[i, 1 + shares.index(max(busy[i], key=busy[i].__getitem__))] = Style.WARN
    header = ("row", *(f"{s}, ns" for s in shares), "limit", "its work")
    numeric = frozenset(range(1, len(shares) + 1))
    table = Table(header, rows, styles, numeric, "Busy with one packet, ns per server; the limit is marked")
    software = [x for x in results if x.cell.mode is Mode.SOFTWARE and x.cell.client]
    parts = {x.cell.name: _slow_path(r, x.cell) for x in software}
    stages = list(dict.fromkeys(stage for one in parts.values() for stage in one))
    values = {stage: [parts[x.cell.name].get(stage, 0.0) for x in software] for stage in stages}
    bars = [_name(x.cell) for x in software]
    alt = "Slow path per packet: " + "; ".join(f"{s} {shown(v[0])} ns" for s, v in values.items())
    figure = Figure(
        stacked_bars(bars, values, "ns of one core"), "The slow path's work per packet and chassis", alt, 240, wide=True
    )
    return [table, figure]


def _slow_path(r: Reproduction, cell: Cell) -> dict[str, float]:
    """Number of the profile -> ns of slow path per packet that would go if it were 0."""

    def work(profiles: Profiles) -> float:
        demands = formula(r.benches, profiles, cell).forward.demands
        return max(d.service_ps for d in demands if d.share is Share.SLOW_PATH)

    profiles = r.calibrated.profiles
    whole = work(profiles)
    found = {}
    for path in ("packet_time", "pass_time", "conntrack_time", "tunnel_time", "hash_time"):
        gone = whole - work(set_to(profiles, r.card, f"slow_path.{path}", 0.0))
        found[_WORDS[path]] = gone / 1e3
    return found


_WORDS: Final = {
    "packet_time": "receiving and sending",
    "pass_time": "passes",
    "conntrack_time": "conntrack",
    "tunnel_time": "tunnel",
    "hash_time": "dp_hash",
}


def _cycles(r: Reproduction) -> list[Block]:
    """Of every row of the latency table: its load is the requests'."""
    host = numbers(r.calibrated.profiles[r.card])
    stack = host["host.request_instructions"].value * host["host.request_cpi"].value
    results = _of_table(r, "latency")
    names = [f"{render.ROWS[x.cell.row]}, {x.cell.mode.value}" for x in results]
    totals = [x.prediction[Metric.INSTRUCTIONS].value * x.prediction[Metric.CPI].value for x in results]
    parts = {
        "stacks and application": [stack / 1e3] * len(results),
        "OVS passes": [max(0.0, t - stack) / 1e3 for t in totals],
    }
    measured = {
        (c.row, c.mode): c.value * r.tables.cells[f"cpi.{c.row}.{c.mode.value}"].value
        for c in r.tables.of("instructions")
    }
    rows = []
    for i, x in enumerate(results):
        said = measured.get((x.cell.row, x.cell.mode))
        p = x.prediction
        rows.append(
            (
                names[i],
                shown(p[Metric.INSTRUCTIONS].value),
                f"{p[Metric.CPI].value:.2f}",
                shown(totals[i]),
                shown(said) if said is not None else "",
            )
        )
    header = ("row", "instructions/request", "CPI", "cycles/request", "article")
    alt = "Thousand cycles per request: " + "; ".join(
        f"{n} {shown(t / 1e3)}" for n, t in zip(names, totals, strict=True)
    )
    height = AROUND_PX + 40 * len(names)
    figure = Figure(
        stacked_bars(names, parts, "thousand cycles per request"), "Cycles per request", alt, height, wide=True
    )
    return [figure, Table(header, rows, None, frozenset({1, 2, 3, 4}), "Fitted, not validated")]


def _claims(r: Reproduction) -> Table:
    part = render.claims(r)
    looks = {ClaimVerdict.HOLDS: Style.GOOD, ClaimVerdict.GENEROUS: Style.WARN, ClaimVerdict.NOT: Style.BAD}
    styles = {(i, 1): looks[c.verdict] for i, c in enumerate(r.claims)}
    styles |= {(i, 5): looks[c.twin_verdict] for i, c in enumerate(r.claims)}
    return Table(part.header, part.rows, styles, part.numeric, part.title)


def _sure(r: Reproduction) -> list[Block]:
    found: list[Block] = [_table(render.assumptions(r)), Text(render.assumptions(r).note, Style.DIM)]
    if r.left_out:
        found += [
            _table(render.left_out(r)),
            Text(render.left_out(r).note, Style.DIM),
            _table(render.siblings(r), red_column=6),
            Text(render.siblings(r).note, Style.DIM),
        ]
    else:
        found.append(Text("Leave-one-out was not asked for.", Style.DIM))
    return found


def _numbers(r: Reproduction) -> list[Block]:
    rows = [
        (
            path,
            render.value_text(q),
            render.interval_text(q),
            q.kind.value,
            "; ".join(filter(None, (q.source, q.conditions))),
        )
        for path, q in render.used_numbers(r)
    ]
    styles = {(i, 3): Style.WARN for i, row in enumerate(rows) if row[3] == Kind.ASSUMED.value}
    header = ("number", "value", "interval", "kind", "source; conditions")
    loads = [(name, said.load, said.why) for name, said in r.tables.loads.items()]
    return [
        _table(render.calibration(r)),
        Text(render.calibration(r).note, Style.DIM),
        Table(header, rows, styles, frozenset(), f"Profile {r.card}, after calibration"),
        Table(("load", "as predict reads it", "why"), loads, None, frozenset(), "Loads of the tables"),
    ]
