"""What one packet of a datapath program costs on given hardware: work per resource, and latency part by part.

Per visit of a chassis, with the profile of that chassis (what each number means is said in `hardware.model`):

- offloaded: eSwitch work packet_time + (passes - 1) * pass_time, times the crowding of its tables;
- in software: slow-path work packet_time + passes * pass_time + conntrack look-ups * conntrack_time + tunnel headers *
  tunnel_time + dp_hash * hash_time, and one new connection's share of conntrack_setup_rate where an entry is made; the
  latency of that work, and handover_latency at each port of a host. A card is passed once on the way;
- where the profile has a wakeup_time, that is latency of every visit in software, and work once for the packets that share it;
- without OVS (a visit without passes): the card is passed once, and nothing else;
- kube-proxy (a profile with service_proxy): see `_proxy`;
- on the host's cores: the slow path where it runs there, a request's instructions, a segment's copying (host.stream_rate
  per core);
- always: the wire's time of the frame, PCIe's of the frame, the host stack's of a segment or a small packet at each end.

host.latency is all that a path without OVS takes, with both ends' cards and one pass through each, half of it at each
end. So an eSwitch adds pass_latency for its further passes only, and packet_latency only where a packet comes through a
card that is at neither end (a gateway, also where the end behind it is outside); a gateway without eSwitch adds
host.network_latency, for one more card out, wire and card in. A path that stays on one chassis has no wire and no second
card: host.latency without host.network_latency, and packet_latency and every pass of the eSwitch, if the packet goes
through one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from frozendict import frozendict

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.core.units import PS_PER_S
from ytwin.datapath.passes import Entry
from ytwin.datapath.program import Direction, Op, Pass, Phase, Program, Visit
from ytwin.hardware.model import ESwitch, HardwareProfile
from ytwin.performance.bare import OUTSIDE, PROXY, inside, on_wire_in, on_wire_out
from ytwin.performance.cpu import request_work_ps
from ytwin.performance.types import Demand, LatencyPart, PathCost, Share
from ytwin.sim.workloads import IPV4_TCP_BYTES

WIRE_OVERHEAD_BYTES: Final = 24
"""Preamble 8, check sequence 4, gap 12 (IEEE 802.3)."""
HEADER_BYTES: Final = 14 + IPV4_TCP_BYTES
"""Of a frame that carries a TCP segment."""
SEPARATOR: Final = "; "
"""Between the reasons for one resource's work."""
SMALLEST_FRAME_BYTES: Final = 60
"""Without check sequence."""


def path_cost(
    program: Program,
    cards: Mapping[str, HardwareProfile],
    offloaded: Mapping[str, bool],
    frame_bytes: float,
    *,
    bulk: bool = False,
    request: float = 0.0,
    flows: int | None = None,
    services: int = 1,
    entries: Mapping[str, float] = frozendict(),
    installs: Collection[str] = (),
    together: float = math.inf,
    warm: bool = False,
) -> PathCost:
    """One packet of `frame_bytes` (Ethernet header included, check sequence and tunnel header not).

    `offloaded`: chassis -> whether its card does this packet. `request`: part of a request and its answer that this
    packet is, for the instructions at both ends. `bulk`: a full TCP segment, for which the host stack has another rate
    than for small packets. `flows`: of so few flows each uses one port and one core; None: enough of them for all.
    `services`: that kube-proxy has. `entries`: chassis -> entries in its card's tables. `installs`: chassis whose cards
    get this connection's rules because of this packet. `together`: packets that a sleeping datapath's thread finds when
    it wakes up, which share that work (as latency each packet has it whole); endless: it never sleeps. `warm`: other
    connections of the path have been there, so that only flows of this one are missing (`own_flow`). InvalidInput: a
    chassis without profile, or offload on one without card.
    """
    bill = _Bill(flows)
    _ends(program, cards, frame_bytes if bulk else 0.0, request, bill)
    for visit in program.visits:
        card = _card(visit, cards)
        done_by_card = bool(offloaded.get(visit.chassis)) and bool(visit.passes)
        if done_by_card and card.eswitch is None:
            raise _wrong(
                visit.chassis, f"{card.name} has no eSwitch to offload to", "judge offload with the same cards"
            )
        _wires(visit, card, done_by_card, frame_bytes, bill)
        _eswitch(program, visit, card, done_by_card, entries.get(visit.chassis, 0.0), bill)
        if visit.passes and not done_by_card:
            if card.service_proxy is not None:
                _proxy(program, visit, card, services, bill)
            else:
                _slow_path(program, visit, card, together, warm, bill)
        if card.eswitch is not None and visit.chassis in installs:
            rules = card.eswitch.rules_per_connection.value
            time_ps = rules * PS_PER_S / card.eswitch.insertion_rate.value
            why = f"{rules:g} rules of a new connection"
            numbers = ("eswitch.insertion_rate", "eswitch.rules_per_connection")
            bill.work(Share.INSERTION, visit.chassis, time_ps, 1, why, *numbers)
    used = {v.chassis: bool(offloaded.get(v.chassis)) and bool(v.passes) for v in program.visits}
    for visit in program.visits:
        if visit.passes and not used[visit.chassis]:
            bill.passes[visit.chassis] = bill.passes.get(visit.chassis, 0.0) + len(visit.passes)
    return bill.total(frozendict(used))


