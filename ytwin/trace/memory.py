"""Everything a network remembers between two packets: connections, neighbours, learned MAC addresses. An explicit value."""

from __future__ import annotations

from ytwin.logical.addresses import ip_int, mac_int
from ytwin.logical.southbound import Southbound
from ytwin.trace.conntrack import Conntrack


class Memory:
    """Passed into every walk and given back by it; `copy()` before use where the old value is still needed.

    `neighbors`: (logical router port, IP) -> MAC, what MAC_Binding holds. `fdb`: (datapath, MAC) -> port.
    `host_neighbors`: (host, IP) -> MAC, the ARP caches of the hosts at the edge.
    """

    __slots__ = ("conntrack", "fdb", "host_neighbors", "neighbors")

    def __init__(self, userspace: frozenset[str] = frozenset()) -> None:
        self.conntrack = Conntrack(userspace)
        self.neighbors: dict[tuple[str, int], int] = {}
        self.fdb: dict[tuple[str, int], str] = {}
        self.host_neighbors: dict[tuple[str, int], int] = {}

    @classmethod
    def of(cls, southbound: Southbound, userspace: frozenset[str] = frozenset()) -> Memory:
        """What a Southbound knows already (MAC_Binding, Static_MAC_Binding); `userspace` as in Conntrack."""
        memory = cls(userspace)
        for binding in southbound.mac_bindings:
            memory.neighbors[binding.port, ip_int(binding.ip)] = mac_int(binding.mac)
        return memory

    def copy(self) -> Memory:
        other = Memory()
        other.conntrack = self.conntrack.copy()
        other.neighbors = dict(self.neighbors)
        other.fdb = dict(self.fdb)
        other.host_neighbors = dict(self.host_neighbors)
        return other
