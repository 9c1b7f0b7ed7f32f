"""What is predicted: the programs of some paths, and which of their packets each card takes over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from frozendict import frozendict

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.datapath.offload_types import OffloadVerdict, Outcome
from ytwin.datapath.program import Direction, Phase, Program
from ytwin.hardware.model import HardwareProfile
from ytwin.performance.bare import OUTSIDE, proxied, tunnelled
from ytwin.performance.cost import blend, path_cost
from ytwin.performance.types import PathCost

UDP: Final = "udp"

PathKey = tuple[str, str, str, str, Direction]


def path_key(of: Program | OffloadVerdict) -> PathKey:
    """Client, destination, backend, protocol, direction."""
    return (of.client, of.destination, of.backend, of.protocol, of.direction)


def by_card(outcome: Outcome, phase: Phase) -> bool:
    """Whether a packet of this phase stays out of software."""
    return outcome is Outcome.OFFLOADED or (outcome is Outcome.FIRST_SOFTWARE and phase is Phase.ESTABLISHED)


@dataclass(frozen=True)
class Case:
    """Paths on given hardware. Several paths (backends of a Service) get equal shares of the load."""

    programs: frozendict[tuple[Phase, Direction], tuple[Program, ...]]
    outcomes: frozendict[PathKey, Mapping[str, Outcome]]
    cards: Mapping[str, HardwareProfile]
    services: int = 1

    def on(self, cards: Mapping[str, HardwareProfile]) -> Case:
        """The same on other hardware of the same abilities (other numbers)."""
        return Case(self.programs, self.outcomes, cards, self.services)

    def has(self, phase: Phase, direction: Direction) -> bool:
        """Whether there are programs for it."""
        return (phase, direction) in self.programs

    def part(self, phase: Phase, direction: Direction) -> float:
        """Share of the paths that have a program for it: UDP has no close."""
        return len(self.programs.get((phase, direction), ())) / len(self.of(Phase.ESTABLISHED, Direction.FORWARD))

    def of(self, phase: Phase, direction: Direction) -> tuple[Program, ...]:
        """The programs, one per path; InvalidInput if there are none."""
        found = self.programs.get((phase, direction), ())
        if not found:
            what = f"no program for {phase} {direction}"
            raise InvalidInput([Problem(Location(path="programs"), "missing", what, "give every phase and direction")])
        return found

    @property
    def client(self) -> str:
        """Chassis of the client, of the backend if the client is outside."""
        program = self.of(Phase.ESTABLISHED, Direction.FORWARD)[0]
        first, last = program.visits[0], program.visits[-1]
        return first.chassis if first.entry_kind != OUTSIDE else last.chassis

    @property
    def ends(self) -> dict[str, HardwareProfile]:
        """Chassis of client and backends, without ends outside."""
        found = {}
        for program in self.of(Phase.ESTABLISHED, Direction.FORWARD):
            first, last = program.visits[0], program.visits[-1]
            if first.entry_kind != OUTSIDE:
                found[first.chassis] = self.cards[first.chassis]
            if last.exit_kind != OUTSIDE:
                found[last.chassis] = self.cards[last.chassis]
        return found

    @property
    def overhead_bytes(self) -> float:
        """What tunnels take off the MTU: a CNI sets that of interfaces, so of paths that need none too."""
        programs = (p for p in self.of(Phase.ESTABLISHED, Direction.FORWARD) if p.overlay or tunnelled(p))
        visits = [v for p in programs for v in p.visits]
        return max((self.cards[v.chassis].encapsulation.overhead.value for v in visits), default=0.0)

    @property
    def underlay_mtu_bytes(self) -> float:
        """The smallest on the way."""
        visits = [v for p in self.of(Phase.ESTABLISHED, Direction.FORWARD) for v in p.visits]
        return min(self.cards[v.chassis].encapsulation.underlay_mtu.value for v in visits)

    @property
    def mtu_bytes(self) -> float:
        """Of the largest packet that every path takes whole: what the underlay leaves beside a tunnel's header, less where a
        Subnet says so."""
        said = (p.mtu_bytes for p in self.of(Phase.ESTABLISHED, Direction.FORWARD) if p.mtu_bytes)
        return min((self.underlay_mtu_bytes - self.overhead_bytes, *said))

    def offloading(self) -> frozenset[str]:
        """Chassis whose cards take established packets of some path."""
        return frozenset(self.connections_on_cards)

    @property
    def first_in_software(self) -> bool:
        """Whether some card takes a connection only after its first packets."""
        return any(o is Outcome.FIRST_SOFTWARE for outcomes in self.outcomes.values() for o in outcomes.values())

    @cached_property
    def connections_on_cards(self) -> dict[str, float]:
        """Chassis -> share of all connections that its card takes over in at least one direction: those of the paths that
        visit it. Others never ask for a place in its tables."""
        programs = self.of(Phase.ESTABLISHED, Direction.FORWARD)
        paths = Counter(path_key(p)[:4] for p in programs)
        found = Counter[str]()
        for path, count in paths.items():
            both = [self.outcomes.get((*path, direction), {}) for direction in Direction]
            taken = {c for outcomes in both for c, outcome in outcomes.items() if outcome is not Outcome.SOFTWARE}
            found.update(dict.fromkeys(taken, count))
        return {chassis: count / len(programs) for chassis, count in sorted(found.items())}

    @property
    def handshake(self) -> bool:
        """Whether connections begin with one: UDP's first datagram is a request already. Of paths that are alike."""
        return self.of(Phase.ESTABLISHED, Direction.FORWARD)[0].protocol != UDP

    @property
    def ipv6(self) -> bool:
        """Whether packets are. Of paths that are alike."""
        return self.of(Phase.ESTABLISHED, Direction.FORWARD)[0].destination.count(":") > 1

    @cached_property
    def paths(self) -> tuple[tuple[Case, int], ...]:
        """One case per path, and how often it stands there: its weight."""
        counts = Counter(path_key(p)[:4] for p in self.of(Phase.ESTABLISHED, Direction.FORWARD))
        own: dict[tuple[str, ...], dict[tuple[Phase, Direction], list[Program]]] = {path: {} for path in counts}
        for key, programs in self.programs.items():
            for program in {id(p): p for p in programs}.values():
                if (path := path_key(program)[:4]) in own:
                    own[path].setdefault(key, []).append(program)
        return tuple(
            (self._of({key: tuple(dict.fromkeys(some)) for key, some in own[path].items()}), count)
            for path, count in counts.items()
        )

    @cached_property
    def alike(self) -> tuple[tuple[float, Case], ...]:
        """(share, paths) whose packets are alike: in how connections begin, family and MTU."""
        kinds: dict[tuple[bool, bool, float], set[tuple[str, ...]]] = {}
        for one, _ in self.paths:
            path = path_key(one.of(Phase.ESTABLISHED, Direction.FORWARD)[0])[:4]
            kinds.setdefault((one.handshake, one.ipv6, one.mtu_bytes), set()).add(path)
        if len(kinds) == 1:
            return ((1.0, self),)
        whole, found = len(self.of(Phase.ESTABLISHED, Direction.FORWARD)), []
        for paths in kinds.values():
            own = {key: tuple(p for p in some if path_key(p)[:4] in paths) for key, some in self.programs.items()}
            case = self._of(own)
            found.append((len(case.of(Phase.ESTABLISHED, Direction.FORWARD)) / whole, case))
        return tuple(found)

    def _of(self, programs: Mapping[tuple[Phase, Direction], tuple[Program, ...]]) -> Case:
        return replace(self, programs=frozendict({key: some for key, some in programs.items() if some}))

    def cost(
        self,
        phase: Phase,
        direction: Direction,
        frame_bytes: float,
        *,
        bulk: bool = False,
        request: float = 0.0,
        flows: int | None = None,
        entries: Mapping[str, float] = frozendict(),
        software: bool = False,
    ) -> PathCost:
        """Of the mean packet over the paths (one that stands there several times has so many shares); `software`: as if
        nothing were offloaded. Shared datapath flows are there: predictions are of what goes on for long."""
        parts = self.costs(
            phase,
            direction,
            frame_bytes,
            bulk=bulk,
            request=request,
            flows=flows,
            entries=entries,
            software=software,
        )
        found = list(parts.values())
        return found[0][1] if len(found) == 1 else blend(found)

    def costs(
        self,
        phase: Phase,
        direction: Direction,
        frame_bytes: float,
        *,
        bulk: bool = False,
        request: float = 0.0,
        flows: int | None = None,
        entries: Mapping[str, float] = frozendict(),
        software: bool = False,
    ) -> dict[tuple[tuple[str, ...], int], tuple[float, PathCost]]:
        """Of each path's packet, with the path's share of the load; the key is the same for both directions of a path."""
        programs = self.of(phase, direction)
        counts = Counter(map(id, programs))
        seen = Counter[tuple[str, ...]]()
        parts: dict[tuple[tuple[str, ...], int], tuple[float, PathCost]] = {}
        for program in {id(p): p for p in programs}.values():
            outcomes = self.outcomes.get(path_key(program), {})
            done = {} if software else {c: by_card(o, phase) for c, o in outcomes.items()}
            installs: Collection[str] = ()
            if (
                phase is Phase.FIRST and direction is Direction.FORWARD and not software
            ):  # rules go in once per connection
                installs = [c for c, o in outcomes.items() if o is not Outcome.SOFTWARE]
            cost = path_cost(
                program,
                self.cards,
                done,
                frame_bytes,
                bulk=bulk,
                request=request,
                flows=flows,
                services=self.services,
                entries=entries,
                installs=installs,
                warm=True,
            )
            way = (program.client, program.destination, program.backend, program.protocol, program.address)
            parts[way, seen[way]] = (counts[id(program)] / len(programs), cost)
            seen[way] += 1
        return parts


