"""Runs: results on the disk, killed and resumed runs, processes that die, and the same numbers on a Dask cluster."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.study_cases import ROOT, Measure, article_job, dying, failing, job_of, queue, slow
from ytwin.core.errors import YtwinError
from ytwin.runs import DaskWorkers, Interrupted, LocalWorkers, Outcome, Store, run
from ytwin.runs.export import export
from ytwin.runs.store import MANY_FILES
from ytwin.runs.workers import Workers
from ytwin.study.evaluate import Job, Memory, evaluate
from ytwin.study.page import Made
from ytwin.study.points import Point

GRID = """
  parameters:
  - {path: load.rate, logRange: {from: 1 kpps, to: 10 Mpps, steps: 30}}
  - {path: load.flows, values: [1, 2]}
"""
SEARCH = """
  parameters: [{path: load.flows, values: [1, 2, 4]}]
  goal: {limit: {parameter: load.rate, from: 1 kpps, to: 100 Mpps, while: [latency_p99 < 1 ms]}}
"""


def run_in(folder: Path, job: Job, workers: Workers) -> Outcome:
    store = Store(folder)
    with store.locked():
        try:
            return run(job, store, workers, lambda _settings: ())
        finally:
            workers.close()


def tables(folder: Path, job: Job, outcome: Outcome) -> tuple[str, str]:
    """The two CSV files that a user gets."""
    made = Made("ytwin study run x", "0", "", len(outcome.results))
    export(Store(folder), job, outcome.answer, outcome.results, made)
    return (folder / "answer.csv").read_text(), (folder / "results.csv").read_text()


def test_columns_of_a_table_have_names_of_their_own(tmp_path: Path):
    """A parameter may be called as a text is, and a search has a limit and says what limits."""
    job = job_of(SEARCH.replace("path: load.flows", "path: load.flows, name: offload"))

    def offloading(job: Job, point: Point, memory: Memory) -> tuple[Mapping[str, float], Mapping[str, str]]:
        metrics, texts = queue(job, point, memory)
        return metrics, {**texts, "offload": "software"}

    for table in tables(tmp_path, job, run_in(tmp_path, job, LocalWorkers(1, offloading))):
        header = table.splitlines()[0].split(",")
        assert len(set(header)) == len(header)
    (row, *_) = csv.DictReader((tmp_path / "answer.csv").read_text().splitlines())
    assert (row["offload"], row["offload.text"], row["limit.text"]) == ("1", "software", "the queue")
    assert float(row["limit"]) > 9e5


@pytest.mark.parametrize("body", [GRID, SEARCH])
def test_a_second_run_computes_nothing(tmp_path: Path, body: str):
    first = run_in(tmp_path, job_of(body), LocalWorkers(1, queue))
    again = run_in(tmp_path, job_of(body), LocalWorkers(1, queue))
    assert (first.reused, again.computed, again.reused) == (0, 0, first.computed)
    assert again.answer.rows == first.answer.rows


def test_a_grown_study_computes_only_what_is_new(tmp_path: Path):
    run_in(tmp_path, job_of(GRID), LocalWorkers(1, queue))
    grown = run_in(tmp_path, job_of(GRID.replace("[1, 2]", "[1, 2, 3]")), LocalWorkers(1, queue))
    assert (grown.reused, grown.computed) == (60, 30)


def test_many_small_files_become_one(tmp_path: Path):
    store, job = Store(tmp_path), job_of(GRID)
    with store.locked():
        outcome = run(job, store, _OneByOne(), lambda _settings: ())
    assert len(outcome.results) == 60 > MANY_FILES
    assert len(list((tmp_path / "points").glob("*.parquet"))) == 1
    assert store.results() == outcome.results


class _OneByOne(LocalWorkers):
    def __init__(self) -> None:
        super().__init__(1, queue)

    def compute(self, job, points):  # type: ignore[no-untyped-def]  # as its base
        for point in points:
            yield from super().compute(job, (point,))


SCRIPT = """
import sys
from pathlib import Path
from tests.study_cases import job_of, slow
from tests.unit.test_study_runs import GRID, run_in
from ytwin.runs import LocalWorkers
run_in(Path(sys.argv[1]), job_of(GRID), LocalWorkers(int(sys.argv[2]), slow))
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_run_goes_on_and_repeats_nothing(tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch):
    log, folder = tmp_path / "log", tmp_path / "run"
    environment = {**os.environ, "STUDY_LOG": str(log), "PYTHONPATH": str(ROOT)}
    victim = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(jobs)], env=environment, cwd=ROOT, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while len(list(folder.glob("points/*.parquet"))) < 3 and time.monotonic() < deadline:
            assert victim.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
    finally:
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
    recorded = set(Store(folder).results())
    assert 3 <= len(recorded) < 60
    log.unlink()

    monkeypatch.setenv("STUDY_LOG", str(log))
    resumed = run_in(folder, job_of(GRID), LocalWorkers(1, slow))
    after = log.read_text().split()
    assert len(after) == len(set(after)) == resumed.computed == 60 - len(recorded)
    assert recorded.isdisjoint(after)
    whole = run_in(tmp_path / "whole", job_of(GRID), LocalWorkers(1, queue))
    assert tables(folder, job_of(GRID), resumed) == tables(tmp_path / "whole", job_of(GRID), whole)


