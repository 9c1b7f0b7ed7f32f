"""The profiles that come with the package, and which of the profiles at hand a node's card means."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.hardware.codec import decode_profiles
from ytwin.hardware.model import Condition, HardwareProfile, Kind, OffloadRule
from ytwin.hardware.values import with_values
from ytwin.resources.fields import nearest
from ytwin.resources.model import NetworkCardSpec


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

    A card is found by its model; one that names none by its type, if some profile of that type says that it stands for such cards
    (`models` has ""). A plain NIC is found by the datapath. A card with `hwOffload: false` gets a rule that keeps all traffic in
    software. InvalidInput when nothing or more than one thing fits.
    """
    if card is None or card.type == "none":
        plain = [p for p in profiles.values() if p.card == "none" and p.service_proxy is None]
        found = _only(
            [p for p in plain if p.slow_path.datapath == datapath], "datapath", datapath, ("system", "netdev")
        )
        return found if card is None else _as_the_card_says(found, card)
    of_type = [p for p in profiles.values() if p.card == card.type]
    fitting = [p for p in of_type if card.model in p.models or (card.model and card.model == p.name)]
    models = tuple(model for p in of_type for model in (p.name, *p.models) if model)
    return _as_the_card_says(_only(fitting, f"{card.type} of model", card.model, models), card)


def _only(fitting: list[HardwareProfile], what: str, said: str, known: tuple[str, ...]) -> HardwareProfile:
    if len(fitting) == 1:
        return fitting[0]
    where = Location(path="spec.model")
    if fitting:
        message = f"{' and '.join(p.name for p in fitting)} are both for the {what} {said!r}"
        raise InvalidInput([Problem(where, "ambiguous-profile", message, "name a profile as the NetworkCard's model")])
    meant = nearest(said, known)
    hint = (
        f"did you mean {meant}?"
        if meant
        else f"there are profiles for {', '.join(known) or 'none'}; give one of your own"
    )
    raise InvalidInput([Problem(where, "unknown-model", f"no hardware profile is for the {what} {said!r}", hint)])


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
