"""Costs of paths and a load, as a Network for the engines of `sim`. Pure; draws nothing.

What becomes what:
- a `Demand` is a step at a station of its resource: its work, always the same, on the resource's servers. Resources are per
  chassis and shared by all routes and both directions. Waiting places are the profile's (`eswitch.queue`,
  `slow_path.queue`); others have no end.
- what a packet takes beyond its work is a delay, in which nobody waits for another. The host stacks' part of it varies as
  `host.latency_scv` says (log-normal, mean kept); the rest is constant.
- connections that live as long as the run are taken as they are after the first seconds: in the card's table as far as it has
  room (`conntrack_table`), the others in software for good. Where connections come and go, the card's table is simulated: first
  packets do their further work (`opening` steps), and packets go through software until the connection is inserted, one
  insertion at a time. Those that would find the table full are drawn, each as it is opened (`Closed.admitted`), or are
  a source of their own where nobody waits for answers.
- rule insertion is no station: packets do not wait for it, they go through software meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Final

from ytwin.core.units import PS_PER_S, bad
from ytwin.hardware.model import HardwareProfile
from ytwin.performance.jobs import connections, per_connection
from ytwin.performance.legs import CardTable, Leg, Route
from ytwin.performance.loads import Load
from ytwin.performance.types import Demand, Share
from ytwin.sim.analytic import closed_bounds
from ytwin.sim.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Gamma,
    LogNormal,
    PerByte,
    Service,
    Uniform,
)
from ytwin.sim.model import Arrivals, Closed, Network, Open, Pipeline, Source, Stage, Station, Step, Table
from ytwin.sim.workloads import BulkTcp, ConnectRequestResponse, OpenRequests, PacketRate, RequestResponse

DELAY: Final = "on the way"
"""Station without limit: what a packet takes beyond its work."""
STREAMS: Final = "copying of each stream"
MOST_TURNS: Final = 8
OVERDRIVE: Final = 1.25
"""How far above its limit a path is driven to find what goes through; any number well above 1 gives the same."""


def queues(cards: Mapping[str, HardwareProfile]) -> dict[str, int]:
    """Resource -> waiting places, where they end."""
    found = {}
    for chassis, profile in cards.items():
        found[f"{Share.SLOW_PATH} of {chassis}"] = round(profile.slow_path.queue.value)
        if profile.eswitch is not None:
            found[f"{Share.ESWITCH} of {chassis}"] = round(profile.eswitch.queue.value)
    return found


ENDLESS: Final = 2**62
"""Places in a table that is never full."""


class _Builder:
    """Collects stations and tables while routes become steps. `ample`: who finds a place in a table was decided before
    (`_with_room`); connections of a run stay in it, where in the long run others leave."""

    def __init__(self, places: Mapping[str, int], ample: bool) -> None:
        self.places, self.ample = places, ample
        self.stations = {DELAY: Station(DELAY, None)}
        self.tables: dict[str, Table] = {}

    def station(self, demand: Demand) -> str:
        """Its name, known from now on."""
        self.stations.setdefault(demand.name, Station(demand.name, demand.servers, self.places.get(demand.name)))
        return demand.name

    def table(self, card: CardTable) -> str:
        """Its name, known from now on."""
        name = f"table of {card.chassis}"
        room = ENDLESS if self.ample else card.connections
        table = Table(name, room, card.insert_ps, idle_ps=card.ageing_ps, sweep_ps=card.lag_ps)
        self.tables.setdefault(name, table)
        return name

    def way(self, one: Leg, opening: bool = False, less_ps: float = 0.0) -> list[Step]:
        """All of a packet; `less_ps`: of its delay that is spent elsewhere."""
        steps = [Step(self.station(d), one.service(d), opening=opening) for d in one.demands]
        constant_ps, varying_ps = one.delays_ps
        constant_ps, less_ps = max(0.0, constant_ps - less_ps), max(0.0, less_ps - constant_ps)
        before_ps, varying_ps = one.varying_ps, varying_ps - less_ps
        if constant_ps >= 1:
            steps.append(Step(DELAY, Constant(constant_ps), opening=opening))
        if varying_ps >= 1:
            # What work takes of it leaves its variance.
            scv = one.scv * (before_ps / varying_ps) ** 2
            law = LogNormal(varying_ps, scv) if scv > 0 else Constant(varying_ps)
            steps.append(Step(DELAY, law, opening=opening))
        return steps

    def further(self, one: Leg, base: Leg, table: str = "", opening: bool = False) -> list[Step]:
        """What a packet does more than another of the same direction: its further work, and its further delay."""
        known = {d.name: d.service_ps for d in base.demands}
        steps, works_ps = [], 0.0
        for demand in one.demands:
            more_ps = demand.service_ps - known.get(demand.name, 0.0)
            if more_ps >= 1:
                works_ps += more_ps
                steps.append(Step(self.station(demand), Constant(more_ps), table, opening))
        more_ps = one.cost.latency_ps - base.cost.latency_ps - works_ps
        if more_ps >= 1:
            steps.append(Step(DELAY, Constant(more_ps), table, opening))
        return steps

    def known(self, route: Route, number: int) -> list[Step]:
        """An established packet of a connection that is opened during the run: in software until it is in the table."""
        return [*self.way((route.forward, route.reply)[number]), *self.missed(route, number)]

    def missed(self, route: Route, number: int) -> list[Step]:
        """What such a packet does more while its connection is not in the table."""
        if not route.tables:
            return []
        # One table for the path: its cards are told together, and the one with most to do for its means decides.
        slowest = max(route.tables, key=lambda t: (t.insert_ps * t.part, -t.connections / t.part))
        return self.further(route.software[number], (route.forward, route.reply)[number], self.table(slowest))

    def opened(self, route: Route, number: int) -> list[Step]:
        """What a connection's first packet of this direction does more than one that misses the table."""
        base = route.software[number] if route.tables else (route.forward, route.reply)[number]
        return self.further(route.first[number], base, opening=True)

    def packet(self, route: Route) -> list[Step]:
        """A packet of a flow that is opened during the run; the flow's first one does its further work."""
        return [*self.known(route, 0), *self.opened(route, 0)]

    def exchange(self, route: Route) -> list[Step]:
        """A request and its answer, which are the connection's first packets if it is new: it is put into the table once it
        is answered, so both look it up in the end."""
        there = [*self.way(route.forward), *self.opened(route, 0)]
        return [*there, *self.way(route.reply), *self.missed(route, 0), *self.missed(route, 1), *self.opened(route, 1)]


