"""One point to its metrics: topology with the point's settings -> twin -> traced path -> datapath programs -> prediction. Pure.

What points share (a compiled topology, a traced path) is kept in a `Memory` that the caller passes; with or without it the
result is the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final, Literal, TypeVar

import yaml

from ytwin import pipeline
from ytwin.core.errors import YtwinError
from ytwin.core.units import UNITS
from ytwin.datapath import limits_of
from ytwin.datapath.offload import judge_offload
from ytwin.datapath.offload_types import OffloadVerdict
from ytwin.datapath.program import Program
from ytwin.datapath.programs import programs
from ytwin.generate import generate
from ytwin.hardware import (
    HardwareProfile,
    Kind,
    card_of,
    decode_profiles,
    drawn_between,
    numbers,
    profile_of,
    shipped,
    with_values,
)
from ytwin.performance import Metric, Prediction, predict
from ytwin.performance.loads import API_VERSION, Load, decode_loads
from ytwin.pipeline import Twin
from ytwin.resources.codec import decode
from ytwin.resources.model import Metadata, NetworkCard, NetworkCardSpec, Node, YusurService
from ytwin.resources.snapshot import Snapshot
from ytwin.sim.streams import Streams
from ytwin.sim.workloads import PacketRate
from ytwin.study.amounts import amount
from ytwin.study.balance import KEYS, balance
from ytwin.study.designs import variants
from ytwin.study.goals import Uncertain
from ytwin.study.model import Scalar, Study
from ytwin.study.neighbour import neighbour
from ytwin.study.paths import (
    below,
    cards_of,
    changed_topology,
    generated_by,
    load_of,
    numbers_of,
    offload_of,
    route_of,
    whole,
    wrong,
)
from ytwin.study.points import Inputs, Point, Settings, base_of, digest
from ytwin.study.sizing import plan_of, sizing
from ytwin.trace.types import Verdict
from ytwin.trace.world import chassis_name
from ytwin.verify.naming import find_client, find_served

T = TypeVar("T")

REMEMBERED: Final = {"twin": 3, "generated": 3}
"""How many of a kind a Memory keeps: a compiled topology of 10,000 Services takes hundreds of megabytes."""
MOST_REMEMBERED: Final = 64
"""Of other kinds."""


class Memory:
    """Results of pure functions by name; the oldest go."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def once(self, kind: str, key: Any, make: Callable[[], T]) -> T:
        """`make()`, or what it gave for the same key before."""
        name = (kind, digest(key))
        if name not in self._kept:
            self._kept[name] = make()
            of_kind = [k for k in self._kept if k[0] == kind]
            for old in of_kind[: -REMEMBERED.get(kind, MOST_REMEMBERED)]:
                del self._kept[old]
        self._kept.move_to_end(name)
        result: T = self._kept[name]
        return result


@dataclass(frozen=True)
class Job:
    """A study with all that it reads: what a worker needs beside the points."""

    study: Study
    inputs: Inputs
    version: str = ""
    """Of the twin."""

    @cached_property
    def base(self) -> str:
        """See `points.base_of`."""
        return base_of(self.study, self.inputs, self.version)

    @property
    def id(self) -> str:
        """Equal for jobs whose points may share a Memory."""
        return self.base


@dataclass(frozen=True)
class Scene:
    """A topology, a traced path on it, and the cards that it meets, for one group of settings."""

    twin: Twin
    programs: tuple[Program, ...]
    cards: Mapping[str, HardwareProfile]
    """Chassis -> profile."""
    verdicts: tuple[OffloadVerdict, ...]
    client: str
    destination: str

    @property
    def services(self) -> int:
        """How many there are."""
        return sum(1 for _ in self.twin.snapshot.all(YusurService))


