"""`ytwin predict`: what a path gives under a load, which resource is the limit, and what that rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from ytwin import pipeline
from ytwin.cli import output
from ytwin.cli.clients import find_client, find_served
from ytwin.cli.commands import DownOption, Json, Paths, SouthboundOption, app, build_twin
from ytwin.cli.files import SUFFIXES, read_files
from ytwin.core.errors import YtwinError
from ytwin.logical.addresses import endpoint
from ytwin.trace.types import Host

if TYPE_CHECKING:  # `--help` stays quick
    from ytwin.cli.cards import Cards, CardSet
    from ytwin.datapath.program import Program
    from ytwin.performance.loads import NamedLoad, Share
    from ytwin.performance.types import Prediction
    from ytwin.verify.offload import Judged


@app.command()
def predict(
    paths: Paths,
    client: Annotated[
        str, typer.Option("--from", metavar="CLIENT", help="Pod/default/web-0, web-0, Node/node1, outside.")
    ],
    loads: Annotated[
        list[str],
        typer.Option(
            "--load",
            metavar="LOAD",
            help="bulk:streams=16, packets:rate=45 Mpps,flows=1000 (rate=max: the limit), rr:clients=1, crr:clients=64, "
            "open:rate=10 k/s,size=1 kB; or a YAML file with kind: Load. Repeatable.",
        ),
    ],
    destination: Annotated[
        str,
        typer.Option(
            "--to", metavar="DEST", help="ADDRESS[:PORT], SERVICE[:PORT], pod/NAME[:PORT]; not needed for a mix."
        ),
    ] = "",
    card: Annotated[
        list[str] | None,
        typer.Option(
            "--card",
            metavar="PROFILE|FILE",
            help="Suppose this card in every node (see `ytwin profiles`); repeatable. Default: the NetworkCards.",
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(metavar="ENGINE", help="analytic (formulas), fast (compiled) or reference (simpy).")
    ] = "analytic",
    duration: Annotated[
        str,
        typer.Option(metavar="TIME", help="How long an engine measures, such as `10 ms`; default: long enough."),
    ] = "",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of an engine's chance; equal seeds replay.")] = 0,
    memory: Annotated[
        str,
        typer.Option(metavar="SIZE", help="What an engine may take, such as `4 GiB`; default: half of what is free."),
    ] = "",
    protocol: Annotated[str, typer.Option(help="tcp, udp or sctp.")] = "",
    ipv6: Annotated[bool, typer.Option("--ipv6", "-6", help="The Service's IPv6 address.")] = False,
    southbound: SouthboundOption = "",
    down: DownOption = None,
    json: Json = False,
) -> int:
    """Predict Gbit/s, Mpps, us, requests/s, cores and loss of a path under a load, by formulas or by simulation."""
    from ytwin.cli.cards import by_twin, sets_of_cards  # noqa: PLC0415
    from ytwin.cli.memory import memory_bytes  # noqa: PLC0415
    from ytwin.core.units import require, time_ps  # noqa: PLC0415
    from ytwin.performance.predict import Engine  # noqa: PLC0415

    if protocol not in ("", "tcp", "udp", "sctp"):
        raise YtwinError(f"--protocol {protocol!r}: tcp, udp or sctp")
    wanted = _loads(loads)
    duration_ps = time_ps(duration, "--duration") if duration else None
    require(duration_ps != 0, "--duration", "no time", "give a time above 0, such as `10 ms`")
    how = _How(cast(Engine, engine), seed, duration_ps, memory_bytes(memory))
    twin = build_twin(paths, southbound, down)
    host = find_client(twin, client)
    sets = sets_of_cards(twin, card or (), down or ())
    ways: dict[tuple[str, str], tuple[_Way, ...]] = {}
    for there, group in by_twin(sets):
        asked = _Asked(there, find_client(there, client), protocol, ipv6)
        ways |= {(one.title, load.name): asked.ways(load, destination) for load in wanted for one in group}
    dead = next((way for parts in ways.values() for way in parts if not way.programs), None)
    if dead is not None:
        output.decided(1)
        _print_dead(host, dead, json)
        return 1
    found = [_answer(one, load, ways[one.title, load.name], how) for one in sets for load in wanted]
    if json:
        output.print_json({"client": host.name, "predictions": [one.to_json() for one in found]})
    else:
        _print(host, found)
    return 0


@dataclass(frozen=True)
class _How:
    engine: Literal["analytic", "fast", "reference"]
    seed: int
    duration_ps: int | None
    memory_bytes: int


@dataclass(frozen=True)
class _Way:
    """To one destination of a load, over every backend."""

    share: float
    name: str
    address: str
    programs: tuple[Program, ...]
    """Of the paths that deliver; none: why."""
    reason: str
    unanswered: str
    """Which backends do not deliver; "" if all do."""


@dataclass(frozen=True)
class _Found:
    """One load on one set of cards."""

    title: str
    cards: Cards
    load: NamedLoad
    ways: tuple[_Way, ...]
    judged: tuple[Judged, ...]
    prediction: Prediction

    def to_json(self) -> dict[str, Any]:
        """The documented JSON form."""
        from ytwin.performance.jsonform import prediction_to_json  # noqa: PLC0415
        from ytwin.verify import offload as room  # noqa: PLC0415

        return {
            "load": self.load.name,
            "destinations": [{"name": w.name, "address": w.address, "share": w.share} for w in self.ways],
            "offload": room.to_json(self.title, self.judged, self.cards),
            **prediction_to_json(self.prediction),
        }


class _Asked:
    """Who asks, and the programs of what is asked for, each traced once."""

    def __init__(self, twin: pipeline.Twin, host: Host, protocol: str, ipv6: bool) -> None:
        self.twin, self.host, self.protocol, self.ipv6 = twin, host, protocol, ipv6
        self._known: dict[str, _Way] = {}

    def ways(self, load: NamedLoad, destination: str) -> tuple[_Way, ...]:
        """The load's own Services, else the destination of the command."""
        if load.services and destination:
            raise YtwinError(f"--to {destination}: the load {load.name} names its Services itself; leave --to out")
        if not load.services and not destination:
            raise YtwinError(f"the load {load.name} names no Services: say --to SERVICE, ADDRESS:PORT or pod/NAME")
        if not load.services:
            return (self._way(destination),)
        return tuple(replace(self._way(_destination(share)), share=share.weight) for share in load.services)

    def _way(self, text: str) -> _Way:
        if text not in self._known:
            self._known[text] = self._traced(text)
        return self._known[text]

    def _traced(self, text: str) -> _Way:
        from ytwin.datapath import limited, limits_of, programs  # noqa: PLC0415
        from ytwin.datapath.program import Phase  # noqa: PLC0415
        from ytwin.verify.offload import unanswered  # noqa: PLC0415

        to = find_served(self.twin, self.host, text, self.protocol, self.ipv6)
        traced = pipeline.converse(self.twin, self.host, to.address, to.port, to.protocol)
        conversation = limited(traced, limits_of(self.twin.nodes))
        made = programs(conversation, self.twin.world)
        alive = {p.backend for p in made if p.delivered and p.phase is not Phase.IDLE} - {
            p.backend for p in made if not p.delivered and p.phase is not Phase.IDLE
        }
        address = endpoint(to.address, to.port)
        reason = "" if alive else f"{conversation.verdict.value}: {conversation.reason}"
        some = tuple(p for p in made if p.backend in alive)
        return _Way(1.0, text, address, some, reason, unanswered(conversation))