def make_case(
    programs: Iterable[Program],
    verdicts: Iterable[OffloadVerdict],
    cards: Mapping[str, HardwareProfile],
    services: int = 1,
    assume: Outcome | None = None,
) -> Case:
    """Checks that all is there. `assume`: this outcome on every card, whatever the verdicts say.

    A chassis without an eSwitch needs no verdict. On kube-proxy's profiles the paths are taken without OVN
    (`bare.proxied`), with a tunnel between nodes if encapsulation.overhead is above 0.
    """
    found: dict[tuple[Phase, Direction], tuple[Program, ...]] = {}
    judged = {path_key(v): v.by_chassis for v in verdicts}
    outcomes: dict[PathKey, Mapping[str, Outcome]] = {}
    for given in programs:
        _check(given, cards)
        program = _suited(given, cards)
        key = (program.phase, program.direction)
        found[key] = (*found.get(key, ()), program)
        outcomes[path_key(program)] = _outcomes(program, judged.get(path_key(program)), cards, assume)
    return Case(frozendict(found), frozendict(outcomes), cards, services)


def _check(program: Program, cards: Mapping[str, HardwareProfile]) -> None:
    what = f"path from {program.client} to {program.backend}"
    if not program.delivered and program.phase is not Phase.IDLE:
        raise InvalidInput(
            [Problem(Location(path=what), "undelivered", "it does not arrive", "predict for paths that do")]
        )
    for visit in program.visits:
        if visit.chassis not in cards:
            hint = "give one per chassis"
            message = f"it visits {visit.chassis}, for which there is no hardware profile"
            raise InvalidInput([Problem(Location(path=what), "profile", message, hint)])


