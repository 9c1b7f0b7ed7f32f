"""Which hardware a user means: `--card PROFILE|FILE`, or what the input's NetworkCards say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ytwin.cli.files import SUFFIXES, read_files
from ytwin.core.errors import InvalidInput, Problem, YtwinError
from ytwin.hardware import HardwareProfile, decode_profiles, profile_of, shipped
from ytwin.pipeline import Twin
from ytwin.resources.fields import nearest
from ytwin.resources.model import NetworkCard
from ytwin.trace.world import chassis_name

Cards = Mapping[str, HardwareProfile]
"""Chassis -> its profile."""


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


def sets_of_cards(twin: Twin, names: Sequence[str]) -> dict[str, Cards]:
    """Title -> cards: each named profile in every node, or what the input says if none is named."""
    named = find_profiles(names)
    if named:
        return {f"{p.name} in every node": dict.fromkeys(map(chassis_name, twin.nodes), p) for p in named.values()}
    cards = cards_of(twin)
    listed = ", ".join(f"{chassis} {profile.name}" for chassis, profile in sorted(cards.items()))
    return {f"as the NetworkCards say: {listed or 'no node'}": cards}
