"""What stands outside the cluster, as a value: the router beyond an EipGateway and the physical network it is on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ytwin.northbound.rows import EMPTY, LogicalSwitchPort, RowKey, Strings
from ytwin.pipeline import Twin


@dataclass(frozen=True, slots=True)
class OutsideConfig:
    """The host that owns EipGateway.spec.gateway and has a route for every pool."""

    table: ClassVar[str] = "Outside"
    name: str
    """As in the twin's World: "outside/<EipGateway>"."""
    network: str
    """Physical network, as in ovn-bridge-mappings."""
    vlan: int | None
    """Tag of its frames on that network."""
    mac: str
    addresses: tuple[str, ...]
    """"IP/LEN"."""
    routes: tuple[tuple[str, str], ...]
    """(prefix, via)."""

    external_ids: ClassVar[Strings] = EMPTY

    @property
    def key(self) -> RowKey:
        return RowKey(self.table, self.name)


def outside_configs(twin: Twin) -> tuple[OutsideConfig, ...]:
    """One per EipGateway of the twin, from its World and its localnet ports."""
    found = []
    for host in twin.world.hosts:
        if host.kind != "outside":
            continue
        port = twin.northbound.rows[RowKey(LogicalSwitchPort.table, host.port)]
        assert isinstance(port, LogicalSwitchPort)
        found.append(
            OutsideConfig(
                name=host.name,
                network=port.options["network_name"],
                vlan=port.tag,
                mac=host.mac,
                addresses=host.addresses,
                routes=tuple((route.prefix, route.via) for route in host.routes),
            )
        )
    return tuple(found)
