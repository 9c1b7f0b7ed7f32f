"""`ytwin deploy`: show a plan, apply exactly it, look for drift, take everything away again, hold the twin against the wire.

Exit codes as everywhere: 0 nothing to do, or done, or it holds; 1 there is something to do, or a difference; 2 not possible.
"""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ytwin.cli import output
from ytwin.cli.files import read_files
from ytwin.core.errors import YtwinError

if TYPE_CHECKING:  # a target's libraries are loaded when a command runs, so that `ytwin --help` stays quick
    from deployer.plans import SavedPlan
    from deployer.target import Target
    from ytwin.pipeline import Twin

app = typer.Typer(
    name="deploy",
    help="Make a topology real, reviewably: on any OVN Northbound, or as a lab on this machine.",
    no_args_is_help=True,
)


class TargetName(StrEnum):
    """`--target`."""

    MININET = "mininet"
    OVSDB = "ovsdb"
    FAKE = "fake"


Paths = Annotated[list[str], typer.Argument(metavar="PATH...", help="Files or folders of YAML.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
TargetOption = Annotated[TargetName, typer.Option("--target", help="Where: a lab here, a Northbound, a trial.")]
Deployment = Annotated[str, typer.Option(help="Name of the deployment; rows of other names are never touched.")]
Db = Annotated[
    str,
    typer.Option(
        envvar="OVN_NB_DB",
        metavar="REMOTE",
        help="ovsdb: unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT; a cluster by commas.",
    ),
]
PrivateKey = Annotated[str, typer.Option(envvar="YTWIN_PRIVATE_KEY", metavar="FILE", help="ssl: PEM file of our key.")]
Certificate = Annotated[
    str, typer.Option(envvar="YTWIN_CERTIFICATE", metavar="FILE", help="ssl: PEM file of our certificate.")
]
CaCert = Annotated[str, typer.Option(envvar="YTWIN_CA_CERT", metavar="FILE", help="ssl: PEM file of whom to trust.")]
Lab = Annotated[str, typer.Option(metavar="NAME", help="mininet: which lab.")]
FakeFile = Annotated[str, typer.Option("--file", metavar="FILE", help="fake: where it keeps its state.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to keep trying while a server is away.")]
Down = Annotated[
    list[str] | None, typer.Option("--down", metavar="NODE", help="Suppose this node is lost; repeatable.")
]
Out = Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Save the plan here, for `deploy apply FILE`.")]


@dataclass(frozen=True)
class Place:
    """Where a command works: a target's name, and what it takes to reach it."""

    name: TargetName
    options: dict[str, Any]

    @contextmanager
    def opened(self) -> Iterator[Target]:
        """The target, closed afterwards. YtwinError if it cannot be reached."""
        from deployer.targets import TargetOptions, open_target  # noqa: PLC0415 - see above

        target = open_target(self.name.value, TargetOptions(**self.options))
        try:
            yield target
        finally:
            target.close()


def _place(
    target: TargetOption,
    deployment: Deployment = "default",
    db: Db = "",
    private_key: PrivateKey = "",
    certificate: Certificate = "",
    ca_cert: CaCert = "",
    lab: Lab = "",
    file: FakeFile = "",
    timeout_s: Timeout = 60.0,
) -> Place:
    """The options that every command has which works on a target."""
    options = {"deployment": deployment, "db": db, "private_key": private_key, "certificate": certificate}
    return Place(target, {**options, "ca_cert": ca_cert, "lab": lab, "file": file, "timeout_s": timeout_s})


def _at_target(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command, in place of its parameter `target: Place`, the options of `_place`.

    Typer reads options from a signature and knows no groups of them, so the two signatures are joined.
    """
    own = [p for p in signature(command, eval_str=True).parameters.values() if p.name != "target"]
    options = list(signature(_place, eval_str=True).parameters.values())
    names = [option.name for option in options]

    @wraps(command)
    def joined(**given: Any) -> int:
        place = _place(**{name: given.pop(name) for name in names})
        return command(target=place, **given)

    # Annotated types, as objects: what stands in `__annotations__` is read before the signature.
    parameters = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in (*own, *options)]
    joined.__signature__ = Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    joined.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return joined


def _twin(paths: list[str], down: list[str] | None = None) -> Twin:
    from ytwin import pipeline  # noqa: PLC0415 - see above

    return pipeline.build(pipeline.read(read_files(paths)), None, down or ())


def _plan_for(target: Target, paths: list[str]) -> SavedPlan:
    from deployer import plans  # noqa: PLC0415 - see above
    from deployer.target import desired  # noqa: PLC0415 - see above

    return plans.make_plan(target, desired(_twin(paths), target))


def _plan_file(paths: list[str]) -> SavedPlan | None:
    """The saved plan, if that is what the user named."""
    from deployer import plans  # noqa: PLC0415 - see above

    path = Path(paths[0])
    if len(paths) != 1 or not path.is_file() or path.suffix in (".yaml", ".yml"):
        return None
    try:
        value = json_text.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_plan = isinstance(value, dict) and value.get("format") == plans.FORMAT
    return plans.from_json(value, paths[0]) if is_plan else None


def _show(plan: SavedPlan, notes: tuple[str, ...]) -> None:
    from deployer import plans  # noqa: PLC0415 - see above

    output.print_text(f"{plan.target} {plan.place}")
    output.print_text(str(plans.review(plan.changes)))
    for note in notes:
        output.print_text(f"note: {note}")


def _as_json(plan: SavedPlan, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    from deployer import plans  # noqa: PLC0415 - see above

    about = {"target": plan.target, "place": plan.place, "observed": plan.observed, "goal": plan.goal}
    return {**about, **plans.review(plan.changes).to_json(), "notes": list(notes)}


def _confirmed(question: str, yes: bool) -> bool:
    """Whether to go on: a person at a terminal is asked, a script has said so by running the command."""
    return yes or not sys.stdin.isatty() or typer.confirm(question, err=True)


@app.command()
@_at_target
def plan(
    paths: Paths,
    target: Place,
    out: Out = "",
    json: Json = False,
) -> int:
    """Show what apply would do, and save it. Exit code 1 if it would do anything."""
    from deployer import plans  # noqa: PLC0415 - see above

    with target.opened() as opened:
        made = _plan_for(opened, paths)
        notes = opened.notes(made.changes)
    if out:
        plans.save(made, out)
    if json:
        output.print_json(_as_json(made, notes))
    else:
        _show(made, notes)
    return 1 if len(made.changes) else 0


@app.command()
@_at_target
def apply(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...|PLAN", help="Files or folders of YAML, or a saved plan.")
    ],
    target: Place,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Apply exactly a saved plan, or refuse it if what is there has moved; or plan, show, ask, and apply.

    Interrupted, it can simply be run again.
    """
    from deployer import plans  # noqa: PLC0415 - see above

    saved = _plan_file(paths)
    with target.opened() as opened:
        if saved is not None:
            done = plans.apply_saved(opened, saved)
        else:
            saved = _plan_for(opened, paths)
            done = bool(len(saved.changes))
            notes = opened.notes(saved.changes)
            if not json:
                _show(saved, notes)
            if done and not _confirmed("Apply this?", yes):
                return 1
            opened.apply(saved.changes)
    if json:
        output.print_json({**_as_json(saved), "applied": done})
    else:
        output.print_text(f"applied {len(saved.changes)} changes" if done else "nothing to do")
    return 0


@app.command()
@_at_target
def drift(
    paths: Paths,
    target: Place,
    json: Json = False,
) -> int:
    """Compare what is there with what should be. Exit code 1 if they differ."""
    from deployer import plans  # noqa: PLC0415 - see above
    from deployer.target import desired  # noqa: PLC0415 - see above
    from ytwin.core.plan import diff  # noqa: PLC0415 - see above

    with target.opened() as opened:
        goal = desired(_twin(paths), opened)
        changes = diff(goal, opened.snapshot())
        place = f"{opened.name} {opened.place}"
    found = plans.review(changes)
    if json:
        output.print_json({"place": place, "drift": bool(len(changes)), **found.to_json()})
    elif len(changes):
        output.print_text(f"{place} has drifted; from what should be to what is:\n{found}")
    else:
        output.print_text(f"{place}: no drift")
    return 1 if len(changes) else 0


@app.command()
@_at_target
def destroy(
    target: Place,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Remove all that the deployment owns, and nothing else."""
    with target.opened() as opened:
        place = f"{opened.name} {opened.place}"
        try:
            owned = _counts(opened)
            what = ", ".join(f"{n} {table}" for table, n in owned.items()) or "nothing"
        except YtwinError as error:  # a broken lab must be destroyed all the same; an unreachable database fails below
            owned, what = None, f"all of it (it cannot be read: {error})"
        if not json:
            output.print_text(f"{place}: {what}")
        if owned != {} and not _confirmed("Destroy this?", yes):
            return 1
        opened.destroy()
    if json:
        output.print_json({"place": place, "destroyed": owned})
    else:
        output.print_text("destroyed")
    return 0


@app.command()
@_at_target
def status(
    target: Place,
    json: Json = False,
) -> int:
    """How much of each kind the deployment has there."""
    with target.opened() as opened:
        place, owned = f"{opened.name} {opened.place}", _counts(opened)
    if json:
        output.print_json({"place": place, "deployed": bool(owned), "entries": owned})
    else:
        output.print_text(place)
        output.print_table(("table", "entries"), list(owned.items()))
    return 0


def _counts(target: Target) -> dict[str, int]:
    counts: dict[str, int] = {}
    for key in target.snapshot():
        counts[key.table] = counts.get(key.table, 0) + 1
    return dict(sorted(counts.items()))


@app.command()
def verify(
    paths: Paths,
    target: TargetOption,
    lab: Lab = "",
    deployment: Deployment = "default",
    all_clients: Annotated[bool, typer.Option("--all-clients", help="Every host asks.")] = False,
    down: Down = None,
    junit: Annotated[str, typer.Option(metavar="FILE", help="Write the result as JUnit XML too.")] = "",
    evidence: Annotated[str, typer.Option(metavar="FOLDER", help="Keep evidence of differences here.")] = "",
    capture: Annotated[bool, typer.Option("--capture", help="Capture packets of cells that differ.")] = False,
    json: Json = False,
) -> int:
    """Send real traffic for every cell of `ytwin check`, and compare with the twin's answers. Exit code 1 if any differs."""
    if target is not TargetName.MININET:
        raise YtwinError(f"traffic needs hosts to send it: --target mininet, not {target.value}")
    from deployer.targets import TargetOptions  # noqa: PLC0415 - see above
    from deployer.targets.mininet import open_lab  # noqa: PLC0415 - see above
    from deployer.wire import Options, verify_wire  # noqa: PLC0415 - see above

    twin = _twin(paths, down)
    options = Options(exhaustive=all_clients, evidence=Path(evidence) if evidence else None, capture=capture)
    with output.progress("cells") as progress:
        report = verify_wire(open_lab(TargetOptions(deployment=deployment, lab=lab)), twin, options, progress)
    if junit:
        from deployer.plans import write_whole  # noqa: PLC0415 - see above

        write_whole(junit, report.to_junit())
    if json:
        output.print_json(report.to_json())
    else:
        output.print_text(str(report))
    return 0 if report.holds else 1