def blend(parts: Iterable[tuple[float | Mapping[str, float], PathCost]]) -> PathCost:
    """The weighted sum of costs: with weights that come to 1 the mean packet of a mix, with whole ones several packets
    together.

    A weight may be given per chassis (a missing one is 0): of the parts of the cost that belong to it.
    """
    bill = _Bill(None)
    used: dict[str, bool] = {}
    for weight, cost in parts:

        def of(chassis: str, weight: float | Mapping[str, float] = weight) -> float:
            return weight.get(chassis, 0.0) if isinstance(weight, Mapping) else weight

        for d in cost.demands:
            if of(d.chassis):
                bill.work(d.share, d.chassis, of(d.chassis) * d.service_ps, d.servers, d.why, *d.rests_on)
        for part in cost.latency:
            if of(part.chassis):
                bill.wait(part.stage, part.chassis, of(part.chassis) * part.time_ps, *part.rests_on)
        for chassis, done in cost.offloaded.items():
            if of(chassis):
                used[chassis] = used.get(chassis, True) and done
        for chassis, passes in cost.software_passes.items():
            if of(chassis):
                bill.passes[chassis] = bill.passes.get(chassis, 0.0) + of(chassis) * passes
    return bill.total(frozendict(used))


def own_flow(one: Pass, direction: Direction) -> bool:
    """Whether the datapath flow of a pass is of one connection only. A pass of which nothing is known is taken for one."""
    return not one.examined or one.of_one_connection(direction) is not None


def crowding(eswitch: ESwitch, entries: float) -> float:
    """How many times as long a pass takes with so many entries: linear between the profile's points, from 1 at none."""
    points = sorted((0.0, 1.0) if i < 0 else _point(eswitch, i) for i in range(-1, len(eswitch.crowding)))
    return float(np.interp(entries, [x for x, _ in points], [y for _, y in points]))


def _point(eswitch: ESwitch, i: int) -> tuple[float, float]:
    return eswitch.crowding[i].entries.value, eswitch.crowding[i].slowdown.value


