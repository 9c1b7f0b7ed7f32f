"""Rates of traffic to rates on nodes, and those to how busy each resource of each node is. All of it is linear in the rates but
what cards keep: of more connections than have a place, or come in time, the rest goes through software (`performance.tables`).

For a row with rate L, clients c over the nodes and backends b: node i is a remote client for L * c_i * (1 - b_i), a remote
backend for L * b_i * (1 - c_i), and serves itself for L * c_i * b_i. Only sums over rows are needed: no
pair of nodes is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ytwin.cluster.classes import PLACE
from ytwin.cluster.types import RESOURCES, Cluster, Floats, Integers, Mode, Offered, Rate, Resource, Slot
from ytwin.core.units import PS_PER_S
from ytwin.hardware.model import ESwitch
from ytwin.performance.cost import crowding
from ytwin.performance.tables import places, stay_ps

MOST_CELLS: Final = 4_000_000
"""Of a (group of rows, node) table at a time: bounds the memory."""

OnNodes = dict[tuple[int, bool], Floats]
"""(class, bulk) -> [slot, Rate, node]."""


def on_nodes(cluster: Cluster, offered: Offered) -> OnNodes:
    """The traffic that each class has on each node, by the part that the node plays."""
    rows, found = cluster.rows, OnNodes()
    if not len(rows):
        return found
    keys = np.column_stack([rows.path_class, rows.mode, rows.clients, offered.bulk.astype(np.int64), rows.gateways])
    kinds, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.reshape(-1)
    backends = _live_backends(cluster)
    step = max(1, MOST_CELLS // (len(Rate) * max(1, len(cluster.nodes))))
    order = np.argsort(group, kind="stable")
    for first in range(0, len(kinds), step):
        low, high = np.searchsorted(group, [first, first + step], sorter=order)
        tables = _by_backend(cluster, offered, order[low:high], group, first, min(step, len(kinds) - first), backends)
        for kind, table in zip(kinds[first : first + step], tables, strict=True):
            path, mode, clients, bulk, *gateways = (int(n) for n in kind)
            slots = found.setdefault(
                (path, bool(bulk)), np.zeros((cluster.classes[path].slots, len(Rate), len(cluster.nodes)))
            )
            _spread(cluster, slots, table, Mode(mode), clients, gateways)
    return found


@dataclass(frozen=True)
class _Backends:
    """Entries of all rows one behind the other; those of lost nodes have no part, and the others theirs."""

    row: Integers
    node: Integers
    part: Floats


def _live_backends(cluster: Cluster) -> _Backends:
    rows = cluster.rows
    counts = rows.end - rows.begin
    row = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    entry = np.repeat(rows.begin, counts) + within
    node, part = rows.node[entry], rows.part[entry]
    if cluster.lost:
        part = np.where(np.isin(node, list(cluster.lost)), 0.0, part)
        left = np.bincount(row, part, minlength=len(rows))
        part = np.divide(part, left[row], out=np.zeros_like(part), where=left[row] > 0)
    return _Backends(row, node, part)


def _by_backend(
    cluster: Cluster,
    offered: Offered,
    chosen: Integers,
    group: Integers,
    first: int,
    count: int,
    backends: _Backends,
) -> Floats:
    """[group of rows, Rate, node of the backend] -> rate."""
    here = np.zeros(len(cluster.rows), dtype=np.bool_)
    here[chosen] = True
    mask = here[backends.row]
    row, node, part = backends.row[mask], backends.node[mask], backends.part[mask]
    n = len(cluster.nodes)
    cell = (group[row] - first) * n + node
    found = np.zeros((count, len(Rate), n))
    for rate in np.flatnonzero(offered.rates.any(axis=0)):
        found[:, rate] = np.bincount(cell, offered.rates[row, rate] * part, minlength=count * n).reshape(count, n)
    return found


def _spread(cluster: Cluster, slots: Floats, table: Floats, mode: Mode, clients: int, gateways: list[int]) -> None:
    """Adds one group of rows to its class. `table`: [Rate, node of the backend]."""
    at = [cluster.gateway(g) if g >= 0 else None for g in gateways]
    if -1 in at:
        return  # nothing gets through
    if clients < 0:
        local = np.zeros_like(table)
        if at and at[0] is not None:
            local[:, at[0]] = table[:, at[0]]
    else:
        local = table * cluster.clients[clients]
    if mode is Mode.LOCAL:
        slots[Slot.BACKEND] += local
        passing = local.sum(axis=1)
    else:
        slots[Slot.BACKEND] += (table if clients < 0 else table * cluster.clients[clients].sum()) - local
        passing = table.sum(axis=1) * (1.0 if clients < 0 else cluster.clients[clients].sum()) - local.sum(axis=1)
        if clients >= 0:
            slots[Slot.CLIENT] += table.sum(axis=1)[:, None] * cluster.clients[clients] - local
    gateway_slots = range(int(Slot.FIRST_GATEWAY), len(slots))
    for slot, node in zip(gateway_slots, at, strict=False):
        if node is not None:
            slots[slot, :, node] += passing


@dataclass(frozen=True)
class Work:
    """What the traffic asks of every node: [node, Resource], as shares of the resource's time, at scale 1."""

    held: Floats
    software: Floats
    alive: Floats
    """[node]: connections for which the node's card keeps rules."""
    new: Floats
    closed: Floats
    """[node]: of them, those that end with a FIN."""


