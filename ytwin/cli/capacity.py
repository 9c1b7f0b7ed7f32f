"""`ytwin capacity`: how far a whole cluster's traffic can grow, what is full first, and what a loss does."""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

import typer

from ytwin import pipeline
from ytwin.cli import output
from ytwin.cli.commands import DownOption, Json, SouthboundOption, app, build_twin
from ytwin.core.errors import InvalidInput, Location, Problem, YtwinError
from ytwin.resources.fields import nearest

if TYPE_CHECKING:  # `--help` stays quick
    from ytwin.cli.cards import CardSet
    from ytwin.cluster import Capacity, Cluster, Flow, Size, Traffic
    from ytwin.cluster.report import Loss
    from ytwin.cluster.types import Offered
    from ytwin.hardware import HardwareProfile
    from ytwin.logical.southbound import Southbound

DEFAULT_CARD: Final = "yusur-dpu-2x100g"
"""Of a generated cluster: the article's."""
KINDS: Final = ("node", "card", "gateway")
OF_GENERATED: Final = (
    "services",
    "backends",
    "outside",
    "shared",
    "gateways",
    "protocol",
    "algorithm",
    "affinity",
    "seed",
)
"""Options that say what a generated cluster is."""


@app.command()
def capacity(
    context: typer.Context,
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH...]", help="Files or folders of YAML; none with --nodes.")
    ] = None,
    load: Annotated[
        str,
        typer.Option(
            "--load",
            metavar="LOAD",
            help="Of each Service in the mean: packets=50 k/s,size=256 B,new=100 /s,lifetime=10 s,zipf=1; or bandwidth=1 Gbit/s, "
            "or requests=1 k/s,size=1 kB; replies=1, connections=1000.",
        ),
    ] = "",
    flows: Annotated[
        str,
        typer.Option("--flows", metavar="FILE", help="Measured instead: CSV with src_node,service,packets_per_s,..."),
    ] = "",
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Generate a cluster of so many nodes instead of reading one.")
    ] = None,
    services: Annotated[int, typer.Option(help="Of a generated cluster.")] = 1000,
    backends: Annotated[int, typer.Option(help="Of each of its Services.")] = 10,
    outside: Annotated[float, typer.Option(help="Part of its Services with an EIP, backends in one VPC.")] = 0.0,
    shared: Annotated[float, typer.Option(help="Part of its Services with an EIP, backends in several VPCs.")] = 0.0,
    gateways: Annotated[int, typer.Option(help="EipGateways that these are spread over; at most one per node.")] = 2,
    protocol: Annotated[str, typer.Option(help="Of its Services: TCP or UDP.")] = "TCP",
    algorithm: Annotated[str, typer.Option(help="How they choose a backend: hash or dpHash.")] = "hash",
    affinity: Annotated[bool, typer.Option("--affinity", help="They keep a client at its backend.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of where its backends are.")] = 0,
    card: Annotated[
        list[str] | None,
        typer.Option(
            "--card",
            metavar="PROFILE|FILE",
            help="Suppose this card in every node (see `ytwin profiles`); repeatable. Default: the NetworkCards; the article's.",
        ),
    ] = None,
    lose: Annotated[
        list[str] | None,
        typer.Option(
            "--lose",
            metavar="WHAT",
            help="And without: node17, card:node17, gateway (the most loaded), gateway:NAME; each: the most loaded of each kind. "
            "Measured flows from a lost node are gone; of a load all that a Service carries is asked for by other clients.",
        ),
    ] = None,
    southbound: SouthboundOption = "",
    down: DownOption = None,
    json: Json = False,
) -> int:
    """Find a cluster's first bottleneck, the room of every resource, and what losing a node, card or gateway does.

    Exit code 1 if the load does not fit, or a Service is not served.
    """
    from ytwin.cluster import parse_traffic  # noqa: PLC0415
    from ytwin.cluster.report import to_json  # noqa: PLC0415

    if load and flows:
        raise YtwinError("--load and --flows both say what the cluster carries: give one of the two")
    if not load and not flows:
        raise YtwinError("say what the cluster carries: --load packets=50 k/s,..., or --flows FILE")
    if bool(paths) == bool(nodes):
        raise YtwinError("name files of a topology, or give --nodes to generate a cluster, one of the two")
    asked = _Asked(parse_traffic(load) if load else None, _flows(flows) if flows else ())
    given = [name for name in OF_GENERATED if _is_given(context, name)]
    if nodes:
        _refuse(southbound, down)
        if "gateways" not in given:
            gateways = min(gateways, nodes)
        elif not outside and not shared:
            raise YtwinError("--gateways: no Service here has an EIP; give --outside or --shared, or leave it out")
        found = _generated(
            nodes, services, backends, outside, shared, gateways, protocol, algorithm, affinity, seed, card
        )
    elif given:
        options = ", ".join(f"--{name}" for name in given)
        raise YtwinError(f"{options}: of a generated cluster only; leave out what files say, or give --nodes, no files")
    else:
        found = _surveyed(build_twin(paths or [], southbound, down), southbound, down or (), card or ())
    answers = [_answer(source, asked, lose or ()) for source in found]
    code = 0 if all(answer.found.fits for answer in answers) else 1
    output.decided(code)
    if json:
        output.print_json({"clusters": [to_json(a.title, a.found, a.losses, a.notes) for a in answers]})
    else:
        for number, answer in enumerate(answers):
            output.print_text("\n" * bool(number) + f"# {answer.title}")
            _print(answer)
        _print_spent()
    return code


