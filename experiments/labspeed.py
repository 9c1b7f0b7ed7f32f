"""How long a lab takes to start and to end, beside plain Mininet with as many hosts and switches, in one run.

    python -m experiments.labspeed [--nodes 10] [--workloads 100]

Plain Mininet starts shells and bridges only: no Open vSwitch, no OVN. Its switches here are the kernel's bridges, made with `ip`,
because its own LinuxBridge wants brctl and its OVSSwitch a system-wide ovs-vswitchd. Needs root.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from deployer.lab import mininet_path
from deployer.target import desired
from deployer.targets.mininet import MininetTarget
from ytwin import pipeline
from ytwin.core.plan import diff
from ytwin.core.tables import format_table
from ytwin.pipeline import Twin

LAB = "labspeed"
NODE = """
---
{{apiVersion: v1, kind: Node, metadata: {{name: node{n}}},
 status: {{addresses: [{{type: InternalIP, address: 192.168.10.{n}}}]}}}}
"""
POD = """
---
{{apiVersion: v1, kind: Pod, metadata: {{name: pod{n}, labels: {{app: web}}}}, spec: {{nodeName: node{node}}}}}
"""
SERVICE = """
---
{apiVersion: iaas.yusur.io/v1, kind: Subnet, metadata: {name: pods}, spec: {cidrBlock: 10.16.0.0/16, default: true}}
---
{apiVersion: iaas.yusur.io/v1, kind: YusurService, metadata: {name: web}, spec: {ports: [{port: 80}], selector: {app: web}}}
"""


def topology(nodes: int, workloads: int) -> Twin:
    """The default VPC, its Pods spread over the nodes, and one Service with all of them behind it."""
    text = "".join(NODE.format(n=n) for n in range(1, nodes + 1))
    text += "".join(POD.format(n=n, node=n % nodes + 1) for n in range(workloads))
    return pipeline.build(pipeline.read({"labspeed.yaml": text + SERVICE}))


def lab_times(twin: Twin) -> tuple[float, float]:
    """Seconds until packets may flow, and seconds until nothing is left."""
    target = MininetTarget(LAB, "default")
    begin = time.perf_counter()
    try:
        target.apply(diff(target.snapshot(), desired(twin, target)))
        up_s = time.perf_counter() - begin
        begin = time.perf_counter()
    finally:
        target.destroy()
    return up_s, time.perf_counter() - begin


def plain_times(switches: int, hosts: int) -> tuple[float, float]:
    """The same of plain Mininet."""
    if not mininet_path.available():
        raise SystemExit("mininet is not installed")
    from mininet.net import Mininet  # noqa: PLC0415 - where Mininet is, is known only now
    from mininet.node import Switch  # noqa: PLC0415

    class Bridge(Switch):  # type: ignore[misc]  # Mininet has no types
        def start(self, controllers: Any) -> None:
            del controllers
            self.cmd("ip link add", self.name, "type bridge")
            for interface in self.intfList():
                if interface.name != "lo":
                    self.cmd("ip link set", interface.name, "master", self.name, "up")
            self.cmd("ip link set", self.name, "up")

        def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803 - Mininet's name
            self.cmd("ip link del", self.name)
            super().stop(deleteIntfs)

    begin = time.perf_counter()
    net = Mininet(switch=Bridge, controller=None)
    bridges = [net.addSwitch(f"lsb{n}") for n in range(switches)]
    for n in range(hosts):
        net.addLink(net.addHost(f"lsh{n}"), bridges[n % switches])
    for bridge in bridges[1:]:
        net.addLink(bridge, bridges[0])
    net.start()
    up_s = time.perf_counter() - begin
    begin = time.perf_counter()
    net.stop()
    return up_s, time.perf_counter() - begin


def main() -> None:
    """Measure both and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--workloads", type=int, default=100)
    options = parser.parse_args()
    twin = topology(options.nodes, options.workloads)
    rows = [("lab: OVN ready for traffic", *lab_times(twin))]
    rows.append(("plain Mininet", *plain_times(options.nodes, options.workloads)))
    print(f"{options.nodes} nodes, {options.workloads} workloads")
    print(format_table(("what", "up, s", "down, s"), [(what, f"{up:.2f}", f"{down:.2f}") for what, up, down in rows]))


if __name__ == "__main__":
    main()
