"""How answers reach the terminal: plain text that can be piped and compared, colour and progress only where a person looks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ytwin.core.errors import InvalidInput, Problem, YtwinError
from ytwin.core.tables import format_table
from ytwin.verify.matrix import Progress as ProgressCallback

GOOD, BAD, NEUTRAL = "green", "bold red", ""


_decided = [0]


def decided(code: int | None = None) -> int:
    """The exit code that holds even if nobody reads the answer to its end; given one, note it."""
    if code is not None:
        _decided[0] = code
    return _decided[0]


def stdout() -> Console:
    """The terminal, with its width."""
    return Console(highlight=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """One JSON document, keys in their documented order."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]], styles: Sequence[str] = ()) -> None:
    """A table without frame, header in capitals as kubectl has it; `styles` one per row."""
    console = stdout()
    if not console.is_terminal:
        # Not through rich: on a closed pipe it would end the program with 1, which says that a check fails.
        print_text(format_table(header, rows))
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in header:
        table.add_column(name.upper(), overflow="fold")
    for index, row in enumerate(rows):
        style = styles[index] if index < len(styles) else NEUTRAL
        table.add_row(*(Text(str(cell), style=style) for cell in row))
    console.print(table)


def print_text(text: str) -> None:
    """Text as it is, with one newline at its end."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def problem_to_json(problem: Problem) -> dict[str, Any]:
    """The documented JSON form of a Problem."""
    where = problem.where
    return {
        "file": where.file,
        "line": where.line,
        "path": where.path,
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
    }


def print_error(error: YtwinError, as_json: bool) -> None:
    """What is wrong, where, and what to do: on stderr, or as a JSON document on stdout."""
    problems = error.problems if isinstance(error, InvalidInput) else ()
    if as_json:
        print_json(
            {
                "error": str(error) if not problems else "invalid input",
                "problems": [problem_to_json(p) for p in problems],
            }
        )
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not problems:
        console.print(Text(f"error: {error}", style=BAD))
        return
    for problem in problems:
        console.print(
            Text(f"{problem.where}: ", style="bold") + Text(problem.message) + Text(f" [{problem.code}]", style="dim")
        )
        if problem.hint:
            console.print(Text(f"    {problem.hint}", style="cyan"))
    plural = "" if len(problems) == 1 else "s"
    console.print(Text(f"{len(problems)} problem{plural}", style=BAD))


@contextmanager
def progress(title: str) -> Iterator[ProgressCallback]:
    """A bar on stderr while a person watches; silent in a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
