"""What is measured: metrics times paths; which cells calibrate and which are held out is drawn, not chosen. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from deployer.calibrate.paths import CONNECTIONS, MeasuredPath
from ytwin.core.errors import YtwinError

STREAMS: Final = 4
WINDOW_BYTES: Final = 64 * 1024
"""Of all streams together: less than the 208 KiB (Linux's rmem_default, as truesize) after which a switch's socket drops."""


class Metric(StrEnum):
    """What a measurement gives, with its unit."""

    REQUESTS_1 = "requests/s, 1 connection"
    REQUESTS_MANY = f"requests/s, {CONNECTIONS} connections"
    BULK_1 = "Gbit/s, 1 stream"
    BULK_MANY = f"Gbit/s, {STREAMS} streams"

    @property
    def bulk(self) -> bool:
        """Whether it is bulk TCP; else requests and answers of one packet each, one at a time per connection."""
        return self in (Metric.BULK_1, Metric.BULK_MANY)

    @property
    def connections(self) -> int:
        """At the same time."""
        many = STREAMS if self.bulk else CONNECTIONS
        return 1 if self in (Metric.REQUESTS_1, Metric.BULK_1) else many

    @property
    def window_bytes(self) -> int:
        """Of one stream."""
        return WINDOW_BYTES // self.connections


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the table."""

    path: MeasuredPath
    metric: Metric

    @property
    def name(self) -> str:
        return f"{self.path.name}: {self.metric}"


@dataclass(frozen=True, slots=True)
class Draw:
    """Cells that calibrate, cells that are held out, and every measurement in its order."""

    calibrate: tuple[Cell, ...]
    held_out: tuple[Cell, ...]
    order: tuple[Cell, ...]
    """Every cell as often as it is measured, mixed."""


def draw(paths: Sequence[MeasuredPath], cells: int, calibrate_on: int, repeat: int, seed: int) -> Draw:
    """The same arguments give the same draw.

    Stratified by metric, so that every metric is among the drawn and among those that calibrate as often as any other, give or
    take one: a metric that nothing calibrates cannot be predicted. YtwinError: numbers that make no sense.
    """
    metrics = tuple(Metric)
    if not 2 * len(metrics) <= cells:
        raise YtwinError(f"--cells {cells}: at least {2 * len(metrics)}, two of each metric")
    if cells > len(paths) * len(metrics):
        raise YtwinError(
            f"--cells {cells}: there are {len(paths)} different paths with {len(metrics)} metrics each, "
            f"so {len(paths) * len(metrics)} cells"
        )
    if not len(metrics) <= calibrate_on < cells:
        raise YtwinError(
            f"--calibrate-on {calibrate_on}: at least {len(metrics)}, one of each metric, and fewer than {cells}"
        )
    if repeat < 1:
        raise YtwinError(f"--repeat {repeat}: at least 1")
    chance = random.Random(f"ytwin calibrate {seed}")
    first = chance.sample(metrics, len(metrics))
    drawn = {
        m: [Cell(p, m) for p in chance.sample(list(paths), n)]
        for m, n in zip(first, _shares(cells, len(metrics)), strict=True)
    }
    fitted = dict(zip(first, _shares(calibrate_on, len(metrics)), strict=True))
    calibrate = tuple(cell for m in metrics for cell in drawn[m][: fitted[m]])
    held_out = tuple(cell for m in metrics for cell in drawn[m][fitted[m] :])
    order: list[Cell] = []
    for _ in range(repeat):
        order += chance.sample([*calibrate, *held_out], cells)
    return Draw(calibrate, held_out, tuple(order))


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (i < total % parts) for i in range(parts)]
