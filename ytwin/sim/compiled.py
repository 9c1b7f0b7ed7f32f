"""The one place that knows how functions are compiled, and small compiled pieces that several modules share.

Compiled code is kept beside the source (or where NUMBA_CACHE_DIR or numba's habits say), so that only the first run pays for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

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


COMPILED: Final = ("compiled.py", "loop.py", "passes.py", "tables.py")
"""Every module with compiled functions."""


def _cache_folder() -> str:
    """A folder per state of those modules.

    numba looks only at the time stamp of a function's own file, so it would go on with old copies of functions put in
    from the others.
    """
    room = Path(__file__).parent
    digest = hashlib.sha256(b"".join((room / name).read_bytes() for name in COMPILED)).hexdigest()[:16]
    return str(Path(_GIVEN_FOLDER or room / "__pycache__") / f"numba-{digest}")


numba_config: Any = numba.config  # its names come from the environment, so types do not know them
_GIVEN_FOLDER: Final[str] = numba_config.CACHE_DIR  # what NUMBA_CACHE_DIR says
_FOLDER: Final = _cache_folder()


def _compiled(function: Function, inline: bool) -> Function:
    numba_config.CACHE_DIR = _FOLDER  # numba looks here when it decorates; other users of numba keep theirs
    try:
        return cast(Function, numba.njit(cache=True, nogil=True, forceinline=inline)(function))
    except RuntimeError:  # no folder on this machine can be written: compile anew in every run
        return cast(Function, numba.njit(nogil=True, forceinline=inline)(function))
    finally:
        numba_config.CACHE_DIR = _GIVEN_FOLDER


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
