"""Where points are computed: in this process, in processes of this machine (joblib, loky), or on an existing Dask cluster.

All do the same with the same points and give results as they come, in any order. What a point says about itself is its own: an
exception becomes a result that failed.
"""

from __future__ import annotations

import hashlib
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Protocol

from frozendict import frozendict

import ytwin
from ytwin.core.errors import YtwinError
from ytwin.study.evaluate import Job, Memory, evaluate
from ytwin.study.points import Point, Result, Status

Measure = Callable[[Job, Point, Memory], tuple[Mapping[str, float], Mapping[str, str]]]
"""Computes one point: metrics and texts. `evaluate` by default."""

CHUNK_S = 0.5
"""Points are handed out in pieces that take about so long, so that neither the hand-over nor a kill costs much."""
LARGEST_CHUNK = 200
PATIENCE_S = 2.0
"""How long points that are under way may take to end when a run is stopped."""

_memories: dict[str, Memory] = {}
"""Of this process: what points of one job share (a compiled topology) is made once."""


def compute(job: Job, points: Sequence[Point], measure: Measure = evaluate) -> tuple[Result, ...]:
    """Compute points in this process; this is what a worker runs. An error of one is its result."""
    memory = _memories.get(job.id)
    if memory is None:
        _memories.clear()  # a worker does one job at a time
        memory = _memories[job.id] = Memory()
    return tuple(_one(job, point, memory, measure) for point in points)


def _one(job: Job, point: Point, memory: Memory, measure: Measure) -> Result:
    begin = time.perf_counter()
    told = (point.id, point.settings, point.replication)
    try:
        metrics, texts = measure(job, point, memory)
    except Exception as error:  # whatever goes wrong with one point is its result and must not stop the others
        kind = "" if isinstance(error, YtwinError) else f"{type(error).__name__}: "
        return Result(*told, Status.FAILED, error=f"{kind}{error}", seconds=time.perf_counter() - begin)
    return Result(*told, Status.OK, frozendict(metrics), frozendict(texts), seconds=time.perf_counter() - begin)


def _leave_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal; the one that started a worker ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Workers(Protocol):
    """Computes points somewhere."""

    def compute(self, job: Job, points: Sequence[Point]) -> Iterator[tuple[Result, ...]]:
        """Results in pieces, as they come. Closing the iterator gives up what is under way."""
        ...

    def close(self) -> None:
        """End what was started for it."""
        ...