def build(
    routes: Sequence[Route],
    load: Load,
    places: Mapping[str, int],
    connections_per_s: float = 0.0,
    limit_per_s: float = math.inf,
    turn: int = 0,
) -> Network:
    """The load on the routes.

    `places`: waiting places (`queues`). `connections_per_s`: how many open, roughly. `limit_per_s`: what the routes carry by
    formula; a rate without end is driven above it.
    `turn`: whose turn it is to get the clients that cannot be shared out equally.
    """
    make = _Builder(places, changing(load))
    total = sum(route.weight for route in routes)
    if not routes or total <= 0:
        raise bad(
            "routes", "no-route", "nothing is delivered", "choose a client and a destination that reach each other"
        )
    parts = [(route, route.weight / total) for route in _with_room(routes, load, connections_per_s)]
    sources: list[Source] = []
    match load:
        case BulkTcp():
            if any(route.stream_ps for route, _ in parts):
                make.stations[STREAMS] = Station(STREAMS, load.streams)
            window = load.window_segments or _window(parts, load.streams, places)
            sources = [_bulk(make, load, route, n, window) for route, n in _shared_out(parts, load.streams, turn)]
        case PacketRate():
            rate = load.rate_per_s if math.isfinite(load.rate_per_s) else OVERDRIVE * limit_per_s
            if not math.isfinite(rate):
                raise bad("load.rate", "range", "a rate without end", "give a rate, or a path whose limit is known")
            # Regular arrivals of several sources at one full queue would take turns in being lost.
            mixed = len(parts) > 1 and rate > limit_per_s
            load = replace(load, poisson=load.poisson or mixed)
            sources = [_packets(make, load, route, part, rate) for route, part in parts]
        case RequestResponse():
            sources = [
                replace(
                    replace(load, name=route.name, clients=clients).source(_round_trip(make, route, changing(load))),
                    admitted=route.admitted,
                )
                for route, clients in _shared_out(parts, load.clients, turn)
            ]
        case ConnectRequestResponse():
            sources = [
                replace(
                    replace(load, name=route.name, clients=clients).source((), _round_trip(make, route, True)),
                    admitted=route.admitted,
                )
                for route, clients in _shared_out(parts, load.clients, turn)
            ]
        case OpenRequests():
            sources = [_requests(make, load, route, part) for route, part in parts]
    met = {step.station for source in sources for step in source.steps}
    return Network(
        tuple(s for s in make.stations.values() if s.name in met), tuple(sources), tuple(make.tables.values())
    )


