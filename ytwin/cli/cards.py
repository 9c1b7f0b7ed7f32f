"""Which hardware a user means: `--card PROFILE|FILE`, or what the input's NetworkCards say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ytwin.cli.files import SUFFIXES, read_files
from ytwin.core.errors import YtwinError
from ytwin.hardware import HardwareProfile, decode_profiles, profile_of, shipped
from ytwin.pipeline import Twin
from ytwin.resources.fields import nearest
from ytwin.resources.model import NetworkCard
from ytwin.trace.world import chassis_name

Cards = Mapping[str, HardwareProfile]
"""Chassis -> its profile."""


def find_profiles(names: Iterable[str]) -> dict[str, HardwareProfile]:
    """Profiles by name: shipped ones, and all that a named file or folder holds. YtwinError: there is neither."""
    known, found = shipped(), dict[str, HardwareProfile]()
    for name in names:
        if name in known:
            found[name] = known[name]
        elif name == "-" or name.endswith(SUFFIXES) or "/" in name or Path(name).exists():
            found |= decode_profiles(read_files([name]), known)
        else:
            meant = nearest(name, known)
            hint = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}"
            raise YtwinError(f"--card {name}: no profile and no file of this name; {hint}")
    return found


def cards_of(twin: Twin) -> dict[str, HardwareProfile]:
    """Chassis -> the profile that the node's NetworkCard means, or a plain NIC with the nodes' datapath."""
    specs = {card.spec.node: card.spec for card in twin.snapshot.all(NetworkCard)}
    datapath, known = twin.snapshot.network.datapath, shipped()
    return {chassis_name(c): profile_of(specs.get(c.node), datapath, known) for c in twin.nodes}


def sets_of_cards(twin: Twin, names: Iterable[str]) -> dict[str, Cards]:
    """Title -> cards: each named profile in every node, or what the input says if none is named."""
    named = find_profiles(names)
    if named:
        return {f"{p.name} in every node": dict.fromkeys(map(chassis_name, twin.nodes), p) for p in named.values()}
    cards = cards_of(twin)
    listed = ", ".join(f"{chassis} {profile.name}" for chassis, profile in sorted(cards.items()))
    return {f"as the NetworkCards say: {listed or 'no node'}": cards}
