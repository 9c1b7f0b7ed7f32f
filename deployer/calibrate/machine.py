"""The machine under a measurement: which core the lab gets, and what else ran on the machine meanwhile.

The whole lab shares one core, goes before everybody else there, and none of its threads interrupts another (SCHED_BATCH). Else
chance decides much of the result: on two cores, where a thread wakes up (the same cell gave 5,100 and 11,100 requests/s in a
row; on one, 3 % apart); with interruptions, whether an answer arrives while a switch is still on its round over its ports and is
taken along, or costs a round of its own, which depends on the order of the ports.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PRIORITY = -20
"""Nice value of the lab while it is measured: others on its core get about a hundredth of it."""
MOST_FOREIGN = 0.1
_LOOK_S = 0.2
_SESSION_S, _POLL_S = 0.1, 0.001
"""How long to wait until children have begun sessions of their own."""


def quietest_core() -> int:
    """The core, of those that this process may use, that does least at the moment; the last of equals."""
    before = _busy_ticks()
    sleep(_LOOK_S)
    after = _busy_ticks()
    return min(sorted(os.sched_getaffinity(0), reverse=True), key=lambda core: after[core] - before[core])


@contextmanager
def children_on(core: int) -> Iterator[None]:
    """Processes (and threads) that this thread starts inside run on `core`, before others; it itself as before afterwards."""
    cores, nice = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
    os.sched_setaffinity(0, {core})
    os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        os.sched_setaffinity(0, cores)


def before_others(pids: Iterable[int]) -> None:
    """Let sessions of these processes go before others on their core, too: with autogroups, nice counts inside a session only."""
    own, deadline = _autogroup(os.getpid()), monotonic() + _SESSION_S
    for pid in pids:
        while (group := _autogroup(pid)) and group == own and monotonic() < deadline:
            sleep(_POLL_S)
        if group and group != own:
            with suppress(OSError):  # it has ended, or the kernel says no: then others disturb more, which is seen
                Path(f"/proc/{pid}/autogroup").write_text(str(_PRIORITY))


def _autogroup(pid: int) -> str:
    """Name of the scheduler's group of a process's session; "" if the kernel has none."""
    try:
        return Path(f"/proc/{pid}/autogroup").read_text().partition(" ")[0]
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What ran on the machine besides a measurement: of processes that are not the lab's, and of the hypervisor."""

    on_core: float
    """Share of the lab's own core that they took."""
    elsewhere: float
    """Other cores that were busy, on average: they share caches and memory with the lab."""
    load: float
    """/proc/loadavg, one minute, afterwards."""

    @property
    def spoils(self) -> bool:
        """Whether the measurement should be made again."""
        return self.on_core > MOST_FOREIGN


class Watch:
    """Looks at the machine from now on. `pids`: processes of the lab that live on; what is started and waited for is the lab's
    too."""

    def __init__(self, core: int, pids: Iterable[int]) -> None:
        self.core, self.pids = core, tuple(pids)
        self.begin = monotonic()
        self.busy, self.own = _busy_ticks(), self._own_s()

    def disturbance(self) -> Disturbance:
        """Since the beginning."""
        elapsed_s, own_s = monotonic() - self.begin, self._own_s() - self.own
        busy_s = {core: (ticks - self.busy.get(core, 0)) / _TICKS_PER_S for core, ticks in _busy_ticks().items()}
        here_s = busy_s.pop(self.core)
        load = float(Path("/proc/loadavg").read_text().split()[0])
        return Disturbance(max(0.0, here_s - own_s) / elapsed_s, sum(busy_s.values()) / elapsed_s, load)

    def _own_s(self) -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime + sum(map(_runtime_ns, self.pids)) / 1e9


def _busy_ticks() -> dict[int, int]:
    """Core -> ticks that it was not idle, those taken by the hypervisor included."""
    found = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _, _, irq, softirq, steal, *_ = map(int, fields)
            found[int(name[3:])] = user + nice + system + irq + softirq + steal
    return found


def _runtime_ns(pid: int) -> int:
    """Of all threads; 0 if the process is gone."""
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    except OSError:
        return total
    return total


def described() -> dict[str, str]:
    """Kernel and processor, for the record."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    system = os.uname()
    return {"kernel": system.release, "processor": model, "machine": system.machine, "cores": str(os.cpu_count())}
