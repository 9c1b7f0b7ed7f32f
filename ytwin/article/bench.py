"""The testbed as far as predictions need it: the datapath programs of its clients, its cards, and the prediction of a cell.

The way of a cell: testbed.yaml -> twin -> Conversation -> programs -> offload verdicts -> costs -> the load's prediction. Only
the baseline starts at programs: it passes no OVN. The two modes differ in `hwOffload` of the NetworkCards and in nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from frozendict import frozendict

from ytwin.article.tables import Cell, Mode, Tables, shipped_text
from ytwin.core.errors import YtwinError
from ytwin.datapath import limits_of, programs
from ytwin.datapath.offload import judge_offload
from ytwin.datapath.offload_types import OffloadVerdict
from ytwin.datapath.program import Program
from ytwin.hardware import HardwareProfile, profile_of
from ytwin.nodes.config import NodeConfig
from ytwin.performance import bare_programs
from ytwin.performance.loads import Load, parse_load
from ytwin.resources.model import NetworkCard, NetworkCardSpec, YusurService
from ytwin.resources.snapshot import Snapshot
from ytwin.trace import Tracer
from ytwin.trace.types import Verdict, World
from ytwin.trace.world import chassis_name

Profiles = Mapping[str, HardwareProfile]
"""By name."""


def topology_files() -> Mapping[str, str]:
    """The testbed, as `resources.codec.decode` takes it."""
    return {"testbed.yaml": shipped_text("testbed.yaml")}


def clients_of(tables: Tables) -> tuple[str, ...]:
    """Every client that some cell has; "" for the baseline."""
    return tuple(dict.fromkeys(cell.client for cell in tables.cells.values()))


def in_mode(snapshot: Snapshot, mode: Mode) -> Snapshot:
    """The same topology with all cards' offload on or off."""
    on = mode is Mode.OFFLOAD
    cards = snapshot.all(NetworkCard)
    return snapshot.changed(
        c.model_copy(update={"spec": c.spec.model_copy(update={"hw_offload": on})}) for c in tuple(cards)
    )


@dataclass(frozen=True)
class Bench:
    """One mode of the testbed, traced."""

    programs: Mapping[str, tuple[Program, ...]]
    """Client ("" for the baseline) -> its datapath programs."""
    specs: Mapping[str, NetworkCardSpec | None]
    """Chassis -> its card."""
    datapaths: Mapping[str, Literal["system", "netdev"]]
    """Chassis -> OVS's datapath."""
    verdicts: Mapping[str, tuple[OffloadVerdict, ...]]
    """Client -> what the cards take over."""

    def cards(self, profiles: Profiles) -> frozendict[str, HardwareProfile]:
        """Chassis -> the profile that its NetworkCard means, of those given."""
        return _cards(self.specs, self.datapaths, profiles)


Benches = Mapping[Mode, Bench]


def _cards(
    specs: Mapping[str, NetworkCardSpec | None],
    datapaths: Mapping[str, Literal["system", "netdev"]],
    profiles: Profiles,
) -> frozendict[str, HardwareProfile]:
    return frozendict({c: profile_of(spec, datapaths[c], profiles) for c, spec in specs.items()})


def bench(
    snapshot: Snapshot, nodes: Iterable[NodeConfig], world: World, profiles: Profiles, clients: Iterable[str]
) -> Bench:
    """Trace every client ("" is the baseline) to the Service of a testbed, and judge what its cards take over.

    YtwinError if a client does not reach the Service.
    """
    hosts = {host.name: host for host in world.hosts}
    service = next(iter(snapshot.all(YusurService)))
    address, port = service.status.cluster_ip or service.spec.cluster_ip, service.spec.ports[0]
    found: dict[str, tuple[Program, ...]] = {}
    for client in clients:
        if client:
            said = Tracer(world).converse(hosts[client], address, port.port, port.protocol.lower())
            if said.verdict is not Verdict.DELIVERED:
                raise YtwinError(f"{client} does not reach {address}: {said.reason}")
            found[client] = programs(said, world)
    if "" in clients:
        ends = next(iter(found.values()))[0].visits
        found[""] = bare_programs(ends[0].chassis, ends[-1].chassis)
    nodes = tuple(nodes)
    by_node = {c.spec.node: c.spec for c in snapshot.all(NetworkCard)}
    specs = {chassis_name(n): by_node.get(n.node) for n in nodes}
    datapaths: dict[str, Literal["system", "netdev"]] = {
        c: "netdev" if limit.datapath == "netdev" else "system" for c, limit in limits_of(nodes).items()
    }
    cards = _cards(specs, datapaths, profiles)
    return Bench(found, specs, datapaths, {c: judge_offload(p, cards) for c, p in found.items()})


def card_of(benches: Benches, profiles: Profiles) -> str:
    """The one profile that all chassis of the testbed have: what calibration changes."""
    names = {card.name for b in benches.values() for card in b.cards(profiles).values()}
    if len(names) != 1:
        raise YtwinError(f"the testbed's nodes have different profiles: {', '.join(sorted(names))}")
    return names.pop()


@cache
def _load(text: str) -> Load:
    return parse_load(text).load


def cell_load(cell: Cell) -> Load:
    """The load under which the article measured it."""
    return _load(cell.load_text)