@dataclass(frozen=True)
class _Asked:
    """What the cluster carries: one of the two."""

    traffic: Traffic | None
    flows: Sequence[Flow]


@dataclass(frozen=True)
class _Source:
    """A cluster that can be asked, whole or after the loss of nodes."""

    title: str
    loaded: Callable[[_Asked, str], tuple[Cluster, Offered]]
    """Under a load, without a node ("": with all)."""
    gateways: Mapping[str, str]
    """EipGateway -> the node where it is."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Answer:
    title: str
    found: Capacity
    losses: list[Loss]
    notes: tuple[str, ...]
    """Of the source."""


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether a user wrote the option, be it with its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _refuse(southbound: str, down: list[str] | None) -> None:
    if southbound or down:
        raise YtwinError("--southbound and --down are for a topology that is read, not for --nodes; use --lose")


def _flows(file: str) -> tuple[Flow, ...]:
    from ytwin.cluster import decode_flows  # noqa: PLC0415

    try:
        return decode_flows(file, Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror or str(error) if isinstance(error, OSError) else "not UTF-8 text"
        raise InvalidInput([Problem(Location(file), "unreadable", what, "name a CSV file")]) from error


def _generated(
    nodes: int,
    services: int,
    backends: int,
    outside: float,
    shared: float,
    gateways: int,
    protocol: str,
    algorithm: str,
    affinity: bool,
    seed: int,
    card: list[str] | None,
) -> list[_Source]:
    from ytwin.cli.cards import find_profiles  # noqa: PLC0415
    from ytwin.cluster import Size  # noqa: PLC0415

    if protocol.upper() not in ("TCP", "UDP"):
        raise YtwinError(f"--protocol {protocol!r}: TCP or UDP")
    if algorithm not in ("hash", "dpHash"):
        raise YtwinError(f"--algorithm {algorithm!r}: hash or dpHash")
    kinds = cast(Literal["TCP", "UDP"], protocol.upper()), cast(Literal["hash", "dpHash"], algorithm)
    size = Size(nodes, services, backends, outside, shared, gateways, *kinds, affinity, seed)
    profiles = find_profiles(card or [DEFAULT_CARD])
    text = f"{services * backends:,} backends, seed {seed}"
    return [_from_numbers(f"{p.name} in every node, {text}", size, p) for p in profiles.values()]


def _from_numbers(title: str, size: Size, profile: HardwareProfile) -> _Source:
    from ytwin import cluster as room  # noqa: PLC0415

    whole = pipeline.generated_cluster(size, profile)

    def loaded(asked: _Asked, lost: str) -> tuple[Cluster, Offered]:
        if asked.traffic is not None:
            cluster, offered = whole, room.offered(whole, asked.traffic)
        else:
            left, gone = room.without_clients(asked.flows, {lost} - {""})
            cluster, offered = room.generated_flows(whole, left)
            offered = replace(offered, notes=(*gone, *offered.notes))
        return (room.lose(cluster, lost) if lost else cluster), offered

    return _Source(title, loaded, {})


def _surveyed(twin: pipeline.Twin, southbound: str, down: Sequence[str], card: Sequence[str]) -> list[_Source]:
    from ytwin.cli.cards import sets_of_cards  # noqa: PLC0415
    from ytwin.cli.files import read_southbound_source  # noqa: PLC0415
    from ytwin.resources.model import EipGateway  # noqa: PLC0415

    gateways = {
        gateway.name: next((node for node in gateway.spec.nodes if node not in down), "")
        for gateway in twin.snapshot.all(EipGateway)
    }
    observed = read_southbound_source(southbound) if southbound else None
    return [_from_twin(one, gateways, observed, down) for one in sets_of_cards(twin, card, down)]


def _from_twin(
    cards: CardSet, gateways: Mapping[str, str], observed: Southbound | None, down: Sequence[str]
) -> _Source:
    from ytwin import cluster as room  # noqa: PLC0415
    from ytwin.datapath import limits_of  # noqa: PLC0415

    def loaded(asked: _Asked, lost: str) -> tuple[Cluster, Offered]:
        if {config.node for config in cards.twin.nodes} <= {*down, lost}:
            without = f" without {', '.join(filter(None, (*down, lost)))}" if down or lost else ""
            raise YtwinError(f"no node is left{without}: there is nothing to ask; lose fewer")
        # A reconciled snapshot compiles to the same, and standard input could not be read again.
        there = pipeline.build(cards.twin.snapshot, observed, (*down, lost)) if lost else cards.twin
        place = (there.snapshot, there.world, limits_of(there.nodes), cards.cards)
        if asked.traffic is not None:
            cluster = room.survey(*place)
            return cluster, room.offered(cluster, asked.traffic)
        left, gone = room.without_clients(asked.flows, {*down, lost} - {""})
        cluster, offered = room.surveyed_flows(*place, left)
        return cluster, replace(offered, notes=(*gone, *offered.notes))

    return _Source(cards.title, loaded, gateways, cards.notes)


def _answer(source: _Source, asked: _Asked, lose: Sequence[str]) -> _Answer:
    from ytwin.cluster import capacity as answer  # noqa: PLC0415
    from ytwin.cluster import most_loaded, without_offload  # noqa: PLC0415
    from ytwin.cluster.report import Loss  # noqa: PLC0415

    cluster, offered = source.loaded(asked, "")
    found = answer(cluster, offered)
    worst = most_loaded(found)
    wanted = [f"{kind}:{worst[kind]}" for kind in KINDS if kind in worst] if "each" in lose else []
    asked_for = [_loss(text, cluster, worst, source.gateways) for text in (*wanted, *lose) if text != "each"]
    losses = []
    for kind, node in dict.fromkeys(asked_for):  # different words may mean the same
        left = (without_offload(cluster, node), offered) if kind == "card" else source.loaded(asked, node)
        after = answer(*left)
        losses.append(Loss(f"{kind} of {node}" if kind == "card" else f"{node} ({kind})", after))
    return _Answer(source.title, found, losses, source.notes)


def _loss(text: str, cluster: Cluster, worst: Mapping[str, str], gateways: Mapping[str, str]) -> tuple[str, str]:
    """(kind, node)."""
    kind, _, name = text.partition(":")
    if not name and kind not in KINDS:
        kind, name = "node", kind
    if not name:
        if kind not in worst:
            raise YtwinError(f"--lose {text}: no {kind} carries anything here")
        name = worst[kind]
    if kind not in KINDS:
        raise YtwinError(f"--lose {text}: node17, card:node17, gateway, gateway:NAME or each")
    if kind == "gateway" and gateways:
        if name not in {**gateways, **dict.fromkeys(cluster.nodes)}:
            raise YtwinError(f"--lose {text}: no such EipGateway; {_meant(name, tuple(gateways))}")
        if not gateways.get(name, name):
            raise YtwinError(f"--lose {text}: none of its nodes is left; leave out --lose, or some --down")
        name = gateways.get(name, name)
    if name not in cluster.nodes:
        raise YtwinError(f"--lose {text}: no such node; {_meant(name, cluster.nodes)}")
    if kind == "card" and cluster.profiles[int(cluster.profile[cluster.nodes.index(name)])].eswitch is None:
        raise YtwinError(f"--lose {text}: nothing on {name} is offloaded; there is no such card")
    return kind, name


def _meant(name: str, known: Sequence[str]) -> str:
    meant = nearest(name, known)
    return f"did you mean {meant}?" if meant else f"there are {', '.join(known[:5])}{', ...' if len(known) > 5 else ''}"


def _print(answer: _Answer) -> None:
    from ytwin.cluster.capacity import notes  # noqa: PLC0415
    from ytwin.cluster.report import HEADER, LOSSES, loss_notes, loss_rows, rows, unserved, what_of, words  # noqa: PLC0415

    found = answer.found
    output.print_text(f"{words(found)}\n\n{what_of(found)}\n")
    lines = rows(found)
    output.print_table(
        HEADER, lines, [output.BAD if line[-1] == "the limit" and not found.fits else "" for line in lines]
    )
    if answer.losses:
        output.print_text("")
        output.print_table(LOSSES, loss_rows(answer.losses))
    parts: list[tuple[str, Sequence[str]]] = [
        ("notes", (*answer.notes, *notes(found), *loss_notes(found, answer.losses))),
        ("not served", unserved(found)),
        ("rests on", found.rests_on),
    ]
    for title, texts in parts:
        if texts:
            output.print_text(f"\n{title}:\n" + "\n".join(f"    {text}" for text in texts))


def _print_spent() -> None:
    """What the whole command took."""
    spent: Any = resource.getrusage(resource.RUSAGE_SELF)
    output.print_text(f"\n{spent.ru_utime + spent.ru_stime:.1f} s of processor, {spent.ru_maxrss / 1024:.0f} MiB")