def _destination(share: Share) -> str:
    return f"{share.service}:{share.port}" if share.port else share.service


def _loads(texts: Sequence[str]) -> tuple[NamedLoad, ...]:
    from ytwin.performance.loads import decode_loads, parse_load  # noqa: PLC0415

    found: list[NamedLoad] = []
    for text in texts:
        is_file = text == "-" or text.endswith(SUFFIXES) or (text and ":" not in text and Path(text).exists())
        found += decode_loads(read_files([text])) if is_file else [parse_load(text)]
    return tuple({load.name: load for load in found}.values())


def _answer(on: CardSet, load: NamedLoad, ways: tuple[_Way, ...], how: _How) -> _Found:
    from ytwin.datapath.offload import judge_offload  # noqa: PLC0415
    from ytwin.datapath.rows import Rows  # noqa: PLC0415
    from ytwin.performance.mix import mixed  # noqa: PLC0415
    from ytwin.performance.predict import predict as predicted  # noqa: PLC0415
    from ytwin.verify.expect import targets  # noqa: PLC0415
    from ytwin.verify.offload import Judged  # noqa: PLC0415

    rows = Rows(on.twin.southbound)
    judged = tuple(
        Judged(way.name, verdict, ((verdict.client, way.name, way.address),))
        for way in ways
        for verdict in judge_offload(way.programs, on.cards, rows)
    )
    prediction = predicted(
        mixed([(way.share, way.programs) for way in ways], f"load {load.name}"),
        [one.verdict for one in judged],
        on.cards,
        load.load,
        how.engine,
        how.seed,
        services=max(1, len({t.service for t in targets(on.twin.snapshot)})),
        duration_ps=how.duration_ps,
        memory_bytes=how.memory_bytes,
    )
    told = (*on.notes, *(f"{way.name}: {way.unanswered}" for way in ways if way.unanswered))
    prediction = replace(prediction, load=load.name, notes=(*told, *prediction.notes))
    return _Found(on.title, on.cards, load, ways, judged, prediction)


