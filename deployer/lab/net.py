"""Mininet's Node, Link and Net for a lab that outlives the process which built it.

Mininet's own Node is a shell on a pseudo-terminal of its parent and ends with it. Here a node is held by a process that needs
nobody, is found again by its pid, and runs commands through `mnexec` as Mininet's `popen` does. Mininet's global side effects
(sysctl limits of the whole machine, links born in the root namespace, `ifconfig` per interface) do not happen.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deployer.lab import mininet_path
from deployer.lab.namespace import inside
from deployer.lab.requirements import binary
from deployer.lab.state import LabError, LabState, adopt

if not mininet_path.available():
    raise ImportError("mininet is not installed; pip install 'ytwin[lab]'")

from mininet.link import Intf, Link
from mininet.net import Mininet
from mininet.node import Host

WORKERS = 8
"""Processes being started at the same time: more than cores, because each mostly waits."""
_RUN_S = 60.0


class LabHost(Host):
    """A network namespace, held by a process of its own. With `pid` it is one that exists."""

    name: str
    pid: int

    def __init__(self, name: str, state: LabState, pid: int = 0, **params: Any) -> None:
        self.state = state
        self.held_by = pid
        super().__init__(name, **params)

    @classmethod
    def setup(cls) -> None:
        """Mininet asks for `ifconfig` here; nothing uses it."""

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802 - Mininet's name
        """Start the process that holds the namespace, unless it exists."""
        del mnopts
        if not self.held_by:
            # mnexec prints its pid (-p) after it has made the namespace (-n), so that nobody looks into it too early.
            holder = subprocess.Popen(
                [binary("mnexec"), "-np", "sleep", "infinity"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self.state.environment(),
                start_new_session=True,
            )
            adopt(holder)
            self.held_by = holder.pid
            self.state.record(f"host {self.name}", holder.pid)
            assert holder.stdout is not None
            with holder.stdout as pipe:
                if not pipe.readline():
                    raise LabError(f"mnexec could not make a network namespace for {self.name}")
        self.pid = self.held_by

    def start(self, what: str, argv: Sequence[str], cwd: Path, **environment: str) -> int:
        """Start a process of the lab in this node; its pid."""
        process = self.popen(
            [binary(argv[0]), *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**self.state.environment(), **environment},
            cwd=cwd,
        )
        adopt(process)
        self.state.record(f"{what} {self.name}", process.pid)
        return int(process.pid)

    def run(self, *argv: str, stdin: str = "") -> str:
        """Run a program to its end in this node; its output. LabError with its own words."""
        process = self.popen(
            [binary(argv[0]), *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.state.environment(),
        )
        with process:
            try:
                out, err = process.communicate(stdin, timeout=_RUN_S)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise LabError(f"{self.name}: {' '.join(argv)[:200]}: {err.strip() or out.strip()}")
        return str(out)

    def ip(self, commands: Iterable[str], force: bool = False) -> None:
        """Run `ip` commands ("link set lo up") as one batch; `force` goes on after one that fails."""
        text = "\n".join(commands)
        if not text:
            return
        options = ["-force"] if force else []
        try:
            self.run("ip", *options, "-batch", "-", stdin=text + "\n")
        except LabError as error:
            if not force:
                raise LabError(f"{error}\n{text}") from error

    def sysctl(self, settings: dict[str, str]) -> None:
        """Write below /proc/sys/net of this node."""
        with inside(self.pid):
            for key, value in settings.items():
                Path("/proc/sys/net", key).write_text(value)

    def cmd(self, *args: Any, **kwargs: Any) -> str:
        """Mininet's `cmd`: a shell command in this node, its output."""
        del kwargs
        out, err, _ = self.pexec(["sh", "-c", " ".join(str(a) for a in args)])
        return f"{out}{err}"

    def terminate(self) -> None:
        """Mininet ends nodes here; a lab's processes are ended by its state."""


class QuietIntf(Intf):
    """An interface that configures nothing by itself: the lab does it in one batch per node."""

    def config(self, *args: Any, **params: Any) -> dict[str, Any]:
        """Nothing."""
        del args, params
        return {}


class BornLink(Link):
    """A veth pair that LabNet has made already, together with many others."""

    @classmethod
    def makeIntfPair(cls, *args: Any, **kwargs: Any) -> None:  # noqa: N802 - Mininet's name
        """Nothing."""


class LabNet(Mininet):
    """Mininet whose nodes and links are made in parallel and without global names."""

    def __init__(self, state: LabState) -> None:
        self.state = state
        super().__init__(topo=None, host=LabHost, link=BornLink, intf=QuietIntf, controller=None, build=False)

    @classmethod
    def init(cls) -> None:
        """Mininet raises limits of the whole machine here."""

    def add(self, cls: type[LabHost], names: Iterable[str]) -> None:
        """New nodes of a class, in parallel."""
        wanted = [name for name in names if name not in self.nameToNode]
        with ThreadPoolExecutor(WORKERS) as pool:
            made = list(pool.map(lambda name: cls(name, state=self.state), wanted))
        for host in made:
            self._enter(host)

    def find(self, cls: type[LabHost], names: Iterable[str], pids: dict[str, int]) -> None:
        """Nodes of a class that exist, by the pids of their holders; a node whose holder is gone is left out."""
        for name in names:
            if f"host {name}" in pids:
                self._enter(cls(name, state=self.state, pid=pids[f"host {name}"]))

    def _enter(self, host: LabHost) -> None:
        self.hosts.append(host)
        self.nameToNode[host.name] = host

    def drop(self, name: str) -> None:
        """Forget a node."""
        self.hosts.remove(self.nameToNode.pop(name))

    def join(self, pairs: Iterable[tuple[LabHost, str, LabHost, str]]) -> None:
        """Make veth pairs (node, device, node, device), all in one batch; the first end is up."""
        listed = list(pairs)
        if not listed:
            return
        text = "".join(
            f"link add name {d1} up netns {n1.pid} type veth peer name {d2} netns {n2.pid}\n"
            for n1, d1, n2, d2 in listed
        )
        done = subprocess.run([binary("ip"), "-batch", "-"], input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"cannot make links: {done.stderr.strip()}")
        for n1, d1, n2, d2 in listed:
            self.links.append(BornLink(n1, n2, intfName1=d1, intfName2=d2, intf=QuietIntf))

    def stop(self) -> None:
        """Mininet's way to end everything."""
        self.state.destroy()
