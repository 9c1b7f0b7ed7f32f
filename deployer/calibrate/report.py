"""What a calibration found: fitted numbers, every cell measured and predicted, and how far off the held-out ones are. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from deployer.calibrate.cells import Cell, Draw, Metric
from deployer.calibrate.model import PROFILE, Measured, calibrate, predicted
from deployer.calibrate.paths import MeasuredPath
from ytwin.core.errors import YtwinError
from ytwin.core.tables import format_table
from ytwin.hardware import HardwareProfile, dump_profiles
from ytwin.performance import Fit

TARGET: Final = 0.15
"""Median held-out error that a calibration should keep below."""
CALIBRATES, HELD_OUT = "calibrates", "held out"


@dataclass(frozen=True, slots=True)
class Record:
    """What was measured, and how it went."""

    cells: tuple[Measured, ...]
    discarded: int
    """Measurements that others on the machine disturbed, and that were made again."""
    disturbed: int
    """Such that were kept, because there were too many of them."""
    failures: tuple[str, ...]
    """Measurements that failed, and were made again."""
    load: float
    """The highest load average."""


@dataclass(frozen=True, slots=True)
class Row:
    """One cell of the result."""

    role: str
    measured: Measured
    predicted: float

    @property
    def error(self) -> float:
        """Ratio by which the prediction is too high."""
        return self.predicted / self.measured.median - 1


@dataclass(frozen=True)
class Calibration:
    """Everything that a calibration found."""

    rows: tuple[Row, ...]
    fit: Fit
    record: Record
    seed: int
    about: Mapping[str, str]
    """Machine and date."""

    @property
    def profile(self) -> HardwareProfile:
        return self.fit.profiles[PROFILE]

    @property
    def held_out(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.role == HELD_OUT)

    @property
    def median_error(self) -> float:
        """Of the held-out cells, without sign."""
        return median(abs(row.error) for row in self.held_out)

    @property
    def median_floor(self) -> float:
        """Noise floor of the held-out cells."""
        return median(row.measured.floor for row in self.held_out)

    @property
    def holds(self) -> bool:
        return self.median_error <= TARGET

    @property
    def verdict(self) -> str:
        """One sentence or two, the reason included where the target is missed."""
        errors = [abs(row.error) for row in self.held_out]
        text = (
            f"{len(errors)} held-out cells: median error {self.median_error:.1%}, largest {max(errors):.1%}; "
            f"median noise floor {self.median_floor:.1%}; "
        )
        if self.holds:
            return f"{text}within {TARGET:.0%}"
        worst = max({row.measured.cell.metric for row in self.held_out}, key=self._median_of)
        why = f"the model is farthest off for {worst.value} ({self._median_of(worst):.1%})"
        if self.median_floor > TARGET / 2 or self.record.disturbed:
            why += f", and the machine was not quiet: {self.record.disturbed} measurements are disturbed"
        return f"{text}NOT within {TARGET:.0%}: {why}"

    def _median_of(self, metric: Metric) -> float:
        return median(abs(row.error) for row in self.held_out if row.measured.cell.metric is metric)

    def to_yaml(self) -> str:
        """The fitted profile, as `ytwin predict --card FILE` reads it."""
        numbers = ", ".join(f"{key} {value}" for key, value in self.about.items())
        head = f"# Fitted by `ytwin calibrate --seed {self.seed}`; {numbers}.\n# {self.verdict}.\n"
        return head + dump_profiles([self.profile])

    def to_json(self) -> dict[str, Any]:
        """One document; `rows` with all measurements, so that the fit can be made again."""
        return {
            "about": dict(self.about),
            "seed": self.seed,
            "rows": [
                {
                    "role": row.role,
                    "path": row.measured.cell.path.name,
                    "work": row.measured.cell.path.work,
                    "metric": row.measured.cell.metric.value,
                    "values": list(row.measured.values),
                    "measured": row.measured.median,
                    "noise_floor": row.measured.floor,
                    "predicted": row.predicted,
                    "error": row.error,
                }
                for row in self.rows
            ],
            "numbers": [
                {
                    "number": n.path,
                    "value": n.text(n.value),
                    "interval": [n.text(n.low), n.text(n.high)],
                    "determined": n.determined,
                    "together_with": list(n.together),
                }
                for n in self.fit.numbers
            ],
            "median_error": self.median_error,
            "median_noise_floor": self.median_floor,
            "target": TARGET,
            "holds": self.holds,
            "discarded": self.record.discarded,
            "disturbed": self.record.disturbed,
            "failures": list(self.record.failures),
            "load": self.record.load,
            "verdict": self.verdict,
        }

    def __str__(self) -> str:
        numbers = [
            (
                n.path,
                n.text(n.value),
                f"{n.text(n.low)} to {n.text(n.high)}" if n.determined else "not determined by these cells",
                ", ".join(path.partition(".")[2] for path in n.together),
            )
            for n in self.fit.numbers
        ]
        return "\n\n".join(
            (
                ", ".join(f"{key} {value}" for key, value in self.about.items()),
                format_table(HEADER, [self.cells_of(row) for row in self.rows]),
                format_table(("number", "fitted", "95 %", "only together with"), numbers),
                f"{self.noise}\n{self.verdict}",
            )
        )

    @property
    def noise(self) -> str:
        """How the measuring went."""
        record = self.record
        return (
            f"{sum(len(m.values) for m in record.cells)} measurements, {record.discarded} disturbed ones made again, "
            f"{record.disturbed} disturbed ones kept, {len(record.failures)} failed ones made again; load up to {record.load:g}"
        )

    @staticmethod
    def cells_of(row: Row) -> tuple[str, ...]:
        """A row of the table with HEADER."""
        cell = row.measured.cell
        return (
            row.role,
            cell.metric.value,
            cell.path.name,
            cell.path.work,
            f"{row.measured.median:.4g}",
            f"±{row.measured.floor:.1%}",
            f"{row.predicted:.4g}",
            f"{row.error:+.1%}",
        )


HEADER: Final = ("", "metric", "path", "there and back", "measured", "noise", "predicted", "error")


def calibration(drawn: Draw, record: Record, seed: int, about: Mapping[str, str]) -> Calibration:
    """Fit on the cells that calibrate, predict all."""
    fitting = {*drawn.calibrate}
    source = (
        f"ytwin calibrate, {about.get('date', '')}: {len(drawn.calibrate)} cells of a lab, seed {seed}; {about.get('ovs', '')}, "
        f"Linux {about.get('kernel', '')}, {about.get('processor', '')}"
    )
    fit = calibrate([m for m in record.cells if m.cell in fitting], source)
    rows = tuple(
        Row(CALIBRATES if m.cell in fitting else HELD_OUT, m, predicted(m.cell, fit.profiles[PROFILE]))
        for m in record.cells
    )
    return Calibration(rows, fit, record, seed, about)


def from_json(document: Mapping[str, Any], paths: Sequence[MeasuredPath]) -> Calibration:
    """Fit and predict again, from the measurements of a document that `to_json` wrote."""
    by_name = {path.name: path for path in paths}
    measured, calibrate_on, held_out = list[Measured](), list[Cell](), list[Cell]()
    for row in document["rows"]:
        if row["path"] not in by_name:
            raise YtwinError(f"the topology has no path {row['path']}")
        cell = Cell(by_name[row["path"]], Metric(row["metric"]))
        measured.append(Measured(cell, tuple(row["values"])))
        (calibrate_on if row["role"] == CALIBRATES else held_out).append(cell)
    drawn = Draw(tuple(calibrate_on), tuple(held_out), ())
    record = Record(
        tuple(measured), document["discarded"], document["disturbed"], tuple(document["failures"]), document["load"]
    )
    return calibration(drawn, record, document["seed"], document["about"])