@dataclass
class _Scenes:
    """Makes scenes for one job."""

    job: Job
    memory: Memory = field(default_factory=Memory)

    def twin(self, settings: Settings) -> Twin:
        """The compiled topology. Rows depend on which nodes have cards that offload, so the objects say what the study says."""
        return self.memory.once("twin", self.topology_key(settings), lambda: pipeline.build(self.changed(settings)))

    def topology_key(self, settings: Settings) -> list[Any]:
        """All that the compiled topology depends on."""
        spec = self.job.study.spec
        said = {k: v for k, v in settings.items() if k.startswith(("topology.", "generate.")) or k == "services.count"}
        called = route_of(spec, settings)[1] if "services.count" in said else ""
        cards = {n: [s.type, s.hw_offload] for n, s in self.card_objects(settings, self.snapshot(settings)).items()}
        return [said, called, cards]

    def changed(self, settings: Settings) -> Snapshot:
        """The topology with the settings, cards included."""
        snapshot = changed_topology(self.snapshot(settings), settings, route_of(self.job.study.spec, settings)[1])
        wanted = self.card_objects(settings, snapshot)
        known = {card.spec.node: card for card in snapshot.all(NetworkCard)}
        made = (
            known.get(n) or NetworkCard(metadata=Metadata(name=f"{n}-card"), spec=spec) for n, spec in wanted.items()
        )
        return snapshot.changed(c.model_copy(update={"spec": wanted[c.spec.node]}) for c in made)

    def card_objects(self, settings: Settings, snapshot: Snapshot) -> dict[str, NetworkCardSpec]:
        """Node -> its NetworkCard's spec as the study wants it, for the nodes for which it wants one."""
        nodes = [node.name for node in snapshot.all(Node)]
        profiles = self.profiles()
        said = cards_of(self.job.study.spec, settings, nodes)
        offloads = offload_of(settings, nodes)
        found = {}
        known = {card.spec.node: card.spec for card in snapshot.all(NetworkCard)}
        for node in nodes:
            spec = known.get(node, NetworkCardSpec(node=node))
            if node in said:
                if said[node] not in profiles:
                    raise wrong("cards", f"no profile {said[node]!r}", f"there are {', '.join(sorted(profiles))}")
                spec = card_of(node, profiles[said[node]])
            if node in offloads:
                spec = spec.model_copy(update={"hw_offload": offloads[node]})
            if node in said or node in offloads:
                found[node] = spec
        return found

    def snapshot(self, settings: Settings) -> Snapshot:
        spec = self.job.study.spec
        if spec.topology.generate is not None:
            arguments = generated_by(spec, settings)
            return self.memory.once("generated", arguments, lambda: Snapshot.of(generate(**arguments)))
        return self.memory.once("files", "", lambda: decode(self.job.inputs.topology))

    def profiles(self) -> Mapping[str, HardwareProfile]:
        def read() -> dict[str, HardwareProfile]:
            return {**shipped(), **decode_profiles(self.job.inputs.profiles, shipped())}

        return self.memory.once("profiles", "", read)

    def traced(self, settings: Settings) -> tuple[str, str, tuple[Program, ...]]:
        spec = self.job.study.spec
        client, to, protocol = route_of(spec, settings)
        if not client or not to:
            raise wrong("path", "the study does not say who calls what", "write path: {from: CLIENT, to: SERVICE}")
        twin = self.twin(settings)

        def trace() -> tuple[str, str, tuple[Program, ...]]:
            host = find_client(twin, client)
            where = find_served(twin, host, to, protocol, False)
            said = pipeline.converse(twin, host, where.address, where.port, where.protocol)
            if said.verdict is not Verdict.DELIVERED:
                raise YtwinError(f"{host.name} does not reach {to}: {said.reason}")
            return host.name, to, programs(said, twin.world)

        return self.memory.once("path", [self.topology_key(settings), client, to, protocol], trace)

    def cards(self, settings: Settings) -> dict[str, HardwareProfile]:
        """Chassis -> profile, with the numbers that the settings say."""
        twin, profiles = self.twin(settings), self.profiles()
        said = cards_of(self.job.study.spec, settings, [config.node for config in twin.nodes])
        by_node = {card.spec.node: card.spec for card in twin.snapshot.all(NetworkCard)}
        limits = limits_of(twin.nodes)
        wanted = self.card_objects(settings, twin.snapshot)
        found: dict[str, HardwareProfile] = {}
        for config in twin.nodes:
            chassis = chassis_name(config)
            datapath: Literal["system", "netdev"] = "netdev" if limits[chassis].datapath == "netdev" else "system"
            if config.node not in said:
                found[chassis] = profile_of(by_node.get(config.node), datapath, profiles)
                continue
            named = profiles[said[config.node]]
            # A plain NIC's profile is taken by its name, so that kube-proxy's and both of OVS's can be had.
            plain = named.card == "none"
            found[chassis] = named if plain else profile_of(wanted[config.node], datapath, {named.name: named})
        return _with_numbers(found, settings)

    def scene(self, settings: Settings, chance: int | None = None) -> Scene:
        client, to, found = self.traced(settings)
        cards = self.cards(settings)
        if chance is not None:
            cards = drawn(cards, chance)
        # Rules of offload do not depend on a profile's numbers, so drawn cards are judged like those of the study.
        names = {chassis: [card.name, [rule.code for rule in card.offload]] for chassis, card in cards.items()}
        key = [self.topology_key(settings), route_of(self.job.study.spec, settings), names]
        verdicts = self.memory.once("verdicts", key, lambda: judge_offload(found, cards))
        return Scene(self.twin(settings), found, cards, verdicts, client, to)

    def load(self, settings: Settings) -> Load:
        fields = load_of(self.job.study.spec, settings)
        if not fields:
            raise wrong("load", "the study has no load", "write load: {kind: ...}")
        return self.memory.once("load", fields, lambda: _decoded(self.job.study, fields))


