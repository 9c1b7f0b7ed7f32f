"""What cards, hosts and datapaths can do, as data: one YAML file per profile, every number with unit, source and kind.

`decode_profiles(files)` reads texts strictly; `shipped()` gives the profiles that come with the package; `numbers(profile)` are
its numbers by path and `with_values` puts others in their place; `profile_of(card, datapath, profiles)` says which profile a
node's NetworkCard means, `card_of` which NetworkCard means a profile. What each number means is said at its field in `model`. No
number about hardware stands in code. Nothing here knows of packets.
"""

from ytwin.hardware.codec import decode_profiles, dump_profiles
from ytwin.hardware.model import HardwareProfile, Kind, Quantity
from ytwin.hardware.shipped import card_of, profile_of, shipped
from ytwin.hardware.table import render
from ytwin.hardware.values import drawn_between, numbers, with_values

__all__ = [
    "HardwareProfile",
    "Kind",
    "Quantity",
    "card_of",
    "decode_profiles",
    "drawn_between",
    "dump_profiles",
    "numbers",
    "profile_of",
    "render",
    "shipped",
    "with_values",
]