def work_of(cluster: Cluster, traffic: OnNodes) -> Work:
    """Sums over classes and parts."""
    n, profile = len(cluster.nodes), cluster.profile
    held, software = np.zeros((n, len(RESOURCES))), np.zeros((n, len(RESOURCES)))
    alive, new, closed = np.zeros((3, n))
    for (number, bulk), slots in traffic.items():
        path = cluster.classes[number]
        for slot, rates in enumerate(slots):
            if not rates.any():
                continue
            held += np.einsum("kn,nkr->nr", rates, path.held[int(bulk), slot][profile], optimize=True)
            software += np.einsum("kn,nkr->nr", rates, path.software[int(bulk), slot][profile], optimize=True)
            kept = path.table[slot][profile]
            alive += rates[Rate.ALIVE] * kept
            new += rates[Rate.NEW] * kept
            closed += rates[Rate.CLOSE] * kept
    # A gateway's share of a class is a difference of sums: what is left of rounding is not a load.
    return Work(*(np.maximum(sums, 0.0) for sums in (held, software, alive, new, closed)))


@dataclass(frozen=True)
class Tables:
    """`performance.tables.table_state` for many nodes with cards at once."""

    alive: Floats
    entries: Floats
    share: Floats
    connections: Floats
    """Of the places in the card's conntrack table."""
    rules: Floats
    """Of those in its flow table."""
    insertion: Floats
    """Of the rules per second that can be put in, or taken out."""
    crowding: Floats


def tables_of(cluster: Cluster, alive: Floats, new: Floats, closed: Floats) -> Tables:
    """State of all nodes' cards with so many connections at a time, so many new ones a second, and so many closed by a FIN."""
    n = len(cluster.nodes)
    stay, entries, share, connections, rules, insertion, crowded = np.zeros((7, n))
    share[:], crowded[:] = 1.0, 1.0
    found = Tables(stay, entries, share, connections, rules, insertion, crowded)
    for number, profile in enumerate(cluster.profiles):
        if profile.eswitch is not None:
            here = cluster.profile == number
            _fill(found, here, profile.eswitch, alive[here], new[here], closed[here])
    return found


def _fill(
    found: Tables, here: npt.NDArray[np.bool_], chip: ESwitch, alive: Floats, new: Floats, closed: Floats
) -> None:
    rules = chip.rules_per_connection.value
    ended = np.minimum(closed, new)
    stay = alive + ((new - ended) * stay_ps(chip, 0) + ended * stay_ps(chip, 1)) / PS_PER_S
    rate = min(chip.insertion_rate.value, chip.deletion_rate.value)
    asked = new * rules
    share = np.minimum(1.0, _ratio(places(chip), stay))
    share = np.minimum(share, _ratio(rate, asked))
    found.alive[here], found.share[here] = stay, share
    found.entries[here] = share * stay * rules
    found.connections[here] = _ratio(stay, chip.conntrack_table.value)
    found.rules[here] = _ratio(stay * rules, chip.flow_table.value)
    found.insertion[here] = asked / rate
    if chip.crowding:
        points = sorted({0.0, *(point.entries.value for point in chip.crowding)})
        found.crowding[here] = np.interp(found.entries[here], points, [crowding(chip, x) for x in points])


def _ratio(above: Floats | float, below: Floats | float) -> Floats:
    """Endless where there is nothing below; 0 / 0 is endless too: no place for nothing is place enough."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64))
    with np.errstate(over="ignore"):  # endless is what it is then
        found: Floats = np.divide(above, below, out=np.full(below.shape, np.inf), where=below > 0)
    return found


@dataclass(frozen=True)
class Busy:
    """How busy everything is at one scale of the load: [node, Resource]; above 1 it is asked for more than it can."""

    shares: Floats
    tables: Tables


def busy(cluster: Cluster, work: Work, scale: float = 1.0) -> Busy:
    """At `scale` times the traffic: rates, new connections and connections alive alike."""
    tables = tables_of(cluster, work.alive * scale, work.new * scale, work.closed * scale)
    held = tables.share[:, None]
    shares = scale * (held * work.held + (1 - held) * work.software)
    shares[:, PLACE[Resource.ESWITCH]] *= tables.crowding
    has = np.array([profile.eswitch is not None for profile in cluster.profiles])[cluster.profile]
    for resource, share in (
        (Resource.CARD_CONNECTIONS, tables.connections),
        (Resource.CARD_RULES, tables.rules),
        (Resource.INSERTION, tables.insertion),
    ):
        shares[:, PLACE[resource]] = np.where(has & (tables.alive > 0), share, 0.0)
    return Busy(shares, tables)
