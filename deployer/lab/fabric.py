"""What is between the nodes: the underlay that carries the tunnels, and the physical networks beyond the gateways."""

from __future__ import annotations

from deployer.lab.ovs import OvsNode, insert_bridge, insert_port, short, transact
from deployer.lab.state import LabError

UNDERLAY = "underlay"


class Fabric(OvsNode):
    """The underlay is a plain bridge of the kernel. Physical networks have VLANs: Open vSwitch knows them on any kernel."""

    datapath = "netdev"
    has_switch = False

    def start_underlay(self) -> None:
        """Make the underlay bridge."""
        self.ip(["link set lo up", f"link add name {UNDERLAY} up type bridge"])

    def plug_underlay(self, devices: list[str]) -> None:
        """Put devices of this node into the underlay."""
        self.ip(f"link set {device} master {UNDERLAY} up" for device in devices)

    def ensure_switch(self) -> None:
        """Start Open vSwitch here, once somebody needs a physical network."""
        if "vswitchd " + self.name not in self.state.recorded():
            self.start_database()
            self.start_switch()

    def plug_physical(self, ports: list[tuple[str, str, int | None]]) -> None:
        """Put (network, device, access VLAN or None for a trunk) into the switches of their networks."""
        if not ports:
            return
        self.ensure_switch()
        self.ip(f"link set {device} up" for _, device, _ in ports)
        bridges = {row["name"] for row in self.select("Bridge", ["name"])}
        there = {row["name"] for row in self.select("Port", ["name"])}
        operations = []
        for network in sorted({network for network, _, _ in ports}):
            name = short("n", network)
            if name not in bridges:
                operations += insert_bridge(name, self.datapath)
        for network, device, vlan in ports:
            if device not in there:
                operations += insert_port(short("n", network), device, port={} if vlan is None else {"tag": vlan})
        self.wait_configured(self.change(operations))

    def unplug(self, devices: list[str]) -> None:
        """Take devices out of the physical networks."""
        if not (self.directory / "db.sock").exists():
            return
        with self.database() as db:
            rows = transact(
                db, "Open_vSwitch", [{"op": "select", "table": "Port", "where": [], "columns": ["_uuid", "name"]}]
            )
        uuids = {row["name"]: row["_uuid"] for row in rows[0]["rows"]}
        gone = [["ports", "delete", ["set", [uuids[device] for device in devices if device in uuids]]]]
        if gone[0][2][1]:
            self.change([{"op": "mutate", "table": "Bridge", "where": [], "mutations": gone}])

    def check(self) -> None:
        """LabError if the namespace is gone."""
        if not self.pid:
            raise LabError("the lab's fabric is gone")
