"""A small calibration from end to end, on a real lab."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

try:
    from deployer.calibrate import tools
    from deployer.calibrate.run import TOPOLOGY, Options, run
    from deployer.lab import lab_names, why_no_lab
except ImportError as error:
    _REASON = str(error)
else:
    _REASON = why_no_lab() or tools.why_not()

from ytwin import pipeline
from ytwin.hardware import decode_profiles, shipped

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(_REASON) and not os.environ.get("YTWIN_REQUIRE_LAB"), reason=f"no lab: {_REASON}"),
]


@pytest.mark.slow
@pytest.mark.usefixtures("lab_root")
def test_a_small_calibration_measures_fits_and_leaves_nothing() -> None:
    steps: list[tuple[int, int]] = []
    snapshot = pipeline.read({"t.yaml": TOPOLOGY.read_text(encoding="utf-8")})
    options = Options(cells=8, calibrate_on=4, repeat=1, seed=1)
    found = run(snapshot, options, lambda done, total: steps.append((done, total)))
    assert len(found.rows) == 8
    assert all(value > 0 for row in found.rows for value in row.measured.values)
    assert steps[-1][0] == steps[-1][1] >= 8
    assert decode_profiles({"p.yaml": found.to_yaml()}, known=shipped())
    assert found.fit["lab-netdev.slow_path.wakeup_time"].value > 0
    assert not lab_names()
    assert os.getpriority(os.PRIO_PROCESS, 0) == 0
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.slow
@pytest.mark.usefixtures("lab_root")
def test_interrupted_it_leaves_nothing() -> None:
    command = [sys.executable, "-m", "ytwin", "calibrate", "--target", "mininet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 30
    while not _measuring() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _measuring()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130, out
    assert "Traceback" not in out
    assert not lab_names()
    assert not _measuring()


def _measuring() -> list[str]:
    """Measuring programs that run in a lab of this test."""
    mine = f"YTWIN_LAB_ROOT={os.environ['YTWIN_LAB_ROOT']}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                named = (entry / "comm").read_text().strip() in tools.PACKAGES
                if named and mine in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(entry.name)
            except OSError:
                continue
    return found
