"""The error tree.

`YtwinError` is what a user may meet: the command line prints it without a traceback. Everything else that is raised is a
programming error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in an input: file name as given by the user, line (1-based, 0 unknown), field path (`spec.ports[0].port`)."""

    file: str = ""
    line: int = 0
    path: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}" if self.path and place else place or self.path


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with an input: where, what, and what to do about it."""

    where: Location
    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message} [{self.code}]" + (f"\n    {self.hint}" if self.hint else "")


class YtwinError(Exception):
    """Root of all errors that a user can cause or must know about."""


class InvalidInput(YtwinError):
    """The input cannot be used; carries every problem found, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(p) for p in self.problems))


class Unsupported(YtwinError):
    """The input is legal but asks for something that the twin does not model; names the thing and the place."""


class StalePlan(YtwinError):
    """A plan was made against another state than the one it is applied to."""
