"""The imitation of ovn-trace against the program itself, line by line, on the four scenarios."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from deployer.sandbox import OvnSandbox
from ytwin.logical.southbound import Southbound
from ytwin.pipeline import build, read
from ytwin.trace import Host
from ytwin.trace.ovntrace import Imitation, normalize

pytestmark = pytest.mark.ovn
PACKETS = 60
YAML = Path(__file__).parent.parent / "scenarios" / "trace" / "four.yaml"
TARGETS4 = ["10.96.0.100", "10.96.0.101", "10.96.0.105", "10.96.0.106", "200.0.0.3", "200.0.0.4", "8.8.8.8"]
TARGETS6 = ["fd00:10:96::100", "fd00:10:96::101", "2001:db8:100::3", "2001:db8:100::4"]


@cache
def hosts() -> tuple[Host, ...]:
    return build(read({"four.yaml": YAML.read_text()})).world.hosts


@pytest.fixture(scope="module")
def sandbox() -> Iterator[tuple[OvnSandbox, Southbound]]:
    with OvnSandbox() as ovn:
        ovn.load(build(read({"four.yaml": YAML.read_text()})).northbound)
        ovn.wait_northd()
        yield ovn, ovn.southbound()


def microflow(rng: random.Random, southbound: Southbound) -> tuple[str, str]:
    """(datapath, packet): a host's packet to another host, a VIP, its router, or nowhere."""
    host = rng.choice(hosts())
    everyone = [a.split("/")[0] for h in hosts() for a in h.addresses]
    source = rng.choice([a.split("/")[0] for a in host.addresses])
    ipv6 = ":" in source
    target = rng.choice([a for a in everyone + TARGETS4 + TARGETS6 if (":" in a) == ipv6])
    datapath = southbound.ports[host.port].datapath
    router = [p for p in southbound.ports.values() if p.type == "patch" and p.datapath.kind == "router" and p.mac]
    near = [p.mac[0].split()[0] for p in router if southbound.ports[p.options["peer"]].datapath == datapath]
    near = near or ["02:00:00:00:00:99"]
    mac = rng.choice([*near, *near, rng.choice(hosts()).mac])
    head = f'inport == "{host.port}" && eth.src == {host.mac}'
    kind = rng.choice(["tcp", "tcp", "udp", "sctp", "icmp", "arp"])
    family = "ip6" if ipv6 else "ip4"
    if kind == "arp" and not ipv6:
        return datapath.name, (
            f"{head} && eth.dst == ff:ff:ff:ff:ff:ff && arp.op == 1 && arp.spa == {source} && arp.tpa == {target}"
            f" && arp.sha == {host.mac} && arp.tha == 00:00:00:00:00:00"
        )
    ttl = rng.choice([64, 64, 64, 1])
    packet = f"{head} && eth.dst == {mac} && {family}.src == {source} && {family}.dst == {target} && ip.ttl == {ttl}"
    if kind in ("icmp", "arp"):
        name, number = ("icmp6", 128) if ipv6 else ("icmp4", 8)
        return datapath.name, f"{packet} && {name}.type == {number} && {name}.code == 0"
    return datapath.name, f"{packet} && {kind}.src == 40000 && {kind}.dst == {rng.choice([80, 80, 53, 8080])}"


def test_same_lines_as_the_program(sandbox: tuple[OvnSandbox, Southbound]) -> None:
    ovn, southbound = sandbox
    imitation = Imitation(southbound)
    rng = random.Random(20230301)
    judged = 0
    for _ in range(PACKETS):
        datapath, packet = microflow(rng, southbound)
        ct = rng.choice([[], ["new"], ["new", "new"], ["est", "est,rpl"], ["inv"], ["rel"]])
        backends = [a.split("/")[0] for h in hosts() for a in h.addresses]
        lb_dst = rng.choice([b for b in backends if ":" not in b]) if rng.random() < 0.7 else ""
        mine = imitation.trace(packet, ct, lb_dst)
        if mine.unjudged:
            continue
        judged += 1
        assert normalize(ovn.trace(datapath, packet, ct, lb_dst)) == mine.text, (packet, ct, lb_dst)
        minimal = ovn.trace(datapath, packet, ct, lb_dst, ["--minimal"])
        lines = [line for line in minimal.splitlines() if not line.startswith("#")]
        assert "\n".join(lines).strip("\n") == mine.minimal, (packet, ct, lb_dst)
    assert judged > PACKETS // 2


def test_a_random_choice_is_not_judged(sandbox: tuple[OvnSandbox, Southbound]) -> None:
    _, southbound = sandbox
    client = next(h for h in hosts() if h.name == "Pod/default/c")
    gateway = next(
        p.mac[0].split()[0] for p in southbound.ports.values() if p.name.startswith("lrp_vpc1_subnet2") and p.mac
    )
    packet = (
        f'inport == "{client.port}" && eth.src == {client.mac} && eth.dst == {gateway} && '
        f"ip4.src == {client.addresses[0].split('/')[0]} && ip4.dst == 10.96.0.100 && ip.ttl == 64 && "
        "tcp.src == 40000 && tcp.dst == 80"
    )
    imitation = Imitation(southbound)
    assert "random" in imitation.trace(packet, ["new", "new"]).unjudged
    backend = next(h for h in hosts() if h.name == "Pod/default/b")
    told = imitation.trace(packet, ["new", "new"], backends=[backend.addresses[0].split("/")[0]])
    assert not told.unjudged
    assert told.outputs == (backend.port,)
