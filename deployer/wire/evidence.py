"""What is kept about a difference: conntrack, datapath flows, OpenFlow flows of every node, and captures on request."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from deployer.lab import Lab
from deployer.lab.chassis import INTEGRATION
from deployer.lab.requirements import binary
from deployer.lab.state import LabError
from deployer.wire.report import WireCell
from ytwin.core.errors import YtwinError


def keep(lab: Lab, cell: WireCell, folder: Path) -> None:
    """Write what every living node knows into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cell.txt").write_text(cell.explain() + "\n")
    (folder / "cell.json").write_text(json.dumps(cell.to_json(), indent=2) + "\n")
    for chassis in lab.all_chassis:
        if not chassis.alive:
            continue
        for name, method, *arguments in (
            ("conntrack", "dpctl/dump-conntrack", "-m"),
            ("datapath-flows", "dpctl/dump-flows", "-m"),
        ):
            with contextlib.suppress(YtwinError):
                (folder / f"{chassis.name}-{name}.txt").write_text(chassis.control(method, *arguments))
        with contextlib.suppress(YtwinError):
            bridge = f"unix:{chassis.directory}/{INTEGRATION}.mgmt"
            flows = chassis.run("ovs-ofctl", "-O", "OpenFlow15", "dump-flows", "--no-stats", bridge)
            (folder / f"{chassis.name}-openflow.txt").write_text(flows)


@contextlib.contextmanager
def capture(lab: Lab, hosts: list[str], folder: Path) -> Iterator[None]:
    """tcpdump in each of `hosts` while the block runs: `<host>.pcap`."""
    folder.mkdir(parents=True, exist_ok=True)
    running: list[subprocess.Popen[str]] = []
    try:
        for name in dict.fromkeys(hosts):
            host = lab.host(name)
            file = folder / (name.replace("/", "_") + ".pcap")
            process = host.popen(
                [binary("tcpdump"), "-i", "any", "-U", "-n", "-w", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=lab.state.environment(),
            )
            running.append(process)
            assert process.stderr is not None
            # tcpdump says "listening on" when it captures; an earlier packet would be missing.
            lines = iter(process.stderr.readline, "")
            if not any("listening on" in line for line in lines):
                raise LabError(f"tcpdump does not start in {name}")
        yield
    finally:
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            with process:
                process.wait(5)
