"""Which hardware a user means: `--card PROFILE|FILE`, or what the input's NetworkCards say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ytwin import pipeline
from ytwin.cli.files import SUFFIXES, read_files
from ytwin.core.errors import InvalidInput, Problem, YtwinError
from ytwin.hardware import HardwareProfile, card_of, decode_profiles, profile_of, shipped
from ytwin.pipeline import Twin
from ytwin.resources.fields import nearest
from ytwin.resources.model import Metadata, NetworkCard, Node
from ytwin.resources.snapshot import Snapshot, id_of
from ytwin.trace.world import chassis_name

Cards = Mapping[str, HardwareProfile]
"""Chassis -> its profile."""
OBSERVED = "the flows and options are those of --southbound as they are, whatever card it was compiled for"
"""Of a card that is only supposed."""


@dataclass(frozen=True)
class CardSet:
    """Cards, and the twin as it is compiled where they are in the nodes."""

    title: str
    cards: Cards
    twin: Twin
    notes: tuple[str, ...] = ()


def find_profiles(names: Sequence[str], option: str = "--card ") -> dict[str, HardwareProfile]:
    """Profiles by name: shipped ones, then all that the named files and folders hold. YtwinError: there is neither of a name."""
    known = shipped()
    paths = [name for name in names if name not in known]
    for name in paths:
        if not (name == "-" or name.endswith(SUFFIXES) or "/" in name or Path(name).exists()):
            meant = nearest(name, known)
            hint = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}"
            raise YtwinError(f"{option}{name}: no profile and no file of this name; {hint}")
    found = {name: known[name] for name in names if name in known}
    return found | (decode_profiles(read_files(paths), known) if paths else {})


def cards_of(twin: Twin) -> dict[str, HardwareProfile]:
    """Chassis -> the profile that the node's NetworkCard means, or a plain NIC with the nodes' datapath.

    InvalidInput names every card of which no profile is known.
    """
    by_node = {card.spec.node: card for card in twin.snapshot.all(NetworkCard)}
    datapath, known, problems = twin.snapshot.network.datapath, shipped(), list[Problem]()
    found: dict[str, HardwareProfile] = {}
    for config in twin.nodes:
        card = by_node.get(config.node)
        try:
            found[chassis_name(config)] = profile_of(card.spec if card else None, datapath, known)
        except InvalidInput as error:
            where = f"NetworkCard/{card.name}" if card else f"Node/{config.node}"
            for problem in error.problems:
                hint = f"{problem.hint}; or choose one for every node with --card"
                problems.append(replace(problem, where=replace(problem.where, file=where), hint=hint))
    if problems:
        raise InvalidInput(problems)
    return found


def sets_of_cards(twin: Twin, names: Sequence[str], down: Sequence[str] = ()) -> tuple[CardSet, ...]:
    """Each named profile in every node, or what the input says if none is named. `down`: the nodes that the twin has lost.

    Rows follow the cards (`use_ct_inv_match`), so a supposed one has its own twin where its Northbound differs; those with
    equal ones share one. Flows that were read stay as they are, with a note.
    """
    named = find_profiles(names)
    if not named:
        cards = cards_of(twin)
        listed = ", ".join(f"{chassis} {profile.name}" for chassis, profile in sorted(cards.items()))
        return (CardSet(f"as the NetworkCards say: {listed or 'no node'}", cards, twin),)
    notes = (OBSERVED,) if twin.drift is not None else ()
    twins, found = [twin], list[CardSet]()
    for profile in named.values():
        fitting = twin if twin.drift is not None else _compiled(profile, twins, down)
        cards = dict.fromkeys(map(chassis_name, twin.nodes), profile)
        found.append(CardSet(f"{profile.name} in every node", cards, fitting, notes))
    return tuple(found)


def by_twin(sets: Iterable[CardSet]) -> list[tuple[Twin, list[CardSet]]]:
    """Sets that share a twin, together."""
    groups: dict[int, tuple[Twin, list[CardSet]]] = {}
    for one in sets:
        groups.setdefault(id(one.twin), (one.twin, []))[1].append(one)
    return list(groups.values())


def _compiled(profile: HardwareProfile, twins: list[Twin], down: Sequence[str]) -> Twin:
    """One of `twins` if its Northbound is what this card in every node gives; else a new one, which is added to them."""
    snapshot = _in_every_node(profile, twins[0].snapshot)
    _, northbound = pipeline.compile_rows(snapshot)
    for known in twins:
        if known.northbound == northbound:
            return known
    twins.append(pipeline.build(snapshot, down=down))
    return twins[-1]


def _in_every_node(profile: HardwareProfile, snapshot: Snapshot) -> Snapshot:
    """With this card in every node in place of any other; a plain NIC's is one of type none."""
    put = [
        NetworkCard(metadata=Metadata(name=f"{node.name}-card"), spec=card_of(node.name, profile))
        for node in snapshot.all(Node)
    ]
    kept = {id_of(card) for card in put}
    return snapshot.changed(put, [i for i, _ in snapshot.items(NetworkCard) if i not in kept])
