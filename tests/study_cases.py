"""What the tests of studies share: small studies, and evaluators whose answers are known."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from frozendict import frozendict

from ytwin.core.errors import YtwinError
from ytwin.runs.workers import compute
from ytwin.study.amounts import amount
from ytwin.study.definition import decode_study
from ytwin.study.evaluate import Job, Memory
from ytwin.study.goals import Answer, UncertainOf, answer
from ytwin.study.points import Asking, Inputs, Point, Result

ROOT = Path(__file__).resolve().parents[1]

Measure = Callable[[Job, Point, Memory], tuple[Mapping[str, float], Mapping[str, str]]]

HEAD = """
apiVersion: iaas.yusur.io/v1
kind: Study
metadata: {name: test}
spec:
  question: Does it work?
  topology: {files: [topology.yaml]}
  path: {from: client, to: service}
  load: {kind: packets, rate: 1 Mpps, flows: 1}
"""


def job_of(body: str, head: str = HEAD) -> Job:
    """A job whose study has this after the head; its inputs are nothing that an evaluator here reads."""
    return Job(decode_study("study.yaml", head + body), Inputs(), "0")


def article_files() -> dict[str, str]:
    """The topology of the article."""
    return {str(file): file.read_text() for file in sorted((ROOT / "topologies/article").glob("*.yaml"))}


def article_job(body: str, load: str = "{kind: packets, rate: 1 Mpps}") -> Job:
    """A job on the article's topology."""
    head = HEAD.replace("service}", "ysvc1}").replace("{kind: packets, rate: 1 Mpps, flows: 1}", load)
    return Job(decode_study("study.yaml", head + body), Inputs(frozendict(article_files())), "0")


def solve(
    job: Job, measure: Measure, uncertain: UncertainOf = lambda _settings: ()
) -> tuple[Answer, dict[str, Result]]:
    """A whole run in memory."""
    results: dict[str, Result] = {}
    while True:
        asking = Asking(job.study, job.base, results)
        found = answer(asking, uncertain)
        if not asking.missing:
            return found, results
        results.update((r.id, r) for r in compute(job, tuple(asking.missing.values()), measure))


def queue(_job: Job, point: Point, _memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """An M/M/1 queue of 1 Mpps per flow: time in system 1 / (mu - lambda), its 99th percentile ln(100) times that."""
    rate, flows = amount(point["load.rate"]), amount(dict(point.settings).get("load.flows", 1))
    assert rate is not None
    assert flows is not None
    capacity = 1e6 * flows.value
    if rate.value >= capacity:
        lost = 1 - capacity / rate.value
        return {"latency_p99_us": 1e6, "loss_ratio": lost}, {"limit": "the queue"}
    return {"latency_p99_us": math.log(100) / (capacity - rate.value) * 1e6, "loss_ratio": 0.0}, {"limit": "the queue"}


def noisy(_job: Job, point: Point, _memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """Noise that variants with one seed share, of a size that a point's own part is small beside."""
    shift = amount(point["load.flows"])
    assert shift is not None
    noise = (point.seed % 1000) / 10
    return {"latency_us": 100 + noise + shift.value}, {}


def slow(job: Job, point: Point, memory: Memory) -> tuple[Mapping[str, float], Mapping[str, str]]:
    """`queue` that takes a while and writes down that it ran, in the file that STUDY_LOG names."""
    with open(os.environ["STUDY_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{point.id}\n")
    time.sleep(0.02)
    return queue(job, point, memory)


def failing(job: Job, point: Point, memory: Memory) -> tuple[Mapping[str, float], Mapping[str, str]]:
    """`queue`, but two flows are refused, and three are a programming error."""
    flows = amount(point["load.flows"])
    assert flows is not None
    if flows.value == 2:
        raise YtwinError("two flows cannot be")
    if flows.value == 3:
        raise ZeroDivisionError("oh")
    return queue(job, point, memory)


def dying(job: Job, point: Point, memory: Memory) -> tuple[Mapping[str, float], Mapping[str, str]]:
    """`queue`, but three flows end the process, as a kernel does that is out of memory."""
    flows = amount(point["load.flows"])
    if flows is not None and flows.value == 3:
        os._exit(9)
    return queue(job, point, memory)
