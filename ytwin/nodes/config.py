"""NodeConfig: the node's share of a topology, exactly as a deployer applies it."""

from __future__ import annotations

from dataclasses import dataclass

from frozendict import frozendict

from ytwin.core.tables import format_table


@dataclass(frozen=True, slots=True)
class HostRoute:
    """A route in the node's own (host) network namespace; `device` is the OVS internal port."""

    prefix: str
    via: str
    device: str

    def __str__(self) -> str:
        return f"{self.prefix} via {self.via} dev {self.device}"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A workload, or the node's own internal port, plugged into br-int: `iface_id` is the Logical_Switch_Port's name."""

    iface_id: str
    kind: str
    """Pod, VirtualMachine, BareMetal, VNicIP, Node."""
    namespace: str
    name: str
    mac: str
    addresses: tuple[str, ...]
    """"IP/LEN", IPv4 before IPv6."""
    gateways: tuple[str, ...]
    """Default gateways inside the workload, one per family; empty for kind Node, whose routes are host routes."""
    mtu: int

    def __str__(self) -> str:
        via = f" via {' '.join(self.gateways)}" if self.gateways else ""
        return f"{self.iface_id} {self.mac} {' '.join(self.addresses)}{via} mtu {self.mtu}"


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """`ovs_on` is "host" or "card" (a DPU runs OVS itself)."""

    node: str
    ovs_on: str
    card: str
    """none, SmartNIC or DPU."""
    external_ids: frozendict[str, str]
    """Open_vSwitch.external_ids: system-id, ovn-encap-type, ovn-encap-ip, ovn-bridge-mappings, ..."""
    other_config: frozendict[str, str]
    """Open_vSwitch.other_config, e.g. hw-offload=true."""
    attachments: tuple[Attachment, ...]
    routes: tuple[HostRoute, ...]

    def __str__(self) -> str:
        runs = {"card": "OVS on the card", "host": "OVS on the host"}[self.ovs_on]
        settings = [("external_ids", self.external_ids), ("other_config", self.other_config)]
        rows = [(column, name, value) for column, values in settings for name, value in sorted(values.items())]
        ports = [
            (
                a.iface_id,
                a.mac,
                ", ".join(a.addresses),
                ", ".join(a.gateways) or "-",
                a.mtu,
                "/".join(filter(None, (a.kind, a.namespace, a.name))),
            )
            for a in self.attachments
        ]
        parts = [
            f"Node/{self.node}: card {self.card}, {runs}",
            format_table(("open_vswitch", "setting", "value"), rows),
        ]
        if ports:
            parts.append(format_table(("iface-id", "mac", "addresses", "gateways", "mtu", "object"), ports))
        if self.routes:
            parts.append(format_table(("route", "via", "device"), [(r.prefix, r.via, r.device) for r in self.routes]))
        return "\n".join(parts)
