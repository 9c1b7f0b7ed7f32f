"""Measured traffic: CSV of flows between nodes, the outside, Services and workloads. Strict: every problem with file and line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ytwin.cluster.traffic import connection_rates, packet_rates, too_large
from ytwin.cluster.types import Floats, Rate
from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.core.units import MOST
from ytwin.hardware.model import HardwareProfile
from ytwin.performance.cost import SMALLEST_FRAME_BYTES
from ytwin.performance.jobs import FCS_BYTES
from ytwin.resources.fields import nearest

SOURCE: Final = "src_node"
DESTINATIONS: Final = ("service", "dst")
RATES: Final = ("packets_per_s", "bytes_per_packet", "new_connections_per_s", "lifetime_s")
NEEDED: Final = (SOURCE, *RATES[:2])
OPTIONAL: Final = {"new_connections_per_s": 0.0, "lifetime_s": 0.0, "replies": 1.0, "bulk": 0.0}
"""Columns that may be left out, and what stands in them then. bulk: 1 for full segments of TCP, 0 for other packets."""
MOST_PROBLEMS: Final = 20
"""More nobody reads."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One line: who sends from where to whom, and how much; of it all connections and backends together."""

    source: str
    """Node (of some workload there), `Node/NAME` (the node itself) or `outside`."""
    destination: str
    """A Service, `[NAMESPACE/]NAME[:PORT]`, or a workload, `pod/NAME`."""
    packets_per_s: float
    """Of all connections together, first ones among them."""
    bytes_per_packet: float
    """With check sequence, as counters of ports count; without tunnel header."""
    new_per_s: float
    lifetime_s: float
    replies: float
    """Packets that come back for each."""
    bulk: bool
    where: Location

    def rates(self, handshake: bool = True) -> Floats:
        """[Rate]. Ports count the packets that open connections, too, so these are among `packets_per_s`; without packets there
        are connections alone, which begin and end with a `handshake` or not (`PathClass.handshake`)."""
        if not self.packets_per_s:
            found = connection_rates(self.new_per_s, handshake)
        else:
            frame = max(self.bytes_per_packet - FCS_BYTES, SMALLEST_FRAME_BYTES)
            # What answers bulk data are acknowledgements.
            reply_frame = SMALLEST_FRAME_BYTES if self.bulk else frame
            back = self.packets_per_s * self.replies
            found = packet_rates(self.packets_per_s, frame, back, reply_frame, self.new_per_s)
        found[Rate.ALIVE] = self.new_per_s * self.lifetime_s
        return found


def notes_on(flows: Sequence[Flow], profiles: Sequence[HardwareProfile]) -> tuple[str, ...]:
    """Packets that do not fit."""
    return too_large({str(flow.where): 0.0 if flow.bulk else flow.bytes_per_packet for flow in flows}, profiles)


def without_clients(flows: Sequence[Flow], lost: Collection[str]) -> tuple[tuple[Flow, ...], tuple[str, ...]]:
    """(flows that are left, a note for each node): what was measured from lost nodes is gone with the clients there."""
    gone = {node: [f for f in flows if f.source.removeprefix("Node/") == node] for node in sorted(lost)}
    told = []
    for node, some in gone.items():
        packets, new = sum(f.packets_per_s for f in some), sum(f.new_per_s for f in some)
        counted = [f"{n:,.6g} {what}/s" for n, what in ((packets, "packets"), (new, "new connections")) if n]
        if counted:
            told.append(f"{' and '.join(counted)} from {node} are gone with the clients there")
    return tuple(f for f in flows if f.source.removeprefix("Node/") not in gone), tuple(told)


def named(flows: Sequence[Flow]) -> str:
    """For people."""
    return f"{len(flows)} flow{'s' if len(flows) > 1 else ''} of {flows[0].where.file}" if flows else "no flows"


def decode_flows(file: str, text: str) -> tuple[Flow, ...]:
    """Every line of a CSV file with a header. InvalidInput carries every problem (the first twenty of many)."""
    reader = csv.reader(io.StringIO(text))
    header = [name.strip() for name in next(reader, [])]
    problems = _header(file, header)
    if problems:
        raise InvalidInput(problems)
    flows = []
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        where = Location(file, reader.line_num)
        if len(row) != len(header):
            hint = "quote names that hold commas"
            problems.append(Problem(where, "columns", f"{len(row)} cells under {len(header)} columns", hint))
        else:
            flow = _flow(dict(zip(header, (cell.strip() for cell in row), strict=True)), where, problems)
            flows += [flow] if flow is not None else []
        if len(problems) >= MOST_PROBLEMS:
            break
    if not flows and not problems:
        problems.append(Problem(Location(file), "no-flows", "no flow in this file", f"write lines under {header}"))
    if problems:
        raise InvalidInput(problems)
    return tuple(flows)


def _header(file: str, header: Sequence[str]) -> list[Problem]:
    where = Location(file, 1)
    known = (*NEEDED, *DESTINATIONS, *OPTIONAL)
    found = []
    for name in header:
        if name not in known or header.count(name) > 1:
            meant = nearest(name, known)
            hint = f"did you mean {meant}?" if meant and meant != name else f"there are {', '.join(known)}"
            message = f"column {name!r} stands twice" if header.count(name) > 1 else f"no column is called {name!r}"
            found.append(Problem(where, "unknown-column", message, hint))
    found += [
        Problem(where, "missing-column", f"no column {name}", f"a header is {','.join((*NEEDED, 'service'))},...")
        for name in NEEDED
        if name not in header
    ]
    if sum(name in header for name in DESTINATIONS) != 1:
        found.append(Problem(where, "missing-column", "who is called stands in no one column", "write service or dst"))
    return found


def _flow(row: Mapping[str, str], where: Location, problems: list[Problem]) -> Flow | None:
    before = len(problems)

    def wrong(column: str, message: str, hint: str) -> None:
        problems.append(Problem(Location(where.file, where.line, column), "value", message, hint))

    values = {}
    for name in (*RATES, "replies", "bulk"):
        text = row.get(name, "")
        if not text and name in OPTIONAL:
            values[name] = OPTIONAL[name]
            continue
        try:
            values[name] = float(text)
        except ValueError:
            values[name] = math.nan
        if not 0 <= values[name] < math.inf:
            wrong(name, f"{text!r} is no number of at least 0", "write a plain number; the column says its unit")
        elif values[name] > MOST:
            wrong(name, f"{text!r} is beyond all that can be reckoned with", f"write at most {MOST:g}")
    destination = next((row[name] for name in DESTINATIONS if name in row), "")
    for column, text in ((SOURCE, row[SOURCE]), ("service", destination)):
        if not text:
            wrong(column, "nothing stands here", "write a name, or outside")
    if values["bulk"] not in (0.0, 1.0):
        wrong("bulk", f"{row['bulk']!r}", "write 1 for full segments of TCP, 0 for other packets")
    if values["packets_per_s"] > 0 and values["bytes_per_packet"] <= 0:
        wrong("bytes_per_packet", "packets without bytes", "write the mean size with its check sequence, 64 or more")
    if 0 < values["packets_per_s"] < values["new_connections_per_s"]:
        message = f"{row['new_connections_per_s']} new connections/s but {row['packets_per_s']} packets/s"
        wrong("new_connections_per_s", message, "each connection has one at least")
    if len(problems) > before:
        return None
    packets, octets, new, lifetime = (values[name] for name in RATES)
    return Flow(
        row[SOURCE], destination, packets, octets, new, lifetime, values["replies"], values["bulk"] == 1.0, where
    )