def _with_room(routes: Sequence[Route], load: Load, connections_per_s: float) -> list[Route]:
    """Routes, parted where a card's table has no room for all connections: the others stay in software for good.

    There are those alive and those whose rules did not go yet (Little 1961); a run is far shorter than it takes to fill a
    table. Clients that open one connection after another get a place with some of them and none with others, so every client
    meets the mixture; as sources of their own, those in the table would ask more often than their part.
    """
    one_after_another = isinstance(load, RequestResponse | ConnectRequestResponse) and changing(load)
    total = sum(route.weight for route in routes)
    held: dict[str, float] = {}
    for route in routes:
        for table in route.tables:
            count = connections(load) + connections_per_s * table.stay_ps / PS_PER_S
            held[table.chassis] = held.get(table.chassis, 0.0) + count * route.weight / total
    found = []
    for route in routes:
        inside = min((min(1.0, t.connections / held[t.chassis]) for t in route.tables), default=1.0)
        if one_after_another:
            found.append(replace(route, admitted=inside))
            continue
        if inside > 0:
            found.append(replace(route, weight=route.weight * inside))
        if inside < 1:
            forward, reply = route.software
            name = f"{route.name}, beyond the table"
            weight = route.weight * (1 - inside)
            found.append(replace(route, name=name, weight=weight, forward=forward, reply=reply, tables=()))
    return found


def changing(load: Load) -> bool:
    """Whether connections are opened while it runs."""
    return math.isfinite(per_connection(load))


def turns(routes: int, load: Load) -> int:
    """How many ways there are to share out whole clients, where that makes a difference worth a run each."""
    if not isinstance(load, BulkTcp | RequestResponse | ConnectRequestResponse):
        return 1
    count = connections(load)
    return min(routes, MOST_TURNS) if count % routes and count < MOST_TURNS * routes else 1


def _shared_out(parts: Sequence[tuple[Route, float]], count: int, turn: int) -> list[tuple[Route, int]]:
    """Whole clients by weight, largest remainders first, those of equal ones in turn; routes that get none are left out."""
    whole = [math.floor(part * count + 1e-9) for _, part in parts]
    lacks = [round(n - part * count, 9) for n, (_, part) in zip(whole, parts, strict=True)]

    def place(i: int) -> tuple[float, int]:
        # What a full table leaves beside stands between them, so turns are counted among equals.
        return lacks[i], (lacks[:i].count(lacks[i]) - turn) % lacks.count(lacks[i])

    for i in sorted(range(len(parts)), key=place)[: count - sum(whole)]:
        whole[i] += 1
    return [(route, n) for (route, _), n in zip(parts, whole, strict=True) if n]


def _window(parts: Sequence[tuple[Route, float]], streams: int, places: Mapping[str, int]) -> int:
    """Segments under way per stream, where the load leaves it open; the same for all: streams that share a bottleneck are fair.

    Together they are what the paths hold and again as much, as autotuning ends up (Linux: twice the data of a round trip), but
    not more than half of any queue.
    """
    works: dict[str, float] = {}
    for route, part in parts:
        for d in route.forward.demands:
            works[d.name] = works.get(d.name, 0.0) + part * d.service_ps / d.servers
    trip_ps = sum(part * (r.forward.cost.latency_ps + r.reply.cost.latency_ps) for r, part in parts)
    holds = trip_ps / max(works.values(), default=trip_ps)
    spare = min((places[name] / 2 for name in works if name in places), default=holds)
    return max(1, math.ceil((holds + min(holds, spare)) / streams))


def _bulk(make: _Builder, load: BulkTcp, route: Route, streams: int, window: int) -> Closed:
    """Acknowledgements take their time and no work: one answers dozens of segments. A lost segment is sent again after a round
    trip (RFC 6675)."""
    trip_ps = route.forward.cost.latency_ps + route.reply.cost.latency_ps
    steps = [*make.way(route.forward), Step(DELAY, Constant(route.reply.cost.latency_ps))]
    if route.stream_ps:
        steps.insert(0, Step(STREAMS, Constant(route.stream_ps)))
    source = replace(
        load, name=route.name, streams=streams, window_segments=window, retransmit_ps=max(1, round(trip_ps))
    ).source(steps)
    return replace(source, size_bytes=Constant(route.segment_bytes))


def _packets(make: _Builder, load: PacketRate, route: Route, part: float, rate: float) -> Open:
    steps = make.packet(route) if changing(load) else make.way(route.forward)
    flows = _known_apart(load, part)
    source = replace(load, name=route.name, rate_per_s=rate * part, flows=flows).source(steps)
    return replace(source, under_way=changing(load))


def _requests(make: _Builder, load: OpenRequests, route: Route, part: float) -> Open:
    gap_ps, known = stretched(load.gap_ps, 1 / part), _known_apart(load, part)
    own = replace(load, name=route.name, gap_ps=gap_ps, connections=known)
    return replace(own.source(_round_trip(make, route, changing(load))), under_way=changing(load))