def _decoded(study: Study, fields: Mapping[str, Any]) -> Load:
    document = {"apiVersion": API_VERSION, "kind": "Load", "metadata": {"name": study.name}, "spec": dict(fields)}
    loads = decode_loads({f"{study.file} (load)": yaml.safe_dump(document, sort_keys=False)})
    if loads[0].services:
        raise wrong("load.services", "a study follows one path", "leave it out; path.to says the Service")
    return loads[0].load


def _with_numbers(cards: Mapping[str, HardwareProfile], settings: Settings) -> dict[str, HardwareProfile]:
    found = dict(cards)
    for said in numbers_of(settings):
        fitting = [chassis for chassis, card in found.items() if fnmatchcase(card.name, said.profile)]
        if not fitting:
            names = ", ".join(sorted({card.name for card in found.values()}))
            raise wrong(said.path, f"no node has the profile {said.profile!r}", f"there are {names}")
        for chassis in fitting:
            known = numbers(found[chassis])
            if said.number not in known and any(said.number in numbers(found[other]) for other in fitting):
                continue  # a plain NIC has no eSwitch
            value = amount(said.value)
            if said.number in known and (value is None or not value.measures(known[said.number].dimension)):
                dimension = known[said.number].dimension
                raise wrong(
                    said.path, f"{said.value!r} is no {dimension}", f"write it like {known[said.number].text!r}"
                )
            base = value.value if value is not None else 0.0
            source = "the study sets it"
            found[chassis] = with_values(found[chassis], {said.number: base}, kind=Kind.ASSUMED, source=source)
    return found


def drawn(cards: Mapping[str, HardwareProfile], chance: int) -> dict[str, HardwareProfile]:
    """The cards with every uncertain number drawn evenly from its interval, once per profile.

    A number that two profiles share (same place, interval and source: the host's, say) is one number and has one draw, so that it
    cancels where they are compared; so does everything between variants with the same profile.
    """
    streams, made = Streams(chance), dict[str, HardwareProfile]()
    for card in cards.values():
        if card.name not in made:
            values = drawn_between(
                card, lambda path, q: float(streams.generator(f"{path} {q.low} {q.high} {q.source}").random())
            )
            made[card.name] = with_values(card, values, kind=Kind.ASSUMED, source="drawn from its interval")
    return {chassis: made[card.name] for chassis, card in cards.items()}


