"""`ytwin study`: run what-if studies, list those that come with ytwin, write a run's report again."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ytwin.cli import output
from ytwin.cli.commands import Json, app
from ytwin.cli.files import SUFFIXES, read_files
from ytwin.core.errors import YtwinError

if TYPE_CHECKING:  # `--help` stays quick
    from ytwin.runs import Store
    from ytwin.runs.run import Outcome
    from ytwin.study.evaluate import Job
    from ytwin.study.page import Made

SHIPPED = "ytwin.studies"
"""Entry point group of functions `() -> {name: file}`: the studies that packages bring."""

studies = typer.Typer(name="study", help="What-if studies: change topology, hardware and load; get an answer.")
app.add_typer(studies, name="study")

Out = Annotated[str, typer.Option("--out", metavar="DIR", help="Where results go; study-NAME if left out.")]


@studies.command("run")
def run_study(
    what: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A study's YAML, or the name of a shipped one.")],
    out: Out = "",
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=0, help="Processes; 0: one per core.")] = 0,
    cluster: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Scheduler of a Dask cluster, e.g. tcp://HOST:8786.")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in DIR; what is recorded there is not computed again.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="With --resume: compute again what failed.")] = False,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Instead of the study's own.")] = None,
    json: Json = False,
) -> int:
    """Run a study and write its answer, tables, plots and report. Exit code 1 if a point failed."""
    from ytwin.runs import DaskWorkers, Interrupted, LocalWorkers, Store, run  # noqa: PLC0415
    from ytwin.runs.workers import cores  # noqa: PLC0415
    from ytwin.study.evaluate import Memory, check_inputs, uncertain_numbers  # noqa: PLC0415

    file = _study_file(what)
    job, text = _job(file, seed)
    check_inputs(job)
    store = Store(Path(out or f"study-{job.study.name}"))
    memory = Memory()
    with store.locked():
        if store.used() and not resume:
            raise YtwinError(f"{store.folder} holds a run already; --resume goes on with it, or give another --out")
        _check_same_study(store, job)
        command = shlex.join(["ytwin", "study", "run", what, *(["--seed", str(seed)] if seed is not None else [])])
        store.describe(_description(job, text, command))
        workers = DaskWorkers(cluster) if cluster else LocalWorkers(jobs or cores())
        try:
            with output.progress("points") as progress:
                uncertain = partial(uncertain_numbers, job, memory=memory)
                outcome = run(job, store, workers, uncertain, progress, retry)
        except Interrupted as stop:
            again = shlex.join(["ytwin", "study", "run", what, "--out", str(store.folder), "--resume"])
            sys.stderr.write(f"stopped: {stop.recorded} points are recorded in {store.folder}; go on with: {again}\n")
            raise
        finally:
            workers.close()
        return _finish(store, job, outcome, text, command, json)


@studies.command("list")
def list_studies(json: Json = False) -> int:
    """The studies that come with ytwin."""
    from ytwin.study.definition import decode_study  # noqa: PLC0415

    found = [decode_study(str(file), _read(file)) for _, file in sorted(_shipped().items())]
    if json:
        output.print_json({"studies": [{"name": s.name, "question": s.spec.question, "file": s.file} for s in found]})
    else:
        output.print_table(("name", "question"), [(s.name, s.spec.question) for s in found])
    return 0


@studies.command("report")
def report_study(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A run's folder, finished or not.")], json: Json = False
) -> int:
    """Write a run's tables, plots and report again from what is recorded; nothing is computed but the answer."""
    from ytwin.runs import Store  # noqa: PLC0415
    from ytwin.runs.run import recorded  # noqa: PLC0415
    from ytwin.study.evaluate import Memory, uncertain_numbers  # noqa: PLC0415

    store, memory = Store(Path(folder)), Memory()
    about = store.description()
    job = _described(about)
    with store.locked():
        outcome = recorded(job, store, lambda settings: uncertain_numbers(job, settings, memory))
        return _finish(store, job, outcome, str(about["study"]), str(about["command"]), json)


def _check_same_study(store: Store, job: Job) -> None:
    """A folder's run.json is written anew, so going on there with another study would lose the first one's report."""
    if store.described() and (name := store.description().get("name", job.study.name)) != job.study.name:
        raise YtwinError(
            f"{store.folder} holds a run of the study {name}, not of {job.study.name}; give another --out, or the study {name}"
        )


def _finish(store: Store, job: Job, outcome: Outcome, text: str, command: str, json: bool) -> int:
    from ytwin.runs.export import REPORT, answer_to_json, export  # noqa: PLC0415
    from ytwin.study.page import Made, answer_table  # noqa: PLC0415
    from ytwin.study.words import sentences  # noqa: PLC0415

    wrong = _not_as_expected(job, outcome)
    made = Made(command, job.version, text, len(outcome.results), outcome.missing, wrong)
    export(store, job, outcome.answer, outcome.results, made)
    output.decided(1 if outcome.answer.failed or outcome.missing or wrong else 0)
    if json:
        output.print_json({**answer_to_json(outcome.answer, made), "report": str(store.folder / REPORT)})
        return output.decided()
    table = answer_table(outcome.answer, rows=MOST_PRINTED)
    output.print_text(f"{job.study.spec.question}\n\n")
    for sentence in sentences(outcome.answer):
        output.print_text(f"  {sentence}")
    output.print_text("")
    output.print_table(table.header, table.rows)
    if len(outcome.answer.rows) > MOST_PRINTED:
        output.print_text(f"... {len(outcome.answer.rows) - MOST_PRINTED} more in {store.folder / 'answer.csv'}")
    for sentence in wrong or ():
        output.print_text(f"\nnot as expected: {sentence}")
    output.print_text(f"\n{_counted(outcome, made)}\nreport: {store.folder / REPORT}")
    return output.decided()


