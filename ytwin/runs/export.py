"""What a finished run leaves beside its results: a flat table as Parquet and CSV, the answer as JSON, the page, PNG files."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ytwin.runs.store import Store
from ytwin.study.charts import charts
from ytwin.study.designs import told
from ytwin.study.evaluate import Job
from ytwin.study.goals import Answer
from ytwin.study.intervals import Number
from ytwin.study.page import Made, page
from ytwin.study.points import Result
from ytwin.study.words import sentences

RESULTS_CSV, ANSWER_CSV, RESULTS_PARQUET, ANSWER_JSON, REPORT = (
    "results.csv",
    "answer.csv",
    "results.parquet",
    "answer.json",
    "report.html",
)


TEXT_END = ".text"
"""Of a column that holds a text of the model, so that it has not the name of a number or of a parameter."""


def export(store: Store, job: Job, answer: Answer, results: Mapping[str, Result], made: Made) -> tuple[Path, ...]:
    """Write everything; equal results give equal files. The first is the page."""
    rows = [_flat(result) for result in results.values()]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    drawn = _pngs(store, answer)
    return (
        store.write(REPORT, page(job, answer, made).html()),
        store.write(ANSWER_CSV, _csv(*_answer_rows(answer))),
        store.write(RESULTS_CSV, _csv(columns, [[row.get(c, "") for c in columns] for row in rows])),
        store.write(RESULTS_PARQUET, _parquet(columns, rows)),
        store.write(ANSWER_JSON, _json(answer, made)),
        *drawn,
    )


def _flat(result: Result) -> dict[str, Any]:
    """One line per point: what it sets, its metrics, its texts. Without times, which differ from run to run."""
    return {
        "id": result.id,
        **dict(result.settings),
        "replication": result.replication,
        "status": result.status.value,
        **result.metrics,
        **result.texts,
        "error": result.error,
    }


def _csv(header: list[str], rows: list[list[Any]]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _parquet(columns: list[str], rows: list[dict[str, Any]]) -> bytes:
    """Numbers as numbers; a column that holds texts too is text."""
    arrays = []
    for column in columns:
        values = [row.get(column) for row in rows]
        plain = all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values)
        if plain:
            arrays.append(pa.array([None if v is None else float(v) for v in values], pa.float64()))
        else:
            arrays.append(pa.array([None if v is None else str(v) for v in values], pa.string()))
    sink = BytesIO()
    pq.write_table(pa.table(dict(zip(columns, arrays, strict=True))), sink, compression="zstd")
    return sink.getvalue()


def _answer_rows(answer: Answer) -> tuple[list[str], list[list[Any]]]:
    """One line per variant, numbers in base units of what their column says; limits in the base unit of their parameter."""
    labels = [p.label for p in answer.spec.parameters]
    texts = list(dict.fromkeys(name for row in answer.rows for name in row.texts))
    header = [*labels, "replications"]
    header += [f"{metric}{end}" for metric in answer.metrics for end in ("", ".low", ".high")]
    # Of a search both a metric and a text are called limit: what the limit is, and what limits.
    header += ["ending", *(f"{name}{TEXT_END}" for name in texts), "error"]
    lines = []
    for row in answer.rows:
        line: list[Any] = [told(row.variant[label]) for label in labels]
        line.append(row.replications)
        for metric in answer.metrics:
            number = row.numbers.get(metric)
            line += [number.value, number.low, number.high] if number is not None else ["", "", ""]
        line.append(row.limit.ending.value if row.limit is not None else "")
        line += [row.texts.get(name, "") for name in texts]
        lines.append([*line, row.error])
    return header, lines


def answer_to_json(answer: Answer, made: Made) -> dict[str, Any]:
    """The documented form of an answer; the first sentence is the answer."""
    return {
        "question": answer.spec.question,
        "answer": list(sentences(answer)),
        "seed": answer.spec.seed,
        "command": made.command,
        "points": made.points,
        "missing": made.missing,
        "unexpected": None if made.unexpected is None else list(made.unexpected),
        "metrics": list(answer.metrics),
        "rows": [
            {
                "values": dict(row.variant.values),
                "settings": dict(row.variant.settings),
                "numbers": {name: _number(number) for name, number in row.numbers.items()},
                "texts": dict(row.texts),
                "replications": row.replications,
                "halfWidth": row.half_width if row.half_width is not None and math.isfinite(row.half_width) else None,
                "ending": row.limit.ending.value if row.limit is not None else None,
                "error": row.error or None,
            }
            for row in answer.rows
        ],
        "comparisons": [
            {
                "at": dict(c.others),
                "metric": c.metric,
                "a": _number(c.a),
                "b": _number(c.b),
                "difference": _number(c.difference, c.known),
                "ratio": _number(c.ratio, c.known),
            }
            for c in answer.comparisons
        ],
        "sensitivity": [
            {
                "at": dict(s.variant.values),
                "profile": s.uncertain.profile,
                "number": s.uncertain.number,
                "kind": s.uncertain.quantity.kind.value,
                "source": s.uncertain.quantity.source,
                "metric": answer.swing_metric,
                "base": s.base,
                "low": s.low,
                "high": s.high,
            }
            for s in answer.swings
        ],
        "sensitivityUnknown": [
            {"at": dict(u.variant.values), "profile": u.uncertain.profile, "number": u.uncertain.number}
            for u in answer.unknown
        ],
    }


def _number(number: Number, known: bool = True) -> dict[str, float | None]:
    """An end that is not known (of a limit outside what was searched) is null."""
    ends = {"value": number.value if known else math.inf, "low": number.low, "high": number.high}
    return {name: end if math.isfinite(end) else None for name, end in ends.items()}


def _json(answer: Answer, made: Made) -> str:
    return json.dumps(answer_to_json(answer, made), indent=2, ensure_ascii=False) + "\n"


def _pngs(store: Store, answer: Answer) -> list[Path]:
    from ytwin.runs.pictures import png  # noqa: PLC0415 - loads matplotlib

    files = []
    for index, chart in enumerate(charts(answer), start=1):
        name = re.sub(r"[^a-z0-9]+", "-", chart.title.lower()).strip("-")[:60]
        files.append(store.write(f"{index}-{name}.png", png(chart)))
    for old in set(store.folder.glob("[0-9]*-*.png")) - set(files):
        old.unlink()  # of an answer that had other charts
    return files