def check_inputs(job: Job) -> None:
    """Read topology, profiles and the first variant's load, so that what is wrong with them is said before anything runs."""
    spec, scenes = job.study.spec, _Scenes(job)
    settings = dict(variants(spec)[0].settings)
    if spec.goal.limit is not None:
        settings[spec.goal.limit.parameter] = spec.goal.limit.start
    scenes.snapshot(settings)
    scenes.profiles()
    if spec.model not in MODELS:
        raise wrong("model", f"no model {spec.model!r}", f"there are {', '.join(MODELS)}")
    if spec.load:
        scenes.load(settings)


def scene_of(job: Job, settings: Settings, memory: Memory | None = None) -> Scene:
    """What a group of settings looks like, for reports."""
    return _Scenes(job, memory or Memory()).scene(settings)


def uncertain_numbers(job: Job, settings: Settings, memory: Memory | None = None) -> tuple[Uncertain, ...]:
    """The profile numbers with an interval, of the chassis that the path visits. YtwinError if there is no such path."""
    scene = scene_of(job, settings, memory)
    visited = {visit.chassis for program in scene.programs for visit in program.visits}
    profiles = {scene.cards[chassis].name: scene.cards[chassis] for chassis in sorted(visited)}
    return tuple(
        Uncertain(name, path, number)
        for name, profile in profiles.items()
        for path, number in numbers(profile).items()
        if number.low < number.high
    )