def _print_dead(host: Host, way: _Way, json: bool) -> None:
    if json:
        output.print_json({"client": host.name, "destination": way.address, "delivered": False, "reason": way.reason})
    else:
        output.print_text(f"{host.name} -> {way.name} ({way.address}) {way.reason}\nnothing to predict")


def _print(host: Host, found: Sequence[_Found]) -> None:
    from ytwin.performance.render import render, what_latency_is  # noqa: PLC0415
    from ytwin.verify import offload as room  # noqa: PLC0415

    shown: set[tuple[str, tuple[str, ...]]] = set()
    stopped: list[str] = []
    for one in found:
        key = (one.title, tuple(way.name for way in one.ways))
        if key not in shown:
            shown.add(key)
            names = ", ".join(f"{way.name} ({way.address})" for way in one.ways)
            output.print_text(f"# {host.name} -> {names}, {one.title}")
            output.print_table(room.HEADER, [room.row(group, one.cards) for group in room.groups(one.judged, False)])
            if (reasons := room.explained(one.judged)) and reasons not in stopped:
                stopped.append(reasons)
            output.print_text("")
        if len(found) == 1:
            output.print_text(render(one.prediction))
    if len(found) > 1:
        output.print_table(*_table(found))
        several = len({one.title for one in found}) > 1
        labels = [f"{one.title + ', ' if several else ''}{one.load.name}" for one in found]
        texts = [
            (label, one.load.name, text)
            for label, one in zip(labels, found, strict=True)
            for text in what_latency_is(one.prediction)
        ]
        said = Counter((load, text) for _, load, text in texts)
        of_all = {each for each, count in said.items() if count == len({one.title for one in found})}
        meant = dict.fromkeys(f"{load if (load, text) in of_all else label}: {text}" for label, load, text in texts)
        if meant:
            output.print_text("\n" + "\n".join(meant))
        told = dict.fromkeys(
            f"note: {name}: {note}" for name, one in zip(labels, found, strict=True) for note in one.prediction.notes
        )
        if told:
            output.print_text("\n" + "\n".join(told))
    for reasons in stopped:
        output.print_text(f"\n# What keeps packets in software\n{reasons}")


def _table(found: Sequence[_Found]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """One row per load and set of cards, one column per metric that any of them has."""
    from ytwin.performance.render import TEXTS, number  # noqa: PLC0415

    metrics = [m for m in TEXTS if any(v.metric is m for one in found for v in one.prediction.values)]
    several = len({one.title for one in found}) > 1
    rows = []
    for one in found:
        values: Mapping[object, str] = {
            v.metric: number(v.value) + (f" [{number(v.low)}, {number(v.high)}]" if v.low < v.high else "")
            for v in one.prediction.values
        }
        cells = (values.get(metric, "-") for metric in metrics)
        lead = (one.title, one.load.name) if several else (one.load.name,)
        rows.append((*lead, *cells, one.prediction.limit or "-"))
    head = ("cards", "load") if several else ("load",)
    first = found[0].prediction
    by = first.engine if first.seed is None else f"{first.engine}, seed {first.seed}"
    return (*head, *(f"{TEXTS[m][0]} {TEXTS[m][1]}" for m in metrics), f"limit ({by})"), rows
