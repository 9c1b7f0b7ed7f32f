"""One run: ask what is missing, compute it, record it, ask again, until the answer is whole."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from ytwin.runs.store import Store
from ytwin.runs.workers import Workers
from ytwin.study.evaluate import Job
from ytwin.study.goals import Answer, UncertainOf, answer
from ytwin.study.points import Asking, Result, Status

Progress = Callable[[int, int], None]
"""Called with (points done, points known so far); a search finds more on its way."""


@dataclass(frozen=True)
class Outcome:
    """A finished run."""

    answer: Answer
    results: dict[str, Result]
    """Of the points that the answer asked for, in the order of asking."""
    computed: int
    """In this run."""
    reused: int
    """Recorded before it."""
    missing: int = 0
    """Points that a whole answer needs as well, as far as they are known."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; what had come by then is recorded."""

    def __init__(self, recorded: int) -> None:
        super().__init__(f"{recorded} points are recorded")
        self.recorded = recorded


def run(
    job: Job,
    store: Store,
    workers: Workers,
    uncertain_of: UncertainOf,
    progress: Progress = lambda _done, _known: None,
    retry: bool = False,
) -> Outcome:
    """Compute what is missing, record each result as it comes. The store must be `locked`. `retry`: also what failed before."""
    results = {name: r for name, r in store.results().items() if r.status is Status.OK or not retry}
    reused = frozenset(results)
    try:
        with _ctrl_c() as check:
            while True:
                asking = Asking(job.study, job.base, results)
                found = answer(asking, uncertain_of)
                done = len(asking.asked) - len(asking.missing)
                progress(done, len(asking.asked))
                if not asking.missing:
                    break
                for piece in workers.compute(job, tuple(asking.missing.values())):
                    store.add(piece)
                    results.update((r.id, r) for r in piece)
                    done += len(piece)
                    progress(done, len(asking.asked))
                    check()
    except KeyboardInterrupt:
        workers.close()
        raise Interrupted(len(results)) from None
    store.compact()
    asked = {name: results[name] for name in asking.asked}
    return Outcome(found, asked, len(results.keys() - reused), len(reused & set(asked)))


@contextmanager
def _ctrl_c() -> Iterator[Callable[[], None]]:
    """Yields a check that raises what ctrl-C raised and a library lost: in a destructor or a callback Python drops exceptions."""
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.default_int_handler(number, frame)

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours:
        yield check
        return
    hook = sys.unraisablehook

    def tell(lost: sys.UnraisableHookArgs) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            hook(lost)

    signal.signal(signal.SIGINT, press)
    sys.unraisablehook = tell
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook


def recorded(job: Job, store: Store, uncertain_of: UncertainOf) -> Outcome:
    """What is known without computing anything."""
    results = store.results()
    asking = Asking(job.study, job.base, results)
    found = answer(asking, uncertain_of)
    asked = {name: results[name] for name in asking.asked if name in results}
    return Outcome(found, asked, 0, len(asked), len(asking.missing))
