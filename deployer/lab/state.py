"""A lab's memory on disk: its directory, and every process that belongs to it, so that any later process can end it.

A process is known in two ways: by its line in `processes` (pid and start time, because pids come round again), and by the lab's
id in its environment, which also finds one that was started in the moment before its starter was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ytwin.core.errors import YtwinError

MARK = "YTWIN_LAB_ID"
"""Environment variable of every process of a lab; its value is the lab's id."""
_END_S = 10.0
_POLL_S = 0.005
_NAME_BYTES = 40
_SPAWNED: dict[int, subprocess.Popen[Any]] = {}
"""Children of this process, which have to be waited for when they end. They outlive it on purpose."""


class LabError(YtwinError):
    """The lab cannot do what it was asked to; the message says why."""


def root() -> Path:
    """Where labs have their directories: YTWIN_LAB_ROOT, else /run/ytwin."""
    return Path(os.environ.get("YTWIN_LAB_ROOT", "/run/ytwin"))


def lab_names() -> tuple[str, ...]:
    """Labs that exist on this machine, dead ones included."""
    if not root().is_dir():
        return ()
    return tuple(sorted(entry.name for entry in root().iterdir() if (entry / "lab.json").exists()))


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 if there is none or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = text[text.rindex(")") + 2 :].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


def adopt(process: subprocess.Popen[Any]) -> None:
    """Remember a child that is meant to outlive this process."""
    _SPAWNED[process.pid] = process


class LabState:
    """The directory of one lab."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = directory.name
        about = json.loads((directory / "lab.json").read_text())
        self.id: str = about["id"]
        self.creator: tuple[int, int] = tuple(about["creator"])

    @classmethod
    def create(cls, name: str) -> LabState:
        """A new directory; LabError if the lab exists. What a killed creator left under that name is removed first."""
        if not name or len(name) > _NAME_BYTES or not all(c.isalnum() or c in "-_." for c in name) or name[0] in "-.":
            raise LabError(f"{name!r} cannot name a lab: at most {_NAME_BYTES} letters, digits, '-', '_' and '.'")
        directory = root() / name
        if (directory / "lab.json").exists():
            old = cls(directory)
            if not old.abandoned:
                raise LabError(f"lab {name} exists; destroy it first, or choose another name")
            old.destroy()
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, mode=0o700)
        creator = [os.getpid(), start_time(os.getpid())]
        text = json.dumps({"id": uuid.uuid4().hex, "creator": creator})
        (directory / "lab.new").write_text(text)
        (directory / "lab.new").rename(directory / "lab.json")
        return cls(directory)

    @classmethod
    def open(cls, name: str) -> LabState:
        """The directory of an existing lab; LabError names those that exist."""
        directory = root() / name
        if not (directory / "lab.json").exists():
            raise LabError(f"no lab {name}; there are: {', '.join(lab_names()) or 'none'}")
        return cls(directory)

    @property
    def complete(self) -> bool:
        """Whether its creation came to an end."""
        return (self.directory / "complete").exists()

    @property
    def abandoned(self) -> bool:
        """Whether whoever was creating it ended before it was complete."""
        return not self.complete and start_time(self.creator[0]) != self.creator[1]

    def finish(self) -> None:
        """Mark the creation as done."""
        (self.directory / "complete").touch()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time changes a lab. The lock goes with the process that holds it."""
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def environment(self) -> dict[str, str]:
        """For every process of the lab."""
        return {**os.environ, MARK: self.id}

    def record(self, what: str, pid: int) -> None:
        """Note a process of the lab."""
        line = json.dumps({"what": what, "pid": pid, "start": start_time(pid)}) + "\n"
        with (self.directory / "processes").open("a") as file:
            file.write(line)

    def recorded(self) -> dict[str, int]:
        """What -> pid of the processes that still run; the last of each name."""
        path = self.directory / "processes"
        found: dict[str, int] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            with contextlib.suppress(ValueError):  # a line cut off by a kill
                entry = json.loads(line)
                if entry["start"] and start_time(entry["pid"]) == entry["start"]:
                    found[entry["what"]] = entry["pid"]
        return found

    def processes(self) -> dict[int, int]:
        """Pid -> start time of everything of the lab that runs."""
        pids = {*self.recorded().values(), *_marked(self.id)}
        return {pid: start for pid in pids if (start := start_time(pid))}

    def save(self, what: str, value: Any) -> None:
        """Keep a JSON value under a name, all or nothing."""
        path = self.directory / f"{what}.json"
        path.with_suffix(".new").write_text(json.dumps(value))
        path.with_suffix(".new").rename(path)

    def load(self, what: str) -> Any:
        """A value that `save` kept; None if there is none."""
        path = self.directory / f"{what}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def end_inside(self, pid: int) -> None:
        """End the process that holds a namespace, and everything of the lab that runs in it."""
        there = namespace_of(pid)
        end({p: start for p, start in self.processes().items() if p == pid or (there and namespace_of(p) == there)})

    def destroy(self) -> None:
        """End every process and remove every file. Namespaces and links go with the processes that hold them."""
        deadline = time.monotonic() + _END_S
        while running := self.processes():  # again, until nobody is left who could start another
            end(running)
            if time.monotonic() > deadline:
                raise LabError(f"processes of lab {self.name} do not end: {sorted(running)}")
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.directory.exists():
            shutil.rmtree(self.directory)
        with contextlib.suppress(OSError):  # another lab is there
            root().rmdir()


def end(processes: dict[int, int]) -> None:
    """Kill processes (pid -> start time) and wait until they are gone."""
    for pid, start in processes.items():
        if start_time(pid) == start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _END_S
    for pid, start in processes.items():
        child = _SPAWNED.pop(pid, None)
        if child is not None:
            child.wait(_END_S)
        while start_time(pid) == start and time.monotonic() < deadline:
            time.sleep(_POLL_S)


def namespace_of(pid: int) -> str:
    """Identity of the network namespace of a process; "" if it is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def _marked(lab_id: str) -> set[int]:
    wanted = f"{MARK}={lab_id}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
    return found