def _suited(program: Program, cards: Mapping[str, HardwareProfile]) -> Program:
    here = [cards[v.chassis] for v in program.visits if v.passes]
    proxies = [card for card in here if card.service_proxy is not None]
    if not proxies:
        return program
    if len(proxies) < len(here):
        names = ", ".join(sorted({card.name for card in here}))
        message = f"OVN on some chassis of the path and kube-proxy on others: {names}"
        raise InvalidInput(
            [Problem(Location(path="profiles"), "mixed", message, "give all of them one kind of profile")]
        )
    return proxied(program, tunnel=all(card.encapsulation.overhead.value > 0 for card in proxies))


def _outcomes(
    program: Program,
    judged: Mapping[str, Outcome] | None,
    cards: Mapping[str, HardwareProfile],
    assume: Outcome | None,
) -> Mapping[str, Outcome]:
    found: dict[str, Outcome] = {}
    for visit in program.visits:
        card = cards[visit.chassis]
        if card.eswitch is None or not visit.passes:
            continue
        if assume is not None:
            found[visit.chassis] = assume
        elif judged is not None and visit.chassis in judged:
            found[visit.chassis] = judged[visit.chassis]
        else:
            what = f"{program.direction} path from {program.client} to {program.backend}"
            hint = "give the verdicts of datapath.judge_offload for these programs and cards"
            message = f"no offload verdict for {visit.chassis}"
            raise InvalidInput([Problem(Location(path=what), "verdict", message, hint)])
    return found
