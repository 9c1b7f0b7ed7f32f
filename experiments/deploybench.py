"""What a deployer costs beside the database's own work.

`python -m experiments.deploybench [--services N] [--runs N] [--json FILE]`

Rows: N Services x 10 backends (10,000) in a VPC of 100 Subnets, into an empty OVN_Northbound on this machine, in turns:
  bare     one `transact` of the same rows' inserts, ready-made, over a plain socket: text out, commit, answer read.
  apply    what `ytwin deploy apply` does after compiling: connect, look, compare, write, in one transaction.
Then, with those rows there, one Service is changed: size and time of its transaction, and what looking and comparing take.
ovn-northd is paused, so that nothing else works on what was written.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from deployer.ovsdb_json import Operation, insert_all
from deployer.sandbox import OvnSandbox
from deployer.target import northbound_state
from deployer.targets.ovsdb import OvsdbTarget
from experiments.bench import Timing, only_new_garbage, service, topology
from ytwin.cli import COLLECTOR_THRESHOLDS
from ytwin.controllers import reconcile
from ytwin.core.plan import diff
from ytwin.northbound import compile_northbound
from ytwin.northbound.rows import Northbound

SUBNETS = 100
_ROOTS = ("Load_Balancer", "Load_Balancer_Group", "Logical_Switch", "Logical_Router")


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes, as in a command of its own."""
    with only_new_garbage():
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin


@dataclass(frozen=True)
class Cost:
    """What one way of writing the rows took: time, and work of both processes, which other load disturbs less."""

    wall_s: float
    cpu_s: float


def clear(ovn: OvnSandbox) -> None:
    """An empty Northbound."""
    settings = {"op": "update", "table": "NB_Global", "where": [], "row": {"external_ids": ["map", []]}}
    ovn.transact([settings, *({"op": "delete", "table": table, "where": []} for table in _ROOTS)])


def rows_of(services: int, changed: bool = False) -> Northbound:
    """The compiled rows; `changed`: the first Service has other backends."""
    snapshot = topology(services, SUBNETS)
    if changed:
        snapshot = snapshot.changed([service(0, SUBNETS).model_copy(update={"spec": service(1, SUBNETS).spec})])
    return compile_northbound(reconcile(snapshot))


class Bench:
    """One sandbox, the same rows again and again."""

    def __init__(self, ovn: OvnSandbox, services: int) -> None:
        self.ovn = ovn
        self.northbound = rows_of(services)
        self.goal = northbound_state(self.northbound)
        self.changed = northbound_state(rows_of(services, changed=True))
        self.operations: list[Operation] = insert_all(self.northbound)

    def bare(self) -> Cost:
        """The database's own work."""
        clear(self.ovn)
        return self._cost(lambda: self.ovn.transact(self.operations))

    def apply(self) -> Cost:
        """The deployer's, with the same rows."""
        clear(self.ovn)
        target = OvsdbTarget(self.ovn.nb_remote, "bench")
        taken = self._cost(lambda: target.apply(diff(target.snapshot(), self.goal)))
        assert len(target.transactions) == 1, "more than one transaction"
        assert target.snapshot() == self.goal, "not what was wanted"
        target.close()
        return taken

    def _cost(self, call: Callable[[], object]) -> Cost:
        with only_new_garbage():
            begin_s, begin_cpu_s = time.perf_counter(), time.process_time() + self._server_cpu_s()
            call()
            return Cost(time.perf_counter() - begin_s, time.process_time() + self._server_cpu_s() - begin_cpu_s)

    def _server_cpu_s(self) -> float:
        pid = (self.ovn.directory / "nb.pid").read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def change(self) -> dict[str, float]:
        """One Service, on top of `apply`."""
        target = OvsdbTarget(self.ovn.nb_remote, "bench")
        look_s = timed(target.snapshot)
        observed = target.snapshot()
        compare_s = timed(lambda: diff(observed, self.changed))
        plan = diff(observed, self.changed)
        write_s = timed(lambda: target.apply(plan))
        assert target.snapshot() == self.changed
        (operations,) = target.transactions
        target.close()
        return {
            "changes": len(plan),
            "operations": operations,
            "look_s": look_s,
            "compare_s": compare_s,
            "write_s": write_s,
        }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.deploybench", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5, help="measurements of each; the median counts")
    parser.add_argument("--json", default="", metavar="FILE", help="write the numbers here too")
    arguments = parser.parse_args()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)  # as the command line does
    with OvnSandbox(separate=True, timeout_s=300) as ovn:
        ovn.northd_appctl("pause")
        bench = Bench(ovn, arguments.services)
        bench.bare()  # the first warms the server's memory
        pairs = [(bench.bare(), bench.apply()) for _ in range(arguments.runs)]
        one = bench.change()
    bare, ours = (Timing.of([cost.wall_s for cost in column]) for column in zip(*pairs, strict=True))
    bare_cpu, ours_cpu = (Timing.of([cost.cpu_s for cost in column]) for column in zip(*pairs, strict=True))
    ratio, cpu_ratio = ours.median_s / bare.median_s, ours_cpu.median_s / bare_cpu.median_s
    print(
        f"{arguments.services} Services x 10 backends, {len(bench.goal)} rows, {arguments.runs} runs: median (min .. max)"
    )
    print(f"bare transaction  {bare}, CPU of client and server {bare_cpu}")
    print(f"deploy apply      {ours}, CPU of client and server {ours_cpu}")
    print(f"ratio             {ratio:.2f} in time, {cpu_ratio:.2f} in CPU")
    print(f"one changed Service: {one['changes']} changes, {one['operations']} operations in one transaction, ", end="")
    print(f"{one['write_s'] * 1e3:.1f} ms; looking {one['look_s']:.2f} s, comparing {one['compare_s'] * 1e3:.0f} ms")
    if arguments.json:
        numbers = {"services": arguments.services, "rows": len(bench.goal), "bare": asdict(bare), "apply": asdict(ours)}
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({**numbers, "ratio": ratio, "cpu_ratio": cpu_ratio, "one_service": one}, file, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