@dataclass(slots=True)
class _Work:
    time_ps: float = 0.0
    servers: int = 1
    whys: dict[str, None] = field(default_factory=dict)
    numbers: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Bill:
    """Sums up; insertion order is that of the path."""

    flows: int | None
    works: dict[tuple[Share, str], _Work] = field(default_factory=dict)
    waits: dict[tuple[str, str], _Work] = field(default_factory=dict)
    passes: dict[str, float] = field(default_factory=dict)

    def work(self, share: Share, chassis: str, time_ps: float, servers: float, why: str, *numbers: str) -> None:
        if not time_ps:
            return
        entry = self.works.setdefault((share, chassis), _Work())
        entry.time_ps += time_ps
        entry.servers = max(1, int(servers))
        if self.flows is not None and share in (Share.PORTS_IN, Share.PORTS_OUT, Share.SLOW_PATH):
            entry.servers = min(entry.servers, self.flows)
        entry.whys.update(dict.fromkeys(why.split(SEPARATOR)))
        entry.numbers.update(dict.fromkeys(numbers))

    def cores(self, chassis: str, card: HardwareProfile, time_ps: float, why: str, *numbers: str) -> None:
        self.work(Share.CORES, chassis, time_ps / card.host.cores.value, 1, why, "host.cores", *numbers)

    def on_slow_path(
        self, share: Share, chassis: str, card: HardwareProfile, time_ps: float, why: str, *numbers: str
    ) -> None:
        """Work of its cores or upcall threads, which are among the host's where it runs there."""
        slow = card.slow_path
        servers = slow.cores.value if share is Share.SLOW_PATH else slow.upcall_threads.value
        self.work(share, chassis, time_ps, servers, why, *numbers)
        if slow.runs_on == "host":
            self.cores(chassis, card, time_ps, str(share), *numbers)

    def wait(self, stage: str, chassis: str, time_ps: float, *numbers: str) -> None:
        if not time_ps:
            return
        entry = self.waits.setdefault((stage, chassis), _Work())
        entry.time_ps += time_ps
        entry.numbers.update(dict.fromkeys(numbers))

    def total(self, offloaded: frozendict[str, bool]) -> PathCost:
        demands = tuple(
            Demand(share, chassis, w.time_ps, w.servers, SEPARATOR.join(w.whys), tuple(w.numbers))
            for (share, chassis), w in self.works.items()
        )
        latency = tuple(
            LatencyPart(stage, chassis, w.time_ps, tuple(w.numbers)) for (stage, chassis), w in self.waits.items()
        )
        return PathCost(demands, latency, offloaded, frozendict(self.passes))


def _card(visit: Visit, cards: Mapping[str, HardwareProfile]) -> HardwareProfile:
    if visit.chassis not in cards:
        raise _wrong(visit.chassis, "the path visits it, but no profile is given for it", "give one per chassis")
    return cards[visit.chassis]


def _wrong(chassis: str, message: str, hint: str) -> InvalidInput:
    return InvalidInput([Problem(Location(path=f"profile of {chassis}"), "profile", message, hint)])


def _ended(program: Program) -> list[Visit]:
    """Visits at whose ports the two ends are, each with the card that host.latency counts: sender, receiver; where they are on
    one chassis its visit twice; none for an end outside, which has a card of its own."""
    first, last = program.visits[0], program.visits[-1]
    sender = [first] if first.entry_kind != OUTSIDE else []
    return sender + ([last] if last.exit == "port" and last.exit_kind != OUTSIDE else [])


def _ends(
    program: Program, cards: Mapping[str, HardwareProfile], bulk_bytes: float, request: float, bill: _Bill
) -> None:
    """Stacks of sender and receiver. Of an end outside nothing is known: the inner one's latency stands for both."""
    ends = _ended(program)
    for visit in ends:
        card = _card(visit, cards)
        host, bulk = card.host, bulk_bytes > 0
        rate, number = (host.segment_rate, "segment_rate") if bulk else (host.packet_rate, "packet_rate")
        what = "a full segment" if bulk else "a small packet"
        bill.work(Share.HOST, visit.chassis, PS_PER_S / rate.value, 1, what, f"host.{number}")
        if inside(program):
            time_ps = max(0.0, host.latency.value - host.network_latency.value) / len(ends)
            bill.wait(f"stack at {visit.chassis}", visit.chassis, time_ps, "host.latency", "host.network_latency")
        else:
            time_ps = host.latency.value / len(ends)
            bill.wait(f"stack, card and wire at {visit.chassis}", visit.chassis, time_ps, "host.latency")
        if bulk:
            bits = 8 * (bulk_bytes - HEADER_BYTES)
            bill.cores(visit.chassis, card, PS_PER_S * bits / host.stream_rate.value, "copying", "host.stream_rate")
        if request:
            numbers = ("host.request_instructions", "host.request_cpi", "host.frequency")
            bill.cores(visit.chassis, card, request * request_work_ps(card), "a request's instructions", *numbers)


