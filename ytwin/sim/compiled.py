"""The one place that knows how functions are compiled, and small compiled pieces that several modules share.

Compiled code is kept beside the source (or in the user's cache folder), so that only the first run pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Compile a function of numbers and arrays; its Python types stay what they say."""
    return _compiled(function, inline=False)


def jit_part(function: Function) -> Function:
    """The same for a part of a hot loop. It is put into its callers: a call would count references of every array handed over."""
    return _compiled(function, inline=True)


def _compiled(function: Function, inline: bool) -> Function:
    try:
        return cast(Function, numba.njit(cache=True, nogil=True, forceinline=inline)(function))
    except RuntimeError:  # no folder on this machine can be written: compile anew in every run
        return cast(Function, numba.njit(nogil=True, forceinline=inline)(function))


@jit
def renew(slots: Integers, current: Integers, used: Integers, following: Integers, jobs: int) -> None:
    """Replace slots by their current connection; a connection ends after so many jobs and a new one takes its slot."""
    for i in range(len(slots)):
        slot = slots[i]
        if used[slot] == jobs:
            used[slot] = 0
            current[slot] = following[0]
            following[0] += 1
        used[slot] += 1
        slots[i] = current[slot]


@jit_part
def push(times: Integers, keys: Integers, size: int, time: int, key: int) -> int:
    """Add to a binary heap ordered by (time, key); the new size."""
    at = size
    while at > 0:
        up = (at - 1) >> 1
        if times[up] < time or (times[up] == time and keys[up] < key):
            break
        times[at] = times[up]
        keys[at] = keys[up]
        at = up
    times[at] = time
    keys[at] = key
    return size + 1


@jit_part
def drop_first(times: Integers, keys: Integers, size: int) -> int:
    """Remove the smallest of a heap (read it at index 0 before); the new size."""
    size -= 1
    time, key = times[size], keys[size]
    at = 0
    while True:
        down = 2 * at + 1
        if down >= size:
            break
        right = down + 1
        if right < size and (times[right] < times[down] or (times[right] == times[down] and keys[right] < keys[down])):
            down = right
        if time < times[down] or (time == times[down] and key < keys[down]):
            break
        times[at] = times[down]
        keys[at] = keys[down]
        at = down
    times[at] = time
    keys[at] = key
    return size


@jit_part
def replace_first(values: Integers, value: int) -> None:
    """Put a value in the place of the smallest of a heap of single values."""
    size = len(values)
    at = 0
    while True:
        down = 2 * at + 1
        if down >= size:
            break
        if down + 1 < size and values[down + 1] < values[down]:
            down += 1
        if value <= values[down]:
            break
        values[at] = values[down]
        at = down
    values[at] = value
