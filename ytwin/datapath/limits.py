"""What an OVS datapath allows, by type, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from frozendict import frozendict

from ytwin.core.errors import Unsupported
from ytwin.nodes.config import NodeConfig
from ytwin.trace.world import DATAPATH_TYPE, chassis_name


@dataclass(frozen=True, slots=True)
class Limit:
    """How many recirculations a packet may take on one chassis before the datapath drops it."""

    datapath: str
    """Bridge.datapath_type: "netdev" (userspace) or "system" (kernel module)."""
    recirculations: int
    decapsulation_counts: bool
    """Whether taking the tunnel header off costs one of them."""
    origin: str
    """For people: which program says so."""


LIMITS: Mapping[str, Limit] = frozendict(
    {
        "netdev": Limit("netdev", 6, True, "userspace datapath of OVS 3.1"),
        "system": Limit("system", 30, False, "kernel datapath of Linux 4.12 to 6.15"),
    }
)
"""By Bridge.datapath_type.

netdev: MAX_RECIRC_DEPTH of OVS 3.1's dpif-netdev is 6 (8 in later releases). `recirc` and `tnl_pop` both count against it and
nest, also when a miss is handled in between. Observed with OVS 3.1.0: a chain of 6 recirculations is delivered; the seventh, or
the sixth after a `tnl_pop`, is dropped with "Max recirculation depth exceeded" in the log of ovs-vswitchd.

system: derived from Linux's net/openvswitch/actions.c, not observed. The first three recirculations nest; every one that has no
key left (OVS_RECURSION_LIMIT - 2 = 3 keys) is deferred, which starts over at level 2 and allows two more nested ones. The queue
has DEFERRED_ACTION_FIFO_SIZE - 1 = 9 places per packet, so numbers 4, 7, ..., 28 are queued and number 31 is the first to be
dropped ("deferred action limit reached"). A miss hands the packet to userspace and starts the count anew, so this is the limit of
packets whose flows are installed; the first packet of all has more. Tunnels are devices of the kernel: a packet arrives anew.
"""


def limits_of(configs: Iterable[NodeConfig]) -> Mapping[str, Limit]:
    """The limit of every chassis, by its name (system-id). Unsupported: a datapath type that has no limit here."""
    found: dict[str, Limit] = {}
    for config in configs:
        kind = config.external_ids.get(DATAPATH_TYPE, "system")
        if kind not in LIMITS:
            known = ", ".join(LIMITS)
            raise Unsupported(f"node {config.node}: {DATAPATH_TYPE}={kind}: no limit is known, only those of {known}")
        found[chassis_name(config)] = LIMITS[kind]
    return frozendict(found)