def _known_apart(load: Load, part: float) -> int:
    """Connections of a route that the engine tells from one another: those that stay are all alike."""
    return max(1, round(connections(load) * part)) if changing(load) else 1


def _round_trip(make: _Builder, route: Route, opened: bool) -> list[Step]:
    """Request and answer; `opened`: the first ones of a connection come after its handshake, or (UDP) are its first packets.

    Nobody waits for a connection's end, but its packets make work. Here the handshake waits for that, and is so much shorter.
    """
    if not opened:
        return [*make.way(route.forward), *make.way(route.reply)]
    if not route.handshake:
        return make.exchange(route)
    ends = [Step(make.station(d), one.service(d), opening=True) for one in route.close for d in one.demands]
    worked_ps = sum(d.service_ps for one in route.close for d in one.demands)
    steps = [*ends, *make.way(route.first[0], True, worked_ps), *make.way(route.first[1], True)]
    return [*steps, *make.known(route, 0), *make.known(route, 1)]


def handshake_steps(source: Source) -> int:
    """How many steps its connections' first requests wait for before they begin (see `_round_trip`)."""
    return sum(1 for _ in takewhile(lambda step: step.opening, source.steps))


def stretched(law: Distribution, times: float) -> Distribution:
    """The same law with a mean so many times as long."""
    match law:
        case Constant(value):
            return Constant(value * times)
        case Uniform(low, high):
            return Uniform(low * times, high * times)
        case Empirical(values):
            return Empirical(tuple(v * times for v in values))
        case Exponential(mean) | Gamma(mean) | LogNormal(mean):
            return replace(law, mean=mean * times)


def jobs_for(network: Network, run_ps: int) -> dict[str, int]:
    """By source: more jobs than begin within the time, surely."""
    servers = {s.name: s.servers for s in network.stations}
    found = {}
    for source in network.sources:
        if isinstance(source, Open):
            mean, spread = run_ps / source.gap_ps.mean, source.gap_ps.scv
        else:
            # Who misses for good is drawn by connection: nearly the part that is not admitted, where there are many.
            slowest = _at_most_per_ps(source, servers, 1.0) * run_ps
            opened = source.clients + slowest / (source.requests_per_connection or math.inf)
            part = source.admitted
            missing = max(0.0, 1 - part - 6 * math.sqrt(part * (1 - part) / opened))
            mean, spread = _at_most_per_ps(source, servers, missing) * run_ps, 1.0
        found[source.name] = math.ceil(mean + 6 * math.sqrt(spread * mean)) + (
            source.clients if isinstance(source, Closed) else 10
        )
    return found


def _at_most_per_ps(source: Closed, servers: Mapping[str, int | None], missing: float) -> float:
    """Jobs of a closed source by the bounds of its stations, if that part of them at least misses its table: steps of a table
    count for it, steps of the first of so many requests for theirs."""
    first = 1 / source.requests_per_connection if source.requests_per_connection else 0.0
    works: dict[str, float] = {}
    for step in source.steps:
        part = (missing if step.table else 1.0) * (first if step.opening else 1.0)
        works[step.station] = works.get(step.station, 0.0) + part * mean_ps(step.service_ps, source)
    bound = closed_bounds(source.clients, list(works.values()), [servers[s] for s in works], source.think_ps.mean)
    return bound.throughput


def mean_ps(service: Service, source: Source) -> float:
    """Mean work, through the sizes where it depends on them."""
    if isinstance(service, PerByte):
        return service.fixed + service.per_byte * source.size_bytes.mean
    return service.mean


def pipeline_of(network: Network) -> tuple[Pipeline, Arrivals, tuple[Service, ...]] | None:
    """(stages, arrivals, delays) where jobs of one open source pass every station once and nobody comes back; else None.

    Such a run can be streamed: its memory does not grow with its length. Delays lie beside the stages: nobody waits there.
    """
    source = network.sources[0]
    if len(network.sources) > 1 or not isinstance(source, Open) or network.tables:
        return None
    stations = {s.name: s for s in network.stations}
    queued = [step for step in source.steps if step.station != DELAY]
    if any(step.opening for step in source.steps) or len({step.station for step in queued}) < len(queued) or not queued:
        return None
    stages = tuple(
        Stage(s.name, step.service_ps, s.servers or 1, s.queue) for step in queued for s in (stations[step.station],)
    )
    arrivals = Arrivals(
        source.gap_ps, source.connections, source.popularity, source.jobs_per_connection, source.size_bytes
    )
    return Pipeline(stages), arrivals, tuple(step.service_ps for step in source.steps if step.station == DELAY)