def evaluate(job: Job, point: Point, memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics and texts of one point, by the study's model. YtwinError says what cannot be computed."""
    model = MODELS.get(job.study.spec.model)
    if model is None:
        raise wrong("model", f"no model {job.study.spec.model!r}", f"there are {', '.join(MODELS)}")
    return model(job, point, memory)


def evaluate_path(job: Job, point: Point, memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """What the path gives under the load. The topology's number of Services counts for kube-proxy."""
    settings, scenes = dict(point.settings), _Scenes(job, memory)
    scene = scenes.scene(settings, point.seed if point.draws else None)
    load = scenes.load(settings)
    prediction = predict(
        scene.programs,
        scene.verdicts,
        scene.cards,
        load,
        engine=point.engine,
        seed=point.seed,
        services=scene.services,
        intervals=point.intervals,
    )
    measures = measures_of(prediction, point.intervals or point.engine != "analytic")
    return {**measures, **_traffic(measures, load), **_programming(scene)}, texts_of(prediction, scene.verdicts)


def _traffic(measures: Mapping[str, float], load: Load) -> dict[str, float]:
    """Of packets, what they are in bits: frames with check sequence, without preamble and gap."""
    if not isinstance(load, PacketRate):
        return {}
    each = load.size_bytes * 8 * 1e6 / 1e9
    rate = Metric.PACKET_RATE.value
    return {
        f"traffic_gbit_per_s{end}": measures[rate + end] * each
        for end in ("", ".low", ".high")
        if rate + end in measures
    }


def _programming(scene: Scene) -> dict[str, float]:
    """How long kube-proxy takes after a change of any Service (its profile says how long per Service); nothing for others."""
    proxies = [card.service_proxy for card in scene.cards.values() if card.service_proxy is not None]
    if not proxies:
        return {}
    return {"programming_ms": max(proxy.program_time.value for proxy in proxies) * scene.services / UNITS["time"]["ms"]}


def measures_of(prediction: Prediction, intervals: bool) -> dict[str, float]:
    """Its values by name, with `NAME.low` and `NAME.high`."""
    found: dict[str, float] = {}
    for value in prediction.values:
        found[value.metric.value] = value.value
        if intervals:
            found[f"{value.metric.value}.low"] = value.low
            found[f"{value.metric.value}.high"] = value.high
    return found


def texts_of(prediction: Prediction, verdicts: tuple[OffloadVerdict, ...]) -> dict[str, str]:
    """What limits, how busy resources are, what is offloaded and why not, what the numbers rest on."""
    busy = sorted(prediction.utilisation.items(), key=lambda item: -item[1])[:4]
    said = {
        "limit": prediction.limit,
        "busy": ", ".join(f"{name} {100 * share:.0f} %" for name, share in busy),
        "rests_on": "; ".join(prediction.rests_on),
        "notes": "; ".join(prediction.notes),
    }
    return {name: text for name, text in {**said, **texts_of_verdicts(verdicts)}.items() if text}


def texts_of_verdicts(verdicts: tuple[OffloadVerdict, ...]) -> dict[str, str]:
    """What is offloaded, and why not all is."""
    said = {
        "offload": ", ".join(dict.fromkeys(str(v.outcome) for v in verdicts)),
        "reasons": ", ".join(dict.fromkeys(r.code for v in verdicts for r in v.reasons)),
    }
    return {name: text for name, text in said.items() if text}


def evaluate_sizing(job: Job, point: Point, memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """See `sizing`."""
    settings, scenes = dict(point.settings), _Scenes(job, memory)
    fields = _fields_of(settings, "busy", "nodePrice", "cardPrice")
    plan = plan_of({name: _plain(value, f"model.{name}") for name, value in fields.items()})
    scene = scenes.scene(settings, point.seed if point.draws else None)
    metrics, texts = sizing(scene, scenes.load(settings), plan)
    return metrics, {**texts_of_verdicts(scene.verdicts), **texts}


def evaluate_balance(job: Job, point: Point, memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """See `balance`."""
    settings = dict(point.settings)
    fields = _fields_of(settings, "keys")
    scene = _Scenes(job, memory).scene(settings, point.seed if point.draws else None)
    metrics, texts = balance(scene, max(1, whole(fields.get("keys", KEYS), "model.keys")), point.seed)
    return metrics, {**texts_of_verdicts(scene.verdicts), **texts}


def evaluate_neighbour(job: Job, point: Point, memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """See `neighbour`."""
    settings, scenes = dict(point.settings), _Scenes(job, memory)
    fields = _fields_of(settings, "from", "to", "protocol", "rate")
    rate = amount(fields.get("rate"))
    if rate is None or rate.dimension != "rate" or rate.value < 0:
        raise wrong(
            "model.rate", f"{fields.get('rate')!r} is no rate of packets", "write the other call's, such as 1 Mpps"
        )
    beside = {**settings, **{f"path.{name}": value for name, value in fields.items() if name != "rate"}}
    chance = point.seed if point.draws else None
    scene, other = scenes.scene(settings, chance), scenes.scene(beside, chance)
    return neighbour(scene, other, scenes.load(settings), rate.value)


def _fields_of(settings: Settings, *known: str) -> dict[str, Scalar]:
    """`model.FIELD`, of those that the model has."""
    fields = below(settings, "model")
    for name in fields:
        if name not in known:
            raise wrong(f"model.{name}", "the study's model has no such field", f"there are {', '.join(known)}")
    return fields


def _plain(value: Scalar, path: str) -> float:
    found = amount(value)
    if found is None or found.dimension:
        raise wrong(path, f"{value!r} is no plain number", "write a number without a unit")
    return found.value


Model = Callable[[Job, Point, Memory], tuple[dict[str, float], dict[str, str]]]

MODELS: Final[dict[str, Model]] = {
    "path": evaluate_path,
    "sizing": evaluate_sizing,
    "balance": evaluate_balance,
    "neighbour": evaluate_neighbour,
}
"""Name in a study's `model` -> what computes its points."""