def _wires(visit: Visit, card: HardwareProfile, done_by_card: bool, frame_bytes: float, bill: _Bill) -> None:
    """A packet that comes over the wire and goes on over the wire uses the ports both ways. A chassis whose host does the work
    has it from the card, and gives it back, with the tunnel header that it has on the wire."""
    frame, header = max(frame_bytes, SMALLEST_FRAME_BYTES), card.encapsulation.header.value
    in_host = not done_by_card and (card.slow_path.runs_on == "host" or not visit.passes)
    wires = (
        (on_wire_in(visit), visit.entry is Entry.TUNNEL, Share.PORTS_IN, Share.PCIE_IN, Share.PCIE_OUT),
        (on_wire_out(visit), visit.exit == "tunnel", Share.PORTS_OUT, Share.PCIE_OUT, Share.PCIE_IN),
    )
    for on_wire, tunnel, ports, pcie, other in wires:
        size = frame + header * tunnel
        if on_wire:
            numbers = ["ports.rate"] + ["encapsulation.header"] * tunnel
            time_ps = 8 * (size + WIRE_OVERHEAD_BYTES) * PS_PER_S / card.ports.rate.value
            bill.work(ports, visit.chassis, time_ps, card.ports.count.value, f"{size:g} B on the wire", *numbers)
        if in_host and on_wire:
            _dma(pcie, visit, card, size, bill)
        elif not in_host and not on_wire:
            # The end on this side is in the host, and the card does the work: the packet crosses without tunnel header.
            _dma(other, visit, card, frame, bill)


def _dma(way: Share, visit: Visit, card: HardwareProfile, size_bytes: float, bill: _Bill) -> None:
    time_ps = 8 * size_bytes * PS_PER_S / card.pcie.rate.value
    bill.work(way, visit.chassis, time_ps, 1, f"{size_bytes:g} B by DMA", "pcie.rate")


def _eswitch(
    program: Program, visit: Visit, card: HardwareProfile, done_by_card: bool, entries: float, bill: _Bill
) -> None:
    chip, gateway = card.eswitch, not any(visit is end for end in _ended(program))
    if chip is None:
        if gateway and visit.passes:
            number = "host.network_latency"
            bill.wait(f"card and wire at {visit.chassis}", visit.chassis, card.host.network_latency.value, number)
        return
    passes = max(1, len(visit.passes)) if done_by_card else 1
    numbers = ["eswitch.packet_time"] + ["eswitch.pass_time"] * (passes > 1)
    slower = crowding(chip, entries)
    if slower != 1:
        numbers += [
            f"eswitch.crowding[{i}].{part}" for i in range(len(chip.crowding)) for part in ("entries", "slowdown")
        ]
    time_ps = slower * (chip.packet_time.value + (passes - 1) * chip.pass_time.value)
    crowded = f", {slower:.2f} times as long with {entries:.0f} entries" if slower != 1 else ""
    bill.work(Share.ESWITCH, visit.chassis, time_ps, 1, f"{_many(passes, 'pass', 'passes')}{crowded}", *numbers)
    further = passes - 1
    stage = f"eSwitch of {visit.chassis}"
    if gateway or inside(program):
        further = passes
        bill.wait(stage, visit.chassis, chip.packet_latency.value, "eswitch.packet_latency")
    bill.wait(stage, visit.chassis, further * chip.pass_latency.value, "eswitch.pass_latency")


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _slow_path(program: Program, visit: Visit, card: HardwareProfile, together: float, warm: bool, bill: _Bill) -> None:
    slow, chassis = card.slow_path, visit.chassis
    lookups = visit.count(Op.CT)
    tunnels = visit.count(Op.TUNNEL_PUSH) + visit.count(Op.TUNNEL_POP)
    counted = (
        (1, slow.packet_time.value, "packet_time", ""),
        (len(visit.passes), slow.pass_time.value, "pass_time", _many(len(visit.passes), "pass", "passes")),
        (
            lookups,
            slow.conntrack_time.value,
            "conntrack_time",
            _many(lookups, "conntrack look-up", "conntrack look-ups"),
        ),
        (tunnels, slow.tunnel_time.value, "tunnel_time", _many(tunnels, "tunnel header", "tunnel headers")),
        (visit.count(Op.DP_HASH), slow.hash_time.value, "hash_time", "dp_hash"),
        (
            int(program.phase is Phase.FIRST and visit.count(Op.CT_COMMIT) > 0),  # later packets find the entry
            PS_PER_S / slow.conntrack_setup_rate.value,
            "conntrack_setup_rate",
            "new conntrack entry",
        ),
    )
    time_ps = sum(times * each for times, each, _, _ in counted)
    numbers = ["slow_path.cores", *(f"slow_path.{name}" for times, _, name, _ in counted if times)]
    why = ", ".join(text for times, _, _, text in counted if times and text)
    bill.on_slow_path(Share.SLOW_PATH, chassis, card, time_ps, why, *numbers)
    bill.wait(f"slow path of {chassis}", chassis, time_ps, *numbers[1:])
    if slow.wakeup_time is not None:
        number = "slow_path.wakeup_time"
        why = "a wake-up" if together == 1 else f"a wake-up for {together:.3g} packets"
        bill.on_slow_path(Share.SLOW_PATH, chassis, card, slow.wakeup_time.value / together, why, number)
        bill.wait(f"wake-up of the switch of {chassis}", chassis, slow.wakeup_time.value, number)
    _handovers(visit, card, bill)
    missing = [p for p in visit.passes if not warm or own_flow(p, program.direction)]
    upcalls, flows = (sum(o.op is op for p in missing for o in p.operations) for op in (Op.UPCALL, Op.INSTALL))
    time_ps = upcalls * slow.upcall_time.value + flows * slow.install_time.value
    numbers = ["slow_path.upcall_time"] * bool(upcalls) + ["slow_path.install_time"] * bool(flows)
    why = f"{_many(upcalls, 'upcall', 'upcalls')}, {_many(flows, 'flow', 'flows')} put in"
    bill.on_slow_path(Share.UPCALL, chassis, card, time_ps, why, *numbers, "slow_path.upcall_threads")
    bill.wait(f"upcall on {chassis}", chassis, time_ps, *numbers)


