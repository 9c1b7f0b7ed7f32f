"""Decode mutated documents one by one, under a clock."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from types import FrameType

from experiments.fuzz.mutate import mutated
from ytwin.core.errors import InvalidInput
from ytwin.resources.codec import decode, dump

LIMIT_S = 2.0


class Hang(Exception):
    """A document took longer than LIMIT_S."""


@dataclass(frozen=True)
class Outcome:
    """What became of one document: valid, refused, traceback or hang."""

    index: int
    verdict: str
    detail: str = ""


def document(seed: int, index: int) -> str:
    """The text of document `index` of a seed: the same in every run."""
    return mutated(Random(f"{seed}:{index}"))


def outcome(seed: int, index: int) -> Outcome:
    """Decode one document. What is valid must also survive being written and read again."""
    try:
        text = document(seed, index)
        with _clock():
            snapshot = decode({"mutated.yaml": text})
            written = dump(snapshot.objects.values())
            again = decode({"again.yaml": written})
        # A NaN in a field that is only kept equals nothing, itself included; as text it is what it was.
        if again.objects != snapshot.objects and dump(again.objects.values()) != written:
            return Outcome(index, "traceback", "what was dumped reads as something else")
    except InvalidInput as error:
        for problem in error.problems:
            if not (problem.where.file and problem.code and problem.message and problem.hint):
                return Outcome(index, "traceback", f"a problem without a place or a remedy: {problem!r}")
        return Outcome(index, "refused", error.problems[0].code)
    except Hang:
        return Outcome(index, "hang", f"over {LIMIT_S} s")
    except Exception:
        return Outcome(index, "traceback", traceback.format_exc())
    return Outcome(index, "valid")


@contextmanager
def _clock() -> Iterator[None]:
    """Raises Hang in the main thread when LIMIT_S of computing are used up; waiting for a busy machine does not count."""
    started = time.process_time()

    def ring(_signal: int, _frame: FrameType | None) -> None:
        if time.process_time() - started >= LIMIT_S:
            raise Hang

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
