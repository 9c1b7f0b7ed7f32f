"""What the performance model says of a cell, and the profile numbers that explain those that calibrate. Pure.

Nothing here is about one cell: work and latency are `performance.path_cost` of the path's datapath programs on one profile, for
every switch and host alike. What is special to a lab is that all of it shares one core:

- requests, 1 connection: 1 / (latency there + latency back): every switch wakes up for every packet;
- requests, N connections: 1 / (all work of a request on all switches and both hosts), as the core does one thing at a time; a
  wake-up serves the packets that are in flight;
- bulk: 1 / (all work of a full segment, and the switches' work of half an acknowledgement: RFC 5681 has one for every second
  segment; what hosts do for one is part of host.segment_rate) and, once per window of a stream, a turn of the application at each
  end, which is the work of a small packet; times the payload of a segment. A wake-up serves what is in flight, but at most
  NETDEV_MAX_BURST packets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import median
from typing import Final

from deployer.calibrate.cells import Cell, Metric
from deployer.calibrate.tools import REQUEST_BYTES
from ytwin.core.units import PS_PER_S
from ytwin.datapath.program import Program
from ytwin.hardware import HardwareProfile, decode_profiles, shipped
from ytwin.performance import Cell as FitCell
from ytwin.performance import Fit, PathCost, fit, path_cost
from ytwin.performance.types import Share
from ytwin.sim.workloads import mss_bytes

PROFILE: Final = "lab-netdev"
FREE: Final = (
    "host.latency",
    "host.packet_rate",
    "host.segment_rate",
    "slow_path.packet_time",
    "slow_path.pass_time",
    "slow_path.conntrack_time",
    "slow_path.tunnel_time",
    "slow_path.wakeup_time",
)
"""What is fitted; all else of the profile stays as it is, and does not matter in a lab."""
NETDEV_MAX_BURST: Final = 32
"""Packets that OVS takes from a port at once (OVS, lib/dp-packet.h)."""
ACKS_PER_SEGMENT: Final = 0.5
_HEADERS_BYTES: Final = 14 + 20 + 32
"""Ethernet, IPv4, TCP with timestamps."""
_LEAST_NOISE: Final = 0.03
"""Of a measurement, as a ratio, to the fit: what the model leaves out is at least as much."""
_MAD_TO_SIGMA: Final = 1.4826
"""Standard deviation over median absolute deviation, normal distribution."""
_MEAN_TO_MEDIAN: Final = 1.2533
"""How much wider a median's error is than a mean's, normal distribution."""


@cache
def starting_profile() -> HardwareProfile:
    """What is believed of a lab's switches before anything is measured: wide intervals."""
    text = files(__package__).joinpath("lab.yaml").read_text(encoding="utf-8")
    return decode_profiles({"lab.yaml": text}, known=shipped())[PROFILE]


@dataclass(frozen=True, slots=True)
class Measured:
    """One cell with its measurements, in the metric's unit."""

    cell: Cell
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def floor(self) -> float:
        """The noise floor: half of the spread of the measurements, as a ratio of the median. A single one has none: 0."""
        return (max(self.values) - min(self.values)) / 2 / self.median

    @property
    def uncertainty(self) -> float:
        """Standard deviation of the median, as a ratio, from the middle half of the measurements; never below 3 %."""
        if len(self.values) < 3:
            return max(_LEAST_NOISE, self.floor)
        away = median(abs(v - self.median) for v in self.values) / self.median
        return max(_LEAST_NOISE, _MEAN_TO_MEDIAN * _MAD_TO_SIGMA * away / math.sqrt(len(self.values)))


def predicted(cell: Cell, profile: HardwareProfile) -> float:
    """The cell's number on this profile, in the metric's unit."""
    metric, path = cell.metric, cell.path
    if metric.bulk:
        overhead = int(profile.encapsulation.overhead.value)
        payload = mss_bytes(int(profile.encapsulation.underlay_mtu.value), overhead, False)
        together = _together(metric.window_bytes * metric.connections / payload)
        segment = _cost(path.forward, profile, payload + _HEADERS_BYTES, together, bulk=True)
        ack = _cost(path.reply, profile, _HEADERS_BYTES, together)
        turn_ps = _work_ps(_cost(path.forward, profile, payload, together), switches=False)
        work_ps = _work_ps(segment) + ACKS_PER_SEGMENT * _work_ps(ack, hosts=False)
        work_ps += turn_ps / max(1.0, metric.window_bytes / payload)
        return 8e-9 * payload * PS_PER_S / work_ps
    together = _together(metric.connections)
    both = [_cost(p, profile, REQUEST_BYTES + _HEADERS_BYTES, together) for p in (path.forward, path.reply)]
    latency_ps = sum(cost.latency_ps for cost in both)
    if metric is Metric.REQUESTS_1:
        return PS_PER_S / latency_ps
    return PS_PER_S / sum(map(_work_ps, both))


def _together(in_flight: float) -> float:
    """Packets that a switch finds when it wakes up: while one of the lab's threads runs, packets gather before the others."""
    return min(in_flight, NETDEV_MAX_BURST)


def _cost(
    program: Program, profile: HardwareProfile, frame_bytes: float, together: float, bulk: bool = False
) -> PathCost:
    cards = {visit.chassis: profile for visit in program.visits}
    return path_cost(program, cards, {}, frame_bytes, bulk=bulk, together=together)


def _work_ps(cost: PathCost, hosts: bool = True, switches: bool = True) -> float:
    """Of one packet on everything that is software here: the lab has no cards and no wires."""
    shares = ({Share.SLOW_PATH} if switches else set()) | ({Share.HOST} if hosts else set())
    return sum(d.service_ps for d in cost.demands if d.share in shares)


def calibrate(measured: Iterable[Measured], source: str, start: HardwareProfile | None = None) -> Fit:
    """The profile numbers that explain the measurements best."""
    cells = [FitCell(m.cell.name, _Prediction(m.cell), m.median, m.uncertainty) for m in measured]
    return fit(cells, {PROFILE: start or starting_profile()}, [(PROFILE, path) for path in FREE], source=source)


@dataclass(frozen=True, slots=True)
class _Prediction:
    cell: Cell

    def __call__(self, profiles: Mapping[str, HardwareProfile]) -> float:
        return predicted(self.cell, profiles[PROFILE])
