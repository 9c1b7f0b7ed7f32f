"""`ytwin offload`: which paths the nodes' cards take over, and what stops the others."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated

import typer

from ytwin import pipeline
from ytwin.cli import output
from ytwin.cli.clients import find_client
from ytwin.cli.commands import DownOption, Json, Paths, SouthboundOption, app, build_twin
from ytwin.core.errors import YtwinError
from ytwin.datapath.offload_types import Outcome
from ytwin.trace.types import Host
from ytwin.verify.expect import Target, targets
from ytwin.verify.paths import Wanted


class FailOn(StrEnum):
    """`--fail-on`: the mildest outcome that is a failure."""

    SOFTWARE = "software"
    FIRST_PACKET = "first-packet"


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
    unlike = {chassis: tuple(cards[chassis].name for cards in sets.values()) for chassis in twin.world.chassis}
    clients = (find_client(twin, client),) if client else None
    wanted = _wanted(twin, service) if service else None
    with output.progress("conversations") as progress:
        found = delivered(twin.snapshot, twin.world, limits_of(twin.nodes), unlike, clients, wanted, progress)
    compiled, rows = room.compiled(found, twin.world), Rows(twin.southbound)
    answers = {title: room.judged(compiled, cards, rows) for title, cards in sets.items()}
    total = sum((room.counts(answer) for answer in answers.values()), start=room.counts(()))
    code = int(_fails(fail_on, total))
    output.decided(code)
    if json:
        output.print_json({"sets": [room.to_json(title, answers[title], cards) for title, cards in sets.items()]})
        return code
    for title, cards in sets.items():
        lines = room.groups(answers[title], each)
        output.print_text(f"# {title}")
        output.print_table(room.HEADER, [room.row(line, cards) for line in lines])
        output.print_text(f"{_asked(room.counts(answers[title]))}\n")
    output.print_text(room.explained(one for answer in answers.values() for one in answer))
    return code


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