def _handovers(visit: Visit, card: HardwareProfile, bill: _Bill) -> None:
    slow = card.slow_path
    ports = [visit.entry_kind] if visit.entry is Entry.PORT and visit.entry_kind not in ("", OUTSIDE) else []
    ports += [visit.exit_kind] if visit.exit == "port" and visit.exit_kind not in ("", OUTSIDE) else []
    for kind in ports:
        count, name = (
            (slow.node_handovers.value, "node_handovers")
            if kind == "Node"
            else (slow.workload_handovers.value, "workload_handovers")
        )
        numbers = ("slow_path.handover_latency", f"slow_path.{name}")
        stage = f"handover at the {kind} port of {visit.chassis}"
        bill.wait(stage, visit.chassis, count * slow.handover_latency.value, *numbers)


def _proxy(program: Program, visit: Visit, card: HardwareProfile, services: int, bill: _Bill) -> None:
    """kube-proxy's node: the kernel forwards once (slow_path.packet_time); where the Service is translated, netfilter's
    or IPVS's time: of the first packet first_packet_time + Services * service_time (iptables compares rule by rule),
    later established_time."""
    slow, proxy, chassis = card.slow_path, card.service_proxy, visit.chassis
    assert proxy is not None
    if not any(op.detail == PROXY for op in visit.operations) and visit.count(Op.CT):
        hint = "predict on `performance.bare.proxied(program)`: balancing in the stack, without OVN"
        raise _wrong(chassis, f"{card.name} is kube-proxy and runs no OVS, but the program is OVN's", hint)
    tunnels = visit.count(Op.TUNNEL_PUSH) + visit.count(Op.TUNNEL_POP)
    time_ps = slow.packet_time.value + tunnels * slow.tunnel_time.value
    numbers, why = ["slow_path.packet_time"] + ["slow_path.tunnel_time"] * bool(tunnels), "forwarding by the kernel"
    if any(op.detail == PROXY for op in visit.operations):
        if program.phase is Phase.FIRST and program.direction is Direction.FORWARD:
            time_ps += proxy.first_packet_time.value + services * proxy.service_time.value
            numbers += ["service_proxy.first_packet_time", "service_proxy.service_time"]
            why += f", kube-proxy's first packet among {_many(services, 'Service', 'Services')}"
        else:
            time_ps += proxy.established_time.value
            numbers.append("service_proxy.established_time")
            why += ", kube-proxy's known connection"
    bill.on_slow_path(Share.SLOW_PATH, chassis, card, time_ps, why, "slow_path.cores", *numbers)
    bill.wait(f"kernel and kube-proxy of {chassis}", chassis, time_ps, *numbers)
    _handovers(visit, card, bill)
