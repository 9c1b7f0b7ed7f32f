"""A page: the answer first, then sections of texts, tables and figures, and what made it (command, seed)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

_UNIT = re.compile(r"(?<=\d) (?=(?:%|[num]?s|[kMG]?pps|[kMG]bit/s|k?B|cores|times)(?![\w/]))")


class Style(StrEnum):
    """How a table's cell or the answer looks. Never colour alone: the text says it too."""

    PLAIN = ""
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    DIM = "dim"


_SHORT = 28
"""Characters of a text column that stays on one line."""


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    style: Style = Style.PLAIN


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts. Numbers (columns in `numeric`) stand at the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    styles: Mapping[tuple[int, int], Style] | None = None
    """(row, column) -> style."""
    numeric: frozenset[int] = frozenset()
    caption: str = ""

    def style(self, row: int, column: int) -> str:
        """CSS classes of a cell."""
        style = (self.styles or {}).get((row, column), Style.PLAIN)
        return " ".join(filter(None, (style.value, "number" if column in self.numeric else self._width(column))))

    def _width(self, column: int) -> str:
        """Short texts stay on one line, long ones get room: a narrow screen scrolls, and breaks no words off."""
        longest = max((len(str(row[column])) for row in self.rows), default=0)
        return "short" if longest <= _SHORT else "long"


@dataclass(frozen=True, slots=True)
class Figure:
    """A plotly figure (`{"data": [...], "layout": {...}}`, see `report.plots`). `alt` says in words what it shows."""

    plot: Mapping[str, Any]
    title: str
    alt: str
    height_px: int = 320
    wide: bool = False
    """Takes the page's whole width; others stand side by side where there is room."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG, put into the page as it is, so its maker escapes what it says. It may use the page's colours (`var(--ink)`).

    Wider than the page it scrolls, so that its text keeps its size.
    """

    svg: str
    title: str
    alt: str


@dataclass(frozen=True, slots=True)
class Code:
    """Text as it stands in a file."""

    text: str
    title: str = ""


Block = Text | Table | Figure | Drawing | Code


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    blocks: Sequence[Block]
    intro: str = ""
    anchor: str = ""

    @property
    def id(self) -> str:
        """For links."""
        return self.anchor or "".join(c if c.isalnum() else "-" for c in self.title.lower())


@dataclass(frozen=True, slots=True)
class Page:
    """One report."""

    title: str
    answer: str
    """The result in a sentence or two: read first, and often alone."""
    answer_style: Style
    sections: Sequence[Section]
    command: str
    """That makes this page again."""
    seed: int | None = None
    figures_of_merit: Sequence[tuple[str, str]] = ()
    """(number, what it is), shown large below the answer."""

    def html(self) -> str:
        """The whole file. Figures need its script (inlined); every number of theirs should stand in a table too."""
        figures = [block for section in self.sections for block in section.blocks if isinstance(block, Figure)]
        return _template().render(
            page=self,
            figures=json.dumps([dict(figure.plot) for figure in figures], ensure_ascii=False).replace("<", "\\u003c"),
            script=_plotly() if figures else "",
            is_text=lambda block: isinstance(block, Text),
            is_table=lambda block: isinstance(block, Table),
            is_drawing=lambda block: isinstance(block, Drawing),
            is_code=lambda block: isinstance(block, Code),
        )


@cache
def _template() -> Template:
    source = files("ytwin.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["held"] = held
    return environment.from_string(source)


def held(text: str) -> str:
    """The text with numbers held to their units, so that no line ends between them."""
    return _UNIT.sub("\u00a0", text)


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - five megabytes that only a page with figures needs

    return str(get_plotlyjs()).replace("</script", "<\\/script")