@dataclass
class _Chunks:
    """Cuts points into pieces by the time that those before took."""

    points: Sequence[Point]
    workers: int
    at: int = 0
    size: int = 1

    def next(self) -> Sequence[Point]:
        """() at the end."""
        rest = len(self.points) - self.at
        fair = max(1, rest // self.workers)
        piece = self.points[self.at : self.at + min(self.size, fair)]
        self.at += len(piece)
        return piece

    def learn(self, results: Sequence[Result]) -> None:
        """From what came back."""
        each = sum(r.seconds for r in results) / max(1, len(results))
        self.size = max(1, min(LARGEST_CHUNK, int(CHUNK_S / max(each, 1e-6))))


@dataclass
class LocalWorkers:
    """`jobs` processes; one: this process itself."""

    jobs: int
    measure: Measure = evaluate
    _executor: Any = field(default=None, init=False)
    _running: dict[Future[tuple[Result, ...]], Sequence[Point]] = field(default_factory=dict, init=False)

    def compute(self, job: Job, points: Sequence[Point]) -> Iterator[tuple[Result, ...]]:
        """See `Workers`."""
        chunks = _Chunks(points, self.jobs)
        if self.jobs == 1:
            while piece := chunks.next():
                results = compute(job, piece, self.measure)
                chunks.learn(results)
                yield results
            return
        yield from self._parallel(job, chunks)

    def _parallel(self, job: Job, chunks: _Chunks) -> Iterator[tuple[Result, ...]]:
        running = self._running
        lost: list[Point] = []
        more = True
        while more or running:
            while more and len(running) < 2 * self.jobs:
                if piece := chunks.next():
                    running[self._submit(job, piece, self.jobs)] = piece
                else:
                    more = False
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                piece = running.pop(future)
                try:
                    results = future.result()
                except BrokenExecutor:
                    lost += piece
                    continue
                chunks.learn(results)
                yield results
            if lost:
                # A process died, and with it all that was under way. One by one shows which point does it.
                for future, piece in running.items():
                    future.cancel()
                    lost += piece
                running.clear()
                self.close()
                for point in lost:
                    yield self._alone(job, point)
                lost.clear()

    def _submit(self, job: Job, piece: Sequence[Point], jobs: int) -> Future[tuple[Result, ...]]:
        # Loaded here: a run in one process, and `ytwin --help`, do without.
        loky = import_module("joblib.externals.loky")
        # loky starts a worker anew that has grown, and says so; what it computed by then is not lost.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        self._executor = loky.get_reusable_executor(max_workers=jobs, timeout=60, initializer=_leave_interrupts)
        future: Future[tuple[Result, ...]] = self._executor.submit(compute, job, piece, self.measure)
        return future

    def _alone(self, job: Job, point: Point) -> tuple[Result, ...]:
        try:
            return self._submit(job, (point,), self.jobs).result()
        except BrokenExecutor:
            self.close()
            error = "the process that computed it was killed; it may need more memory than there is"
            return (Result(point.id, point.settings, point.replication, Status.FAILED, error=error),)

    def close(self) -> None:
        """See `Workers`. What is under way may end within a moment; then its process is killed."""
        if self._executor is None:
            return
        under_way = [future for future in self._running if not future.cancel()]
        busy = bool(wait(under_way, timeout=PATIENCE_S).not_done)
        self._running.clear()
        hook = threading.excepthook
        # loky's thread may be handing out work while its processes are killed, and says so in a traceback that means nothing.
        threading.excepthook = lambda _: None
        try:
            self._executor.shutdown(wait=True, kill_workers=busy)
        finally:
            threading.excepthook = hook
        self._executor = None


@dataclass
class DaskWorkers:
    """The workers of an existing cluster, at the address of its scheduler; they need the same ytwin."""

    address: str
    measure: Measure = evaluate
    _client: Any = field(default=None, init=False)

    def compute(self, job: Job, points: Sequence[Point]) -> Iterator[tuple[Result, ...]]:
        """See `Workers`."""
        client = self._connected()
        waiting = import_module("distributed").as_completed()
        shared = client.scatter(job, broadcast=True)
        chunks = _Chunks(points, max(1, sum(client.nthreads().values())))

        def submit() -> bool:
            piece = chunks.next()
            if piece:
                waiting.add(client.submit(compute, shared, list(piece), self.measure, pure=False))
            return bool(piece)

        for _ in range(2 * chunks.workers):
            submit()
        for future in waiting:
            results = future.result()
            chunks.learn(results)
            future.release()
            submit()
            yield results

    def _connected(self) -> Any:
        if self._client is None:
            try:
                distributed = import_module("distributed")
            except ImportError as error:
                raise YtwinError("--cluster needs Dask: pip install 'ytwin[cluster]'") from error
            try:
                self._client = distributed.Client(self.address, timeout="10s")
            except (OSError, ValueError) as error:
                raise YtwinError(f"--cluster {self.address}: no Dask scheduler answers ({error})") from error
            self._check_versions()
        return self._client

    def _check_versions(self) -> None:
        found = self._client.run(version)
        if not found:
            raise YtwinError(f"--cluster {self.address}: the cluster has no workers")
        other = {worker: v for worker, v in found.items() if v != version()}
        if other:
            listed = ", ".join(f"{worker} has {v}" for worker, v in other.items())
            raise YtwinError(f"--cluster {self.address}: here is ytwin {version()}, but {listed}: install the same")

    def close(self) -> None:
        """See `Workers`."""
        if self._client is not None:
            self._client.close()
            self._client = None


def cores() -> int:
    """That this process may use."""
    count: int = import_module("joblib").cpu_count()
    return count


@cache
def version() -> str:
    """Of the ytwin that runs here: its number, and a digest of its code and profiles. Another twin may compute other numbers."""
    package = Path(ytwin.__file__).parent
    content = hashlib.sha256()
    for file in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".yaml")):
        content.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes() + b"\0")
    return f"{installed('ytwin')}+{content.hexdigest()[:12]}"
