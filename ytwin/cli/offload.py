"""`ytwin offload`: which paths the nodes' cards take over, and what stops the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ytwin import pipeline
from ytwin.cli import output
from ytwin.cli.clients import find_client, split_port
from ytwin.cli.commands import DownOption, Json, Paths, SouthboundOption, app, build_twin
from ytwin.core.errors import YtwinError
from ytwin.datapath.offload_types import OffloadVerdict, Outcome
from ytwin.datapath.program import Direction
from ytwin.resources.model import YusurService
from ytwin.trace.types import Host
from ytwin.verify.expect import Target, targets

if TYPE_CHECKING:
    from ytwin.cli.cards import Cards, CardSet
    from ytwin.performance.offload_cost import OffloadCost
    from ytwin.verify.offload import Judged, Missing


class FailOn(StrEnum):
    """`--fail-on`: the mildest outcome that is a failure."""

    SOFTWARE = "software"
    FIRST_PACKET = "first-packet"


COSTS = ("lost mpps", "added us", "first +us", "cores")
MOST_LISTED: Final = 20
"""Notes on what is not delivered; more nobody reads."""
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
        FailOn | None,
        typer.Option("--fail-on", help="Exit code 1 if a path has this outcome, or a worse one, or does not arrive."),
    ] = None,
    southbound: SouthboundOption = "",
    down: DownOption = None,
    json: Json = False,
) -> int:
    """Say for every delivered path whether the cards take it over; if not, by which rule, flow and row, and whose cores do it."""
    from ytwin.cli.cards import sets_of_cards  # noqa: PLC0415  # `--help` stays quick
    from ytwin.verify import offload as room  # noqa: PLC0415

    twin = build_twin(paths, southbound, down)
    sets = sets_of_cards(twin, card or (), down or ())
    answers = _answers(sets, client, _fitting(twin, service) if service else None)
    total = sum((room.counts(answer.judged) for answer in answers), start=room.counts(()))
    code = int(_fails(fail_on, total, [one for answer in answers for one in answer.missing]))
    output.decided(code)
    if json:
        output.print_json({"sets": [_to_json(answer, each) for answer in answers]})
        return code
    for answer in answers:
        _print(answer, each)
    output.print_text(room.explained(one for answer in answers for one in answer.judged))
    output.print_text(f"\n{COSTS_MEAN}")
    return code


@dataclass(frozen=True)
class _Answer:
    """Of one set of cards."""

    on: CardSet
    judged: tuple[Judged, ...]
    missing: tuple[Missing, ...]


def _answers(sets: Sequence[CardSet], client: str, fitting: Set[Target] | None) -> list[_Answer]:
    """In the order of the sets. Those with the same twin share its walks; of no `client`, all kinds of them are asked."""
    from ytwin.cli.cards import by_twin  # noqa: PLC0415
    from ytwin.datapath import limits_of  # noqa: PLC0415
    from ytwin.datapath.rows import Rows  # noqa: PLC0415
    from ytwin.verify import offload as room  # noqa: PLC0415
    from ytwin.verify.paths import promised  # noqa: PLC0415

    def wanted(_client: Host, target: Target) -> bool:
        return fitting is None or target in fitting

    found: dict[str, _Answer] = {}
    for twin, group in by_twin(sets):
        profiles = {profile: n for n, profile in enumerate(p for one in group for p in one.cards.values())}
        unlike = {chassis: tuple(profiles[one.cards[chassis]] for one in group) for chassis in twin.world.chassis}
        kinds = {rule.when.port_kind for profile in profiles for rule in profile.offload}
        clients, limits = (find_client(twin, client),) if client else None, limits_of(twin.nodes)
        with output.progress("conversations") as progress:
            asked = promised(twin.snapshot, twin.world, limits, unlike, clients, wanted, progress, kinds)
        missing = room.missing(asked, limits)
        if not asked and clients is not None:
            listed = targets(twin.snapshot) if fitting is None else sorted(fitting, key=str)
            missing = room.unpromised(twin.snapshot, clients, listed)
        compiled, rows = room.compiled(asked, twin.world), Rows(twin.southbound)
        found |= {one.title: _Answer(one, room.judged(compiled, one.cards, rows), missing) for one in group}
    return [found[one.title] for one in sets]


def _print(answer: _Answer, each: bool) -> None:
    from ytwin.verify import offload as room  # noqa: PLC0415

    on, judged = answer.on, answer.judged
    lines = room.groups(judged, each)
    costs = _costs(on.twin, judged, lines, on.cards)
    output.print_text(f"# {on.title}")
    shown = [(*room.row(line, on.cards), *_shown(cost)) for line, cost in zip(lines, costs, strict=True)]
    output.print_table((*room.HEADER, *COSTS), shown)
    output.print_text(f"{_asked(room.counts(judged))}")
    told = [*on.notes, *map(str, answer.missing[:MOST_LISTED])]
    told += [] if judged or told else ["nobody asks: no client is left, or there is no such Service"]
    told += [f"and {len(answer.missing) - MOST_LISTED} more"] if len(answer.missing) > MOST_LISTED else []
    output.print_text("".join(f"note: {text}\n" for text in told))


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


def _to_json(answer: _Answer, each: bool) -> dict[str, Any]:
    """Verdicts and rules, the costs of one path of each kind, as the table has them, and what is not delivered."""
    from ytwin.verify import offload as room  # noqa: PLC0415

    on, found = answer.on, answer.judged
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
        for line, cost in zip(lines, _costs(on.twin, found, lines, on.cards), strict=True)
        if cost is not None
    ]
    missing = [
        {"client": c, "service": s, "destination": d, "reason": m.reason, "wholly": m.wholly}
        for m in answer.missing
        for c, s, d in m.questions
    ]
    told = {"costs": costs, "missing": missing, "notes": list(on.notes)}
    return {**room.to_json(on.title, found, on.cards), **told}


def _fitting(twin: pipeline.Twin, text: str) -> set[Target]:
    """The Service's addresses, or one of them, or one port."""
    name, port = split_port(text)
    known = list(targets(twin.snapshot))
    named = [t for t in known if t.service == name or t.service.endswith(f"/{name}") or t.address == name]
    fitting = {t for t in named if port in (0, t.port)}
    if not fitting:
        offered = sorted({f"{t.service}:{t.port}" for t in named or known})
        raise YtwinError(f"--to {text}: no such Service or port; there are {', '.join(offered) or 'none'}")
    return fitting


def _fails(fail_on: FailOn | None, total: Counter[Outcome], missing: Sequence[Missing]) -> bool:
    """What is not delivered at all is worse than any outcome. If nothing is, there is no answer, whatever is a failure."""
    lost = any(one.wholly for one in missing)
    if fail_on is None or not total:
        return not total and (lost or fail_on is not None)
    return bool(lost or total[Outcome.SOFTWARE] or (fail_on is FailOn.FIRST_PACKET and total[Outcome.FIRST_SOFTWARE]))


def _asked(total: Counter[Outcome]) -> str:
    listed = ", ".join(f"{total[outcome]} {outcome}" for outcome in Outcome if total[outcome])
    return f"asked {total.total()} (a client, an address and port), by the worst of backends and directions: {listed or 'none'}"
