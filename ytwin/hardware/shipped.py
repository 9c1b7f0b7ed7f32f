"""The profiles that come with the package, and which of the profiles at hand a node's card means."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, Literal

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.hardware.codec import decode_profiles
from ytwin.hardware.model import Condition, HardwareProfile, Kind, OffloadRule
from ytwin.hardware.values import with_values
from ytwin.resources.fields import nearest
from ytwin.resources.model import NetworkCardSpec

MOST_PORTS: Final = 64
"""That `NetworkCardSpec.ports` takes."""


@cache
def shipped() -> Mapping[str, HardwareProfile]:
    """Name -> profile of every file in the package's own folder. This is the only reading of files in this room."""
    folder = files("ytwin.hardware") / "profiles"
    texts = {f"profiles/{f.name}": f.read_text(encoding="utf-8") for f in folder.iterdir() if f.name.endswith(".yaml")}
    return MappingProxyType(decode_profiles(texts))


def profile_of(
    card: NetworkCardSpec | None,
    datapath: Literal["system", "netdev"],
    profiles: Mapping[str, HardwareProfile],
) -> HardwareProfile:
    """The profile of a node with this card (None: a plain NIC) and this OVS datapath, with the card's own ports.

    Of the profiles of the card's type it is the one that has the card's model in `models`, or as its name; a card that names
    none means the one with "" there. A plain NIC of any other model is as good as one that names none: there the datapath
    decides. A card with `hwOffload: false` gets a rule that keeps all traffic in software. InvalidInput when nothing or more
    than one fits.
    """
    kind, model = (card.type, card.model) if card is not None else ("none", "")
    of_type = [p for p in profiles.values() if p.card == kind]
    fitting = [p for p in of_type if model in (*p.models, p.name)]
    if kind == "none" and (not model or not fitting):
        fitting = [p for p in of_type if "" in p.models and p.slow_path.datapath == datapath]
    if len(fitting) == 1:
        return fitting[0] if card is None else _as_the_card_says(fitting[0], card)
    what = (
        f"{kind} of model {model!r}"
        if model
        else f"{kind} that names no model"
        if card
        else f"NIC with {datapath} datapath"
    )
    where = Location(path="spec.model")
    if fitting:
        message = f"{' and '.join(p.name for p in fitting)} are both for a {what}"
        raise InvalidInput(
            [Problem(where, "ambiguous-profile", message, "name one of them as the NetworkCard's model")]
        )
    known = list(dict.fromkeys(name for p in of_type for name in (p.name, *p.models) if name))
    meant = nearest(model, known)
    hint = f"did you mean {meant}?" if meant else f"there are {', '.join(known) or 'none'}; write a profile for it"
    raise InvalidInput([Problem(where, "unknown-model", f"no hardware profile is for a {what}", hint)])


def card_of(node: str, profile: HardwareProfile) -> NetworkCardSpec:
    """The NetworkCard object of `node` that means this profile, with the profile's own ports; of type none for a plain NIC.

    InvalidInput: the profile has more ports than a NetworkCard may say.
    """
    gbps = profile.ports.rate.value / 1e9
    ports = int(profile.ports.count.value)
    if ports > MOST_PORTS:
        where = Location(f"profile {profile.name}", path="spec.ports.count")
        raise InvalidInput(
            [Problem(where, "range", f"{ports} ports", f"a NetworkCard has at most {MOST_PORTS}; say so many")]
        )
    return NetworkCardSpec(node=node, type=profile.card, model=profile.name, ports=ports, port_speed_gbps=gbps)


def _as_the_card_says(profile: HardwareProfile, card: NetworkCardSpec) -> HardwareProfile:
    """Ports and hwOffload stand in the object: they win over the profile's."""
    said = {"ports.count": float(card.ports), "ports.rate": card.port_speed_gbps * 1e9}
    ports = {"ports.count": profile.ports.count.value, "ports.rate": profile.ports.rate.value}
    if said != ports:
        source = "the NetworkCard object: spec.ports, spec.portSpeedGbps"
        profile = with_values(profile, said, kind=Kind.DATASHEET, source=source)
    if card.hw_offload or profile.eswitch is None:
        return profile
    return profile.model_copy(update={"offload": (*profile.offload, _SWITCHED_OFF)})


_SWITCHED_OFF = OffloadRule(
    code="hw-offload-off",
    effect="software",
    when=Condition(always=True),
    text="The NetworkCard object says hwOffload: false.",
    source="NetworkCard.spec.hwOffload",
    kind=Kind.DATASHEET,
    remedy="set hwOffload: true",
)
