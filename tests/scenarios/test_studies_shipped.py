"""Every shipped study finds what it says that it expects, and says in a README what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import studies
from tests.unit.test_study_runs import run_in
from ytwin.cli.study import _job
from ytwin.runs import LocalWorkers
from ytwin.study.evaluate import evaluate
from ytwin.study.expect import broken, decode_expected


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(studies()))
def test_a_shipped_study_reproduces(name: str, tmp_path: Path):
    file = studies()[name]
    job, _ = _job(file, None)
    expected = file.with_name("expected.yaml")
    outcome = run_in(tmp_path, job, LocalWorkers(1, evaluate))
    assert not outcome.answer.failed, outcome.answer.failed[0].error
    assert broken(decode_expected(str(expected), expected.read_text()), outcome.answer) == ()


@pytest.mark.parametrize("name", sorted(studies()))
def test_a_shipped_study_is_described(name: str):
    text = studies()[name].with_name("README.md").read_text()
    assert f"ytwin study run {name}" in text
    for part in ("## Method", "## Expected", "## Limits"):
        assert part in text, part
