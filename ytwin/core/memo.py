"""Remembering results of pure functions between two runs, so that a small change costs little.

A Memo is an argument, never ambient: a function that takes one gives the same result with or without it. Arguments are
compared by identity, which is right for frozen values and costs nothing for large ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Memo:
    """Keeps what the last two generations used; `advance()` starts a generation and forgets what the one before left unused."""

    def __init__(self) -> None:
        self._previous: dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]] = {}
        self._current: dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]] = {}

    def advance(self) -> None:
        self._previous, self._current = self._current, {}

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """`function(*args)`, or what it returned when it was last called with these very objects."""
        key = (function, *map(id, args))
        entry = self._current.get(key) or self._previous.get(key)
        if entry is None:
            entry = (args, function(*args))
        self._current[key] = entry
        result: T = entry[1]
        return result
