"""Tests marked `ovn` run where real OVN 23.03 is installed; YTWIN_REQUIRE_OVN=1 makes its absence a failure."""

from __future__ import annotations

import os
import signal

import pytest

from deployer.sandbox import why_no_reference


def pytest_configure() -> None:
    # A shell without job control starts background jobs with SIGINT ignored, and the programs that tests interrupt inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = "" if os.environ.get("YTWIN_REQUIRE_OVN") else why_no_reference()
    if reason:
        for item in items:
            if item.get_closest_marker("ovn"):
                item.add_marker(pytest.mark.skip(reason=reason))
