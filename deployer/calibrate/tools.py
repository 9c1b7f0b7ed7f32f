"""The measuring programs: what they are called with, and what they answer.

qperf (one request at a time per connection, one server per connection) and iperf3 (bulk TCP, one process for all streams).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deployer.calibrate.cells import Metric
from deployer.calibrate.machine import before_others, children_on
from deployer.calibrate.paths import BULK_PORT, CONTROL_PORT, DATA_PORT, MeasuredPath
from deployer.lab import Lab, LabError
from deployer.lab.net import LabHost
from deployer.lab.requirements import binary

PACKAGES: Final = {"qperf": "qperf", "iperf3": "iperf3"}  # program -> Debian package
REQUEST_BYTES: Final = 64
CONGESTION: Final = "reno"
"""Present in every kernel, and without pacing: nothing but the window holds a stream back."""
_START_S = 5.0
_POLL_S = 0.005
_SECONDS_PER = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "sec": 1.0}
_GATE = 'read -r _ ; exec "$@" </dev/null'
_LATENCY = re.compile(r"latency\s*=\s*([\d.]+) (ns|us|ms|sec)")


def why_not() -> str:
    """Which programs are missing, and how to get them; "" if all are there."""
    missing = sorted(package for program, package in PACKAGES.items() if shutil.which(binary(program)) is None)
    if not missing:
        return ""
    return f"not installed: {', '.join(missing)}; on Debian or Ubuntu: apt-get install {' '.join(missing)}"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements are made."""

    lab: Lab
    core: int
    seconds: int = 1
    """Of traffic, per measurement: qperf knows whole ones only."""


def measure(bench: Bench, path: MeasuredPath, metric: Metric) -> float:
    """One measurement, in the metric's unit. LabError says what went wrong; no process of it is left in any case."""
    client, backend = bench.lab.host(path.client), bench.lab.host(path.backend)
    servers, clients = _commands(path.address, metric, bench.seconds)
    with ExitStack() as stack:
        _started(stack, bench, backend, [command for _, command in servers], subprocess.DEVNULL)
        for port, _ in servers:
            _until_listening(backend, port)
        running = _started_together(stack, bench, client, clients)
        deadline = time.monotonic() + bench.seconds + _START_S
        answers = [_answer(process, deadline) for process in running]
    if metric.bulk:
        return bulk_gbit_per_s(answers[0])
    return sum(1 / (2 * latency_s(answer)) for answer in answers)


def _commands(address: str, metric: Metric, seconds: int) -> tuple[list[tuple[int, list[str]]], list[list[str]]]:
    """(port, server) of each server, and the clients."""
    if metric.bulk:
        server = ["iperf3", "--server", "--one-off", "--port", str(BULK_PORT)]
        client = ["iperf3", "--client", address, "--port", str(BULK_PORT), "--time", str(seconds), "--json"]
        window = ["--window", str(metric.window_bytes), "--congestion", CONGESTION]
        return [(BULK_PORT, server)], [[*client, "--parallel", str(metric.connections), *window]]
    servers, clients = [], []
    for i in range(metric.connections):
        control, data = str(CONTROL_PORT + i), str(DATA_PORT + i)
        servers.append((CONTROL_PORT + i, ["qperf", "--listen_port", control]))
        size = ["--time", str(seconds), "--msg_size", str(REQUEST_BYTES), "--precision", "6"]
        clients.append(["qperf", address, "--listen_port", control, "--ip_port", data, *size, "tcp_lat"])
    return servers, clients


def _started_together(
    stack: ExitStack, bench: Bench, host: LabHost, commands: list[list[str]]
) -> list[subprocess.Popen[str]]:
    """Processes that all begin at one moment: else the first would have the core to themselves."""
    reading, writing = os.pipe()
    try:
        gated = [["sh", "-c", _GATE, "sh", binary(command[0]), *command[1:]] for command in commands]
        return _started(stack, bench, host, gated, reading)
    finally:
        os.close(reading)
        os.close(writing)  # the gate opens: every reader sees the end


def _started(
    stack: ExitStack, bench: Bench, host: LabHost, commands: list[list[str]], stdin: int
) -> list[subprocess.Popen[str]]:
    """Processes of the lab: they end with `stack`, and with the lab, whatever happens here."""
    started = []
    with children_on(bench.core):
        for command in commands:
            process: subprocess.Popen[str] = host.popen(
                [binary(command[0]), *command[1:]],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=bench.lab.state.environment(),
            )
            stack.callback(_end, process)
            started.append(process)
    before_others(process.pid for process in started)
    return started


def _end(process: subprocess.Popen[str]) -> None:
    """End it and what it started: qperf's server has a child per client."""
    for pid in (*_children(process.pid), process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(_START_S)
    if process.stdout is not None:
        process.stdout.close()


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _until_listening(host: LabHost, port: int) -> None:
    deadline, wanted = time.monotonic() + _START_S, f":{port:04X} "
    while True:
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{host.pid}/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if f"{local} ".endswith(wanted) and state == "0A":
                    return
        if time.monotonic() > deadline:
            raise LabError(f"{host.name}: nothing listens on port {port}")
        time.sleep(_POLL_S)


def _answer(process: subprocess.Popen[str], deadline: float) -> str:
    try:
        out, _ = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise LabError("a measuring program did not end in time") from None
    if process.returncode:
        raise LabError(f"a measuring program failed: {' '.join(out.split())[:200]}")
    return out


def latency_s(text: str) -> float:
    """Half a round trip, from qperf's answer."""
    found = _LATENCY.search(text)
    if found is None or not float(found[1]):
        raise LabError(f"qperf says nothing of latency: {' '.join(text.split())[:200]}")
    return float(found[1]) * _SECONDS_PER[found[2]]


def bulk_gbit_per_s(text: str) -> float:
    """What arrived, all streams together, from iperf3's answer."""
    try:
        answer: dict[str, Any] = json.loads(text)
        rate = float(answer["end"]["sum_received"]["bits_per_second"])
    except (ValueError, KeyError, TypeError):
        raise LabError(f"iperf3 says nothing of a rate: {' '.join(text.split())[:200]}") from None
    if rate <= 0:
        raise LabError("iperf3 measured nothing")
    return rate / 1e9
