"""A run's folder: Parquet files of results, each written whole or not at all, and what the run was made from."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from frozendict import frozendict

from ytwin.core.errors import YtwinError
from ytwin.study.points import Result, Status, digest

SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("settings", pa.string()),
        ("replication", pa.int32()),
        ("status", pa.string()),
        ("metrics", pa.map_(pa.string(), pa.float64())),
        ("texts", pa.map_(pa.string(), pa.string())),
        ("error", pa.string()),
        ("seconds", pa.float64()),
    ]
)
"""Of a file of results. `settings` is a JSON object: path -> value."""

RUN_FILE, POINTS, LOCK = "run.json", "points", ".lock"
MANY_FILES: Final = 32
"""More files of results than this are put together when a run ends."""


class Store:
    """One folder. Used by one run at a time (`locked`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.points = folder / POINTS

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and keep other runs out of it until the end, however it comes."""
        try:
            self.points.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / LOCK).open("w")
        except OSError as error:
            raise YtwinError(f"{self.folder}: {error.strerror or error}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise YtwinError(
                    f"{self.folder}: another run writes here; wait for it, or give another --out"
                ) from None
            for left in self.points.glob("*.tmp"):
                left.unlink()  # of a run that was killed while it wrote
            yield

    def used(self) -> bool:
        """Whether results, or the description of a run, are here already."""
        return (self.folder / RUN_FILE).exists() or any(self.points.glob("*.parquet"))

    def results(self) -> dict[str, Result]:
        """Everything recorded, by id."""
        found: dict[str, Result] = {}
        for file in sorted(self.points.glob("*.parquet")):
            try:
                table = pq.read_table(file, schema=SCHEMA)
            except (OSError, pa.ArrowException) as error:
                raise YtwinError(
                    f"{file}: not readable as results: {error}; delete it to compute them again"
                ) from error
            for row in table.to_pylist():
                result = _result(row)
                known = found.get(result.id)
                if known is None or known.status is not Status.OK:  # one that failed may have been tried again
                    found[result.id] = result
        return found

    def add(self, results: Iterable[Result]) -> None:
        """Record results. When this returns they are on the disk; a kill before leaves no trace of them."""
        rows = list(results)
        if rows:
            self._write(_name(rows), rows)

    def compact(self) -> None:
        """Put many files into one. A kill in between leaves some results twice, which does no harm."""
        files = sorted(self.points.glob("*.parquet"))
        if len(files) > MANY_FILES:
            rows = sorted(self.results().values(), key=lambda r: r.id)
            whole = self._write(f"all-{_name(rows)}", rows)
            for file in files:
                if file != whole:
                    file.unlink()

    def _write(self, name: str, rows: list[Result]) -> Path:
        table = pa.Table.from_pylist([_row(r) for r in rows], schema=SCHEMA)
        file = self.points / f"{name}.parquet"
        temporary = file.with_suffix(".tmp")
        try:
            with temporary.open("wb") as sink:
                pq.write_table(table, sink, compression="zstd")
                sink.flush()
                os.fsync(sink.fileno())
            temporary.replace(file)
        except OSError as error:
            raise YtwinError(f"{file}: {error.strerror or error}") from error
        return file

    def describe(self, about: Mapping[str, Any]) -> None:
        """Keep what the run was made from: study, inputs, command, seed."""
        self.write(RUN_FILE, json.dumps(about, indent=2, ensure_ascii=False) + "\n")

    def described(self) -> bool:
        """Whether there is a description."""
        return (self.folder / RUN_FILE).exists()

    def description(self) -> dict[str, Any]:
        """What `describe` kept."""
        file = self.folder / RUN_FILE
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise YtwinError(
                f"{self.folder} is no folder of a study's run: {error}; `ytwin study run` makes one"
            ) from error
        if not isinstance(about, dict):
            raise YtwinError(f"{file} describes no run of a study: it is no JSON object; `ytwin study run` writes it")
        return about

    def write(self, name: str, content: str | bytes) -> Path:
        """A file of the folder, whole or not at all."""
        file = self.folder / name
        temporary = file.with_name(f"{name}.tmp")
        try:
            if isinstance(content, bytes):
                temporary.write_bytes(content)
            else:
                temporary.write_text(content, encoding="utf-8")
            temporary.replace(file)
        except OSError as error:
            raise YtwinError(f"{file}: {error.strerror or error}") from error
        return file


def _name(rows: list[Result]) -> str:
    """Of a file: by what is in it, so that no two files of different results have one name."""
    return digest([[r.id, r.status.value] for r in rows])[:24]


def _row(result: Result) -> dict[str, Any]:
    return {
        "id": result.id,
        "settings": json.dumps(dict(result.settings), ensure_ascii=False),
        "replication": result.replication,
        "status": result.status.value,
        "metrics": list(result.metrics.items()),
        "texts": list(result.texts.items()),
        "error": result.error,
        "seconds": result.seconds,
    }


def _result(row: Mapping[str, Any]) -> Result:
    return Result(
        row["id"],
        tuple(sorted(json.loads(row["settings"]).items())),
        row["replication"],
        Status(row["status"]),
        frozendict(row["metrics"]),
        frozendict(row["texts"]),
        row["error"],
        row["seconds"],
    )
