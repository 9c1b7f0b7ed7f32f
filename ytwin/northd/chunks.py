"""Cutting a long list into pieces that stay the same when something is put in or taken out elsewhere.

With ten thousand load balancers, asking the memo for each costs more than all else that one more of them needs. Asked for in
pieces of about `SIZE`, only the piece with the change is computed again. A piece ends where the hash of a name says so, so an
insertion moves no border but its own. Borders differ between two processes; results do not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

SIZE = 64
"""Mean length of a piece; a power of two."""

T = TypeVar("T")


def chunks(items: Iterable[tuple[str, T]]) -> Iterator[list[T]]:
    """The items of (name, item) in order, cut into lists."""
    piece: list[T] = []
    for name, item in items:
        piece.append(item)
        if hash(name) % SIZE == 0:
            yield piece
            piece = []
    if piece:
        yield piece
