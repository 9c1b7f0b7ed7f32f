"""Labs of the tests: each in a directory of its own, gone afterwards. YTWIN_REQUIRE_LAB=1 makes their absence a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.lab import lab_names, why_no_lab
from deployer.lab.state import LabState


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = "" if os.environ.get("YTWIN_REQUIRE_LAB") else why_no_lab()
    if reason:
        for item in items:
            if item.get_closest_marker("lab"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def lab_root(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this test's labs are; short, because sockets are below it."""
    root = Path("/tmp") / f"yl{os.getpid()}-{tmp_path_factory.getbasetemp().stat().st_ino}"
    monkeypatch.setenv("YTWIN_LAB_ROOT", str(root))
    yield root
    for name in lab_names():
        LabState.open(name).destroy()
    assert not root.exists()