MOST_PRINTED = 40


def _not_as_expected(job: Job, outcome: Outcome) -> tuple[str, ...] | None:
    """What expected.yaml beside the study says that is not so; None if there is none, or the answer is not whole."""
    from ytwin.study.expect import broken, decode_expected  # noqa: PLC0415

    file = Path(job.study.file).parent / "expected.yaml"
    if outcome.missing or not file.is_file():
        return None
    return broken(decode_expected(str(file), _read(file)), outcome.answer)


def _counted(outcome: Outcome, made: Made) -> str:
    failed = sum(1 for row in outcome.answer.rows if row.error)
    parts = [f"{made.points} points: {outcome.computed} computed, {outcome.reused} recorded before"]
    if outcome.unused:
        parts.append(f"{outcome.unused} recorded before are not of the study as it is now, and are not used")
    if made.missing:
        parts.append(f"{made.missing} missing: go on with --resume")
    if failed:
        parts.append(f"{failed} variants failed")
    if made.unexpected == ():
        parts.append("as expected")
    return "; ".join(parts)


def _study_file(what: str) -> Path:
    """A file, a folder with a study.yaml, or a shipped study's file."""
    path = Path(what)
    if path.is_dir() and (path / "study.yaml").is_file():
        return path / "study.yaml"
    if path.is_dir():
        raise YtwinError(f"{what}: there is no study.yaml in this folder; name a study's file")
    shipped = _shipped()
    if path.suffix in SUFFIXES or path.exists():
        return path
    if what in shipped:
        return shipped[what]
    raise YtwinError(f"{what!r} is no file, and no shipped study; there are {', '.join(sorted(shipped)) or 'none'}")


def _shipped() -> dict[str, Path]:
    return {name: Path(file) for point in entry_points(group=SHIPPED) for name, file in point.load()().items()}


def _read(file: Path) -> str:
    return read_files([str(file)])[str(file)]


def _job(file: Path, seed: int | None) -> tuple[Job, str]:
    """The study with everything that it reads."""
    from ytwin.runs.workers import version  # noqa: PLC0415
    from ytwin.study.definition import decode_study  # noqa: PLC0415

    text = _read(file)
    study = decode_study(str(file), text)
    if seed is not None:
        study = study.model_copy(update={"spec": study.spec.model_copy(update={"seed": seed})})

    def below(names: tuple[str, ...]) -> Mapping[str, str]:
        return read_files(_beside(file, name) for name in names) if names else {}

    return _job_of(study, below(study.spec.topology.files), below(study.spec.profiles), version()), text


def _beside(file: Path, name: str) -> str:
    """A path that the study names, seen from here."""
    path = Path(name)
    if path.is_absolute():
        return name
    joined = file.parent / path
    try:
        return str(joined.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(joined)


def _job_of(study: Any, topology: Mapping[str, str], profiles: Mapping[str, str], made_by: str) -> Job:
    from frozendict import frozendict  # noqa: PLC0415

    from ytwin.study.evaluate import Job  # noqa: PLC0415
    from ytwin.study.points import Inputs  # noqa: PLC0415

    return Job(study, Inputs(frozendict(topology), frozendict(profiles)), made_by)


def _description(job: Job, text: str, command: str) -> dict[str, Any]:
    return {
        "name": job.study.name,
        "command": command,
        "version": job.version,
        "seed": job.study.spec.seed,
        "file": job.study.file,
        "study": text,
        "topology": dict(job.inputs.topology),
        "profiles": dict(job.inputs.profiles),
    }


def _described(about: Mapping[str, Any]) -> Job:
    """The job of a run's folder, whatever became of the files."""
    from ytwin.study.definition import decode_study  # noqa: PLC0415

    kinds = {"command": str, "version": str, "seed": int, "file": str, "study": str}
    try:
        damaged = [name for name, kind in kinds.items() if not isinstance(about[name], kind)]
        damaged += [name for name in ("topology", "profiles") if not _are_texts(about[name])]
        if damaged:
            raise YtwinError(f"the run's description is damaged: {', '.join(damaged)}; run the study again")
        study = decode_study(about["file"], about["study"])
        study = study.model_copy(update={"spec": study.spec.model_copy(update={"seed": about["seed"]})})
        return _job_of(study, about["topology"], about["profiles"], about["version"])
    except KeyError as error:
        raise YtwinError(f"the run's description lacks {error}; it is of another version of ytwin") from error


def _are_texts(files: object) -> bool:
    """Whether it is file name -> text."""
    return isinstance(files, dict) and all(isinstance(text, str) for text in files.values())