def test_ctrl_c_keeps_what_came(tmp_path: Path):
    store, job = Store(tmp_path), job_of(GRID)

    class Stopped(_OneByOne):
        def compute(self, job, points):  # type: ignore[no-untyped-def]  # as its base
            for number, piece in enumerate(super().compute(job, points)):
                if number == 7:
                    raise KeyboardInterrupt
                yield piece

    with store.locked(), pytest.raises(Interrupted) as stop:
        run(job, store, Stopped(), lambda _settings: ())
    assert stop.value.recorded == 7
    assert run_in(tmp_path, job, LocalWorkers(1, queue)).reused == 7


def test_two_runs_in_one_folder_are_refused(tmp_path: Path):
    with Store(tmp_path).locked(), pytest.raises(YtwinError, match="another run writes here"), Store(tmp_path).locked():
        pass


def test_a_half_written_file_is_no_result(tmp_path: Path):
    run_in(tmp_path, job_of(GRID), LocalWorkers(1, queue))
    (tmp_path / "points" / "left.tmp").write_bytes(b"half")
    assert run_in(tmp_path, job_of(GRID), LocalWorkers(1, queue)).computed == 0
    assert not list((tmp_path / "points").glob("*.tmp"))
    (tmp_path / "points" / "broken.parquet").write_bytes(b"half")
    with pytest.raises(YtwinError, match="delete it"):
        run_in(tmp_path, job_of(GRID), LocalWorkers(1, queue))


FAILS = """
  settings: {load.rate: 1 kpps}
  parameters: [{path: load.flows, values: [1, 2, 3, 4, 5, 6, 7, 8]}]
"""


@pytest.mark.parametrize(("measure", "bad"), [(failing, {2, 3}), (dying, {3})])
def test_points_that_fail_or_kill_their_process_do_not_stop_the_others(tmp_path: Path, measure: Measure, bad: set[int]):
    outcome = run_in(tmp_path, job_of(FAILS), LocalWorkers(2, measure))
    assert {row.variant["load.flows"] for row in outcome.answer.failed} == bad
    assert len(outcome.answer.rows) == 8
    if measure is dying:
        assert "was killed" in outcome.answer.failed[0].error
    answer, _ = tables(tmp_path, job_of(FAILS), outcome)
    assert answer.count("\n") == 9
    assert "variants failed" in (tmp_path / "report.html").read_text()


def test_what_failed_is_tried_again_when_asked(tmp_path: Path):
    job, store = job_of(FAILS), Store(tmp_path)
    run_in(tmp_path, job, LocalWorkers(1, failing))
    assert run_in(tmp_path, job, LocalWorkers(1, queue)).computed == 0
    with store.locked():
        again = run(job, store, LocalWorkers(1, queue), lambda _settings: (), retry=True)
    assert again.computed == 2
    assert not again.answer.failed
    assert len(store.results()) == 8
    assert not run_in(tmp_path, job, LocalWorkers(1, failing)).answer.failed


ARTICLE = """
  parameters:
  - {path: nodes.*.card, name: card, values: [ovs-kernel, yusur-dpu-2x100g]}
  - {path: load.rate, values: [1 kpps, 1 Mpps]}
"""


def test_processes_and_a_dask_cluster_give_the_same_numbers(tmp_path: Path):
    distributed = pytest.importorskip("distributed")
    job = article_job(ARTICLE)
    alone = run_in(tmp_path / "alone", job, LocalWorkers(1, evaluate))
    local = run_in(tmp_path / "local", job, LocalWorkers(2, evaluate))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=40
    ) as cluster:
        far = run_in(tmp_path / "far", job, DaskWorkers(cluster.scheduler_address))
    expected = tables(tmp_path / "alone", job, alone)
    assert tables(tmp_path / "local", job, local) == expected
    assert tables(tmp_path / "far", job, far) == expected
    assert not alone.answer.failed


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path):
    pytest.importorskip("distributed")
    with pytest.raises(YtwinError, match="no Dask scheduler answers"):
        run_in(tmp_path, job_of(GRID), DaskWorkers("not an address"))


def test_what_a_run_leaves(tmp_path: Path):
    job = job_of(SEARCH)
    outcome = run_in(tmp_path, job, LocalWorkers(1, queue))
    tables(tmp_path, job, outcome)
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["answer"][0].startswith("With load.flows 4: load.rate can go up to 3.9")
    assert answer["rows"][0]["ending"] == "found"
    flat = pq.read_table(tmp_path / "results.parquet").to_pydict()
    assert len(flat["id"]) == len(outcome.results)
    assert set(flat["load.flows"]) == {1.0, 2.0, 4.0}
    pictures = list(tmp_path.glob("*.png"))
    assert pictures
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    page = (tmp_path / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") or "plotly" in page
    assert "load.rate can go up to" in page
