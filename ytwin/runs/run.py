"""One run: ask what is missing, compute it, record it, ask again, until the answer is whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    unused: int = 0
    """Recorded points that the answer does not ask for: of the study, its inputs or ytwin as they were before."""


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
    before = store.results()
    results = {name: r for name, r in before.items() if r.status is Status.OK or not retry}
    reused, computed = set(results), 0
    try:
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
                computed += len(piece)
                done += len(piece)
                progress(done, len(asking.asked))
    except KeyboardInterrupt:
        workers.close()
        raise Interrupted(len(results)) from None
    store.compact()
    asked = {name: results[name] for name in asking.asked}
    return Outcome(found, asked, computed, len(reused & set(asked)), unused=len(set(before) - set(asked)))


def recorded(job: Job, store: Store, uncertain_of: UncertainOf) -> Outcome:
    """What is known without computing anything."""
    results = store.results()
    asking = Asking(job.study, job.base, results)
    found = answer(asking, uncertain_of)
    asked = {name: results[name] for name in asking.asked if name in results}
    return Outcome(found, asked, 0, len(asked), len(asking.missing), len(results) - len(asked))
