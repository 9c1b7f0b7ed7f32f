"""What a cell says of a conversation in which some backends fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ytwin import pipeline
from ytwin.trace import Tracer
from ytwin.trace.types import Verdict
from ytwin.verify.answers import said
from ytwin.verify.expect import targets

ARTICLE = Path(__file__).parents[2] / "topologies" / "article"


@pytest.mark.parametrize(
    ("failing", "begins"), [((), ""), ((0,), "1 of 2 backends fails: "), ((0, 1), "")], ids=["none", "one", "all"]
)
def test_some_failing_backends_are_counted(failing: tuple[int, ...], begins: str) -> None:
    twin = pipeline.build(pipeline.read({str(p): p.read_text() for p in sorted(ARTICLE.glob("*.yaml"))}))
    client = next(host for host in twin.world.hosts if host.name.endswith("/client"))
    target = next(targets(twin.snapshot))
    answer = Tracer(twin.world).converse(client, target.address, target.port, target.protocol)
    paths = tuple(
        replace(path, verdict=Verdict.DROPPED) if index in failing else path for index, path in enumerate(answer.paths)
    )
    assert said(replace(answer, paths=paths)) == begins + answer.reason
