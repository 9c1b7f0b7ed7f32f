"""`ytwin offload`: which paths the nodes' cards take over, and what stops the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ytwin import pipeline
from ytwin.cli import output
from ytwin.cli.clients import find_client
from ytwin.cli.commands import DownOption, Json, Paths, SouthboundOption, app, build_twin
from ytwin.core.errors import YtwinError
from ytwin.datapath.offload_types import OffloadVerdict, Outcome
from ytwin.datapath.program import Direction
from ytwin.resources.model import YusurService
from ytwin.trace.types import Host
from ytwin.verify.expect import Target, targets
from ytwin.verify.paths import Wanted

if TYPE_CHECKING:
    from ytwin.cli.cards import Cards
    from ytwin.performance.offload_cost import OffloadCost
    from ytwin.verify.offload import Judged


class FailOn(StrEnum):
    """`--fail-on`: the mildest outcome that is a failure."""

    SOFTWARE = "software"
    FIRST_PACKET = "first-packet"


COSTS = ("lost mpps", "added us", "first +us", "cores")
COSTS_MEAN = (
    "Costs are of a path, both directions, against cards that take over every packet (0 where there is none): packets of 64 B a "
    "second, one way latency of established and of first packets, and cores (of hosts and cards) at the rate software carries."
)


@app.command()
def offload(
    paths: Paths,
    card: Annotated[
        list[str] | None,
        typer.Option(
            "--card",
            metavar="PROFILE|FILE",
            help="Suppose this card in every node (see `ytwin profiles`); repeatable. Default: the NetworkCards.",
        ),
    ] = None,
    client: Annotated[str, typer.Option("--from", metavar="CLIENT", help="Only this client.")] = "",
    service: Annotated[
        str, typer.Option("--to", metavar="SERVICE", help="Only this Service: [NAMESPACE/]NAME[:PORT].")
    ] = "",
    each: Annotated[bool, typer.Option("--each", help="A row per path, not one for all that are alike.")] = False,
    fail_on: Annotated[
        FailOn | None, typer.Option("--fail-on", help="Exit code 1 if a path has this outcome, or a worse one.")
    ] = None,
    southbound: SouthboundOption = "",
    down: DownOption = None,
    json: Json = False,
) -> int:
    """Say for every delivered path whether the cards take it over; if not, by which rule, flow and row, and whose cores do it."""
    from ytwin.cli.cards import sets_of_cards  # noqa: PLC0415  # `--help` stays quick
    from ytwin.datapath import limits_of  # noqa: PLC0415
    from ytwin.datapath.rows import Rows  # noqa: PLC0415
    from ytwin.verify import offload as room  # noqa: PLC0415
    from ytwin.verify.paths import delivered  # noqa: PLC0415

    twin = build_twin(paths, southbound, down)
    sets = sets_of_cards(twin, card or ())
    profiles = {profile: n for n, profile in enumerate(p for cards in sets.values() for p in cards.values())}
    unlike = {chassis: tuple(profiles[cards[chassis]] for cards in sets.values()) for chassis in twin.world.chassis}
    kinds = {rule.when.port_kind for profile in profiles for rule in profile.offload}
    clients = (find_client(twin, client),) if client else None
    wanted = _wanted(twin, service) if service else None
    with output.progress("conversations") as progress:
        found = delivered(twin.snapshot, twin.world, limits_of(twin.nodes), unlike, clients, wanted, progress, kinds)
    compiled, rows = room.compiled(found, twin.world), Rows(twin.southbound)
    answers = {title: room.judged(compiled, cards, rows) for title, cards in sets.items()}
    total = sum((room.counts(answer) for answer in answers.values()), start=room.counts(()))
    code = int(_fails(fail_on, total))
    output.decided(code)
    if json:
        output.print_json(
            {"sets": [_to_json(twin, title, answers[title], each, cards) for title, cards in sets.items()]}
        )
        return code
    for title, cards in sets.items():
        lines = room.groups(answers[title], each)
        costs = _costs(twin, answers[title], lines, cards)
        output.print_text(f"# {title}")
        shown = [(*room.row(line, cards), *_shown(cost)) for line, cost in zip(lines, costs, strict=True)]
        output.print_table((*room.HEADER, *COSTS), shown)
        output.print_text(f"{_asked(room.counts(answers[title]))}\n")
    output.print_text(room.explained(one for answer in answers.values() for one in answer))
    output.print_text(f"\n{COSTS_MEAN}")
    return code


def _costs(
    twin: pipeline.Twin, found: Sequence[Judged], lines: Sequence[Sequence[Judged]], cards: Cards
) -> list[OffloadCost | None]:
    """Of each line's first path; None for replies, which share their path's."""
    from ytwin.performance.offload_cost import offload_cost  # noqa: PLC0415

    services = sum(1 for _ in twin.snapshot.all(YusurService))
    by_path: dict[tuple[str, ...], list[OffloadVerdict]] = defaultdict(list)
    for one in found:
        by_path[_path(one.verdict)].append(one.verdict)
    costs: list[OffloadCost | None] = []
    for first, *_ in lines:
        verdicts = by_path[_path(first.verdict)]
        programs = [program for verdict in verdicts for program in verdict.programs]
        forward = first.verdict.direction is Direction.FORWARD
        costs.append(offload_cost(programs, verdicts, cards, services)[0] if forward else None)
    return costs


def _path(verdict: OffloadVerdict) -> tuple[str, ...]:
    return verdict.client, verdict.destination, verdict.backend, verdict.protocol


def _shown(cost: OffloadCost | None) -> tuple[str, ...]:
    if cost is None:
        return ("",) * len(COSTS)
    first_us = cost.as_is.first_us - cost.everything.first_us
    return tuple(
        f"{n:.3g}" if abs(n) >= 5e-4 else "0" for n in (cost.lost_mpps, cost.added_us, first_us, cost.added_cores)
    )


def _to_json(twin: pipeline.Twin, title: str, found: Sequence[Judged], each: bool, cards: Cards) -> dict[str, Any]:
    """Verdicts and rules, and the costs of one path of each kind, as the table has them."""
    from ytwin.verify import offload as room  # noqa: PLC0415

    lines = room.groups(found, each)
    costs = [
        {
            "client": cost.client,
            "destination": cost.destination,
            "backend": cost.backend,
            "reasons": list(room.codes(line[0].verdict)),
            "lost_mpps": cost.lost_mpps,
            "added_us": cost.added_us,
            "first_added_us": cost.as_is.first_us - cost.everything.first_us,
            "added_cores": cost.added_cores,
            "at_mpps": cost.at_mpps,
            "as_is": asdict(cost.as_is),
            "everything_offloaded": asdict(cost.everything),
            "nothing_offloaded": asdict(cost.nothing),
        }
        for line, cost in zip(lines, _costs(twin, found, lines, cards), strict=True)
        if cost is not None
    ]
    return {**room.to_json(title, found, cards), "costs": costs}


def _wanted(twin: pipeline.Twin, text: str) -> Wanted:
    """The Service's addresses, or one port of it."""
    name, _, port = text.partition(":")
    known = list(targets(twin.snapshot))
    named = [t for t in known if t.service == name or t.service.endswith(f"/{name}")]
    fitting = {t for t in named if port in ("", str(t.port))}
    if not fitting:
        offered = sorted({f"{t.service}:{t.port}" for t in named or known})
        raise YtwinError(f"--to {text}: no such Service or port; there are {', '.join(offered) or 'none'}")

    def wanted(_client: Host, target: Target) -> bool:
        return target in fitting

    return wanted


def _fails(fail_on: FailOn | None, total: Counter[Outcome]) -> bool:
    if fail_on is None:
        return False
    return bool(total[Outcome.SOFTWARE] or (fail_on is FailOn.FIRST_PACKET and total[Outcome.FIRST_SOFTWARE]))


def _asked(total: Counter[Outcome]) -> str:
    listed = ", ".join(f"{total[outcome]} {outcome}" for outcome in Outcome if total[outcome])
    return f"asked {total.total()} (a client, an address and port), by the worst of backends and directions: {listed or 'none'}"
