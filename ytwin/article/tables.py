"""The article's cells as data: what was measured, how the twin predicts it, and which cells one may calibrate on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from ytwin.core.units import quantity, time_ps
from ytwin.performance.types import Metric


class Mode(StrEnum):
    """Of both cards."""

    OFFLOAD = "offload"
    SOFTWARE = "software"


class Role(StrEnum):
    """What agreement with a cell is worth."""

    PREDICTED = "predicted"
    CALIBRATED = "calibrated"
    """One number of the profile was fitted to it."""
    FITTED = "fitted"
    """Likewise, and nothing else rests on that number: agreement says nothing."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LoadText(_Strict):
    """A load of the tables; `why` says what the article leaves open."""

    load: str
    """As `performance.loads.parse_load` reads it."""
    why: str
    simulated: str = ""
    """For how long; "": as long as the engine finds right."""

    @property
    def duration_ps(self) -> int | None:
        """Of a simulation."""
        return time_ps(self.simulated, "loads.simulated") if self.simulated else None


class ClientText(_Strict):
    host: str = Field(alias="from")
    """Of the testbed; "" for the baseline, which passes no OVN."""
    text: str


class TableText(_Strict):
    name: str
    section: str
    title: str
    unit: str
    metric: Metric
    load: str
    better: Literal["higher", "lower"]
    cells: dict[str, dict[Mode, float]]


class Calibration(_Strict):
    """One cell, one number."""

    cell: str
    number: str
    """Of the profile, e.g. "eswitch.pass_time"."""
    siblings: tuple[str, ...] = ()
    """Cells that would have done as well."""


class Assumption(_Strict):
    """What no cell was fitted to and cells hang on (a number of the profile, or a load that the article does not state), and
    something else that it might be as well."""

    number: str = ""
    like: str = ""
    """Another number: were it the same."""
    load: str = ""
    """Name of a load, where no number is meant."""
    instead: str = ""
    """Another value of the number, or another load."""
    decides: tuple[str, ...] = ()
    """Numbers that calibration then fits otherwise."""
    cells: tuple[str, ...] = ()
    """Cells that would then be other ones."""


class _ArticleText(_Strict):
    title: str
    section: str
    date: str


class _TargetText(_Strict):
    each: str
    median: str


class _Tables(_Strict):
    article: _ArticleText
    noise: str
    target: _TargetText
    modes: dict[Mode, str]
    clients: dict[str, ClientText]
    loads: dict[str, LoadText]
    tables: tuple[TableText, ...]
    calibrate: tuple[Calibration, ...]
    fit: tuple[Calibration, ...]
    repeats: dict[str, str]
    assumptions: tuple[Assumption, ...]
    stated: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the article."""

    table: str
    row: str
    mode: Mode
    value: float
    unit: str
    metric: Metric
    load: str
    load_text: str
    """As `performance.loads.parse_load` reads it."""
    client: str
    """Name of a host of the testbed, "" for the baseline."""
    role: Role
    number: str
    """The profile's number that it calibrates, "" if it is predicted."""
    repeats: str
    """The cell whose measurement this one repeats, "" for all that need the twin."""
    stated: float | None
    """Error (ratio) that the twin is known to have here; more of it is a change that somebody must look at."""

    @property
    def name(self) -> str:
        """`table.row.mode`."""
        return f"{self.table}.{self.row}.{self.mode.value}"


@dataclass(frozen=True)
class Tables:
    """Section 3.2."""

    title: str
    section: str
    date: str
    noise: float
    """Ratio by which the article's own repeated measurement differs."""
    target_each: float
    target_median: float
    modes: Mapping[Mode, str]
    clients: Mapping[str, ClientText]
    loads: Mapping[str, LoadText]
    tables: tuple[TableText, ...]
    cells: Mapping[str, Cell]
    """By name, in the article's order."""
    calibrate: tuple[Calibration, ...]
    fit: tuple[Calibration, ...]
    assumptions: tuple[Assumption, ...]

    def of(self, table: str) -> tuple[Cell, ...]:
        """The cells of one table."""
        return tuple(cell for cell in self.cells.values() if cell.table == table)


def shipped_text(name: str) -> str:
    """A data file of this room."""
    return files("ytwin.article").joinpath(name).read_text(encoding="utf-8")


@cache
def article_tables() -> Tables:
    """The shipped tables.yaml."""
    return read_tables(shipped_text("tables.yaml"))


def read_tables(text: str) -> Tables:
    """Tables from their YAML text. A protocol that names an unknown cell, or a cell or number twice, is a ValueError:
    the file is a part of the program."""
    said = _Tables.model_validate(yaml.safe_load(text))
    roles = {c.cell: (Role.CALIBRATED, c.number) for c in said.calibrate}
    roles |= {c.cell: (Role.FITTED, c.number) for c in said.fit}
    if len(roles) != len(said.calibrate) + len(said.fit) or len({n for _, n in roles.values()}) != len(roles):
        raise ValueError("a cell or a number is calibrated twice")
    cells = {}
    for table in said.tables:
        for row, values in table.cells.items():
            for mode, value in values.items():
                name = f"{table.name}.{row}.{mode.value}"
                role, number = roles.get(name, (Role.PREDICTED, ""))
                stated = said.stated.get(name)
                cells[name] = Cell(
                    table.name,
                    row,
                    mode,
                    value,
                    table.unit,
                    table.metric,
                    table.load,
                    said.loads[table.load].load,
                    said.clients[row].host,
                    role,
                    number,
                    said.repeats.get(name, ""),
                    quantity(stated, "ratio", f"stated.{name}") if stated is not None else None,
                )
    named = {*roles, *said.repeats, *said.repeats.values(), *said.stated}
    named |= {s for c in said.calibrate for s in c.siblings} | {c for a in said.assumptions for c in a.cells}
    if unknown := sorted(named - set(cells)):
        raise ValueError(f"no such cells: {', '.join(unknown)}")
    for assumed in said.assumptions:
        if bool(assumed.number) == bool(assumed.load) or bool(assumed.like) == bool(assumed.instead):
            raise ValueError(
                f"an assumption is of a number or a load, like another number or another value instead: {assumed}"
            )
        if unknown := sorted({*assumed.decides} - {number for _, number in roles.values()}):
            raise ValueError(f"no cell decides {', '.join(unknown)}")
        if assumed.load and assumed.load not in said.loads:
            raise ValueError(f"no load {assumed.load}")
    return Tables(
        said.article.title,
        said.article.section,
        said.article.date,
        quantity(said.noise, "ratio", "noise"),
        quantity(said.target.each, "ratio", "target.each"),
        quantity(said.target.median, "ratio", "target.median"),
        said.modes,
        said.clients,
        said.loads,
        said.tables,
        cells,
        said.calibrate,
        said.fit,
        said.assumptions,
    )
