"""A node of the cluster: a chassis with its own Open vSwitch and ovn-controller, told what its NodeConfig says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from hashlib import blake2b
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from frozendict import frozendict

from deployer.lab.ovs import DATABASE, QUIET, OvsNode, insert_bridge, insert_port, short, transact, until
from deployer.lab.state import end, start_time
from deployer.ovsdb_json import Operation, encode_map
from ytwin.nodes.config import Attachment, HostRoute, NodeConfig

UNDERLAY_BRIDGE = "br-phy"
"""Owns the node's underlay address: a userspace tunnel leaves through the bridge that has the address it comes from."""
UNDERLAY_PORT = "underlay0"
INTEGRATION = "br-int"
OWN_DEVICE = "ovn0"
RECORD = "ytwin-attachment"
NODE_RECORD = "ytwin-node"
_OWN_KEYS = frozenset({"ovn-remote", "ovn-monitor-all", NODE_RECORD})
"""Keys of Open_vSwitch.external_ids that the lab adds to a NodeConfig's."""
_OVN_KEYS = ("vlan-limit", "ovn-chassis-idx-")
"""Beginnings of keys of Open_vSwitch.other_config that ovn-controller writes: neither a NodeConfig's nor the lab's."""
_IPV6_SETTINGS = {
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/all/accept_ra": "0",
    "ipv6/conf/default/accept_ra": "0",
}
"""No duplicate address detection, which would hold back an address for seconds; no router advertisements: routes are given."""


def mappings_of(config: NodeConfig) -> dict[str, str]:
    """Physical network -> bridge."""
    pairs = (part.partition(":") for part in config.external_ids.get("ovn-bridge-mappings", "").split(",") if part)
    return {network: bridge for network, _, bridge in pairs}


def device_of(attachment: Attachment) -> str:
    """Device of an attachment on the node's side."""
    return OWN_DEVICE if attachment.kind == "Node" else short("w", attachment.iface_id)


def host_of(attachment: Attachment) -> str:
    """Name of the host of an attachment, as in the twin's World."""
    return "/".join(part for part in (attachment.kind, attachment.namespace, attachment.name) if part)


def mac_for(name: str) -> str:
    """A stable, locally administered MAC."""
    return ":".join(f"{byte:02x}" for byte in (0x02, *blake2b(name.encode(), digest_size=5).digest()))


class Chassis(OvsNode):
    """One node. Its own clients (scenario 2) run in its namespace, as on a real host."""

    # -- starting and stopping -------------------------------------------------------------------------------------

    def prepare(self, config: NodeConfig, remote: str) -> int:
        """Start the database and write the whole configuration into it, so that ovs-vswitchd does all in one go; its number."""
        self.sysctl(_IPV6_SETTINGS)
        self.start_database()
        operations = insert_bridge(INTEGRATION, self.datapath, secure=True)
        operations += insert_bridge(UNDERLAY_BRIDGE, self.datapath, mac_for(f"{self.state.id}/{self.name}"))
        operations += insert_port(UNDERLAY_BRIDGE, UNDERLAY_PORT)
        for network, bridge in mappings_of(config).items():
            operations += insert_bridge(bridge, self.datapath) + insert_port(bridge, short("x", network))
        operations += [self._settings(config, remote)]
        for position, attachment in enumerate(config.attachments):
            operations += _plug(attachment, position)
        return self.change(operations)

    def start_daemons(self) -> None:
        """Start ovs-vswitchd and ovn-controller."""
        self.start_switch()
        self.start_controller()

    def start_controller(self) -> None:
        """Start ovn-controller."""
        self.start(
            "ovn-controller",
            [
                "ovn-controller",
                *QUIET,
                f"unix:{self.directory}/db.sock",
                f"--log-file={self.directory}/controller.log",
            ],
            self.directory,
            OVS_RUNDIR=str(self.directory),
            OVN_RUNDIR=str(self.directory),
        )

    @property
    def controller_control(self) -> Path:
        """ovn-controller's control socket, whose name it chooses by its pid."""
        pid = self.state.recorded().get(f"ovn-controller {self.name}", 0)
        return self.directory / f"ovn-controller.{pid}.ctl"

    def kill_daemons(self) -> None:
        """What a power cut does to a node: everything of it is gone at once, and nobody says goodbye."""
        running = self.state.recorded()
        names = [f"{what} {self.name}" for what in ("ovn-controller", "vswitchd", "ovsdb-server")]
        end({running[name]: start_time(running[name]) for name in names if name in running})
        for socket in (*self.directory.glob("*.sock"), *self.directory.glob("*.ctl"), *self.directory.glob("*.mgmt")):
            socket.unlink()

    @property
    def alive(self) -> bool:
        """Whether its ovs-vswitchd and ovn-controller run."""
        running = self.state.recorded()
        return f"vswitchd {self.name}" in running and f"ovn-controller {self.name}" in running

    def configure_own(self, config: NodeConfig, peers: Iterable[str]) -> None:
        """Addresses and routes in the node's own namespace, once ovs-vswitchd has made the devices."""
        own = next((a for a in config.attachments if a.kind == "Node"), None)
        commands = ["link set lo up", f"link set {UNDERLAY_BRIDGE} up"]
        address = config.external_ids["ovn-encap-ip"]
        # OVS takes a route to a peer only if an address of the bridge has the peer in its network; the kernel needs none.
        commands.append(
            f"address replace {address}/0 dev {UNDERLAY_BRIDGE} noprefixroute{' nodad' if ':' in address else ''}"
        )
        commands += [
            f"route replace {_single(peer)} dev {UNDERLAY_BRIDGE} src {address}" for peer in peers if peer != address
        ]
        if own is not None:
            commands += [
                f"link set {OWN_DEVICE} address {own.mac} mtu {own.mtu} up",
                f"address flush dev {OWN_DEVICE} scope global",
            ]
            commands += [f"address replace {a} dev {OWN_DEVICE}{' nodad' if ':' in a else ''}" for a in own.addresses]
            commands += [f"route replace {route.prefix} via {route.via} dev {route.device}" for route in config.routes]
        self.ip(commands)

    def know_neighbours(self, peers: dict[str, str]) -> None:
        """Tell the userspace tunnels the MACs of other nodes' underlay addresses: else first packets are lost to ARP."""
        if self.datapath == "netdev":
            for address, mac in peers.items():
                self.control("tnl/neigh/set", UNDERLAY_BRIDGE, address, mac)

    def silent_tunnels(self, peers: set[str]) -> list[str]:
        """Tunnels to `peers` over which this node watches gateways (BFD), and that are not known to work."""
        silent = []
        for row in self.select("Interface", ["name", "type", "options", "bfd", "bfd_status"]):
            watched = dict(row["bfd"][1]).get("enable") == "true"
            works = dict(row["bfd_status"][1]).get("forwarding") == "true"
            if watched and not works and dict(row["options"][1]).get("remote_ip") in peers:
                silent.append(row["name"])
        return silent

    @property
    def underlay_mac(self) -> str:
        return mac_for(f"{self.state.id}/{self.name}")

    # -- changing --------------------------------------------------------------------------------------------------

    def update(self, before: NodeConfig, after: NodeConfig, remote: str) -> None:
        """Change what differs in Open_vSwitch; the veth pairs of new attachments exist already."""
        old = {device_of(a): a for a in before.attachments}
        new = {device_of(a): a for a in after.attachments}
        gone = [device for device in old if old[device] != new.get(device)]
        (settings,) = self.select(DATABASE, ["other_config"])
        theirs = {key: value for key, value in settings["other_config"][1] if key.startswith(_OVN_KEYS)}
        operations: list[Operation] = [self._settings(after, remote, theirs)]
        ports = self._ports()
        old_maps, new_maps = mappings_of(before), mappings_of(after)
        leaving = [n for n in old_maps if old_maps[n] != new_maps.get(n)]
        removed = [ports[device] for device in gone if device in ports]
        if removed:
            where = [["name", "==", INTEGRATION]]
            operations.append(
                {
                    "op": "mutate",
                    "table": "Bridge",
                    "where": where,
                    "mutations": [["ports", "delete", ["set", removed]]],
                }
            )
        if leaving:
            bridges = {row["name"]: row["_uuid"] for row in self.select("Bridge", ["_uuid", "name"])}
            drop = [bridges[old_maps[n]] for n in leaving if old_maps[n] in bridges]
            operations.append(
                {"op": "mutate", "table": DATABASE, "where": [], "mutations": [["bridges", "delete", ["set", drop]]]}
            )
        for network in new_maps:
            if new_maps[network] != old_maps.get(network):
                operations += insert_bridge(new_maps[network], self.datapath)
                operations += insert_port(new_maps[network], short("x", network))
        # A row with the same name cannot leave and come in one transaction of a database that OVS is watching by name.
        self.wait_configured(self.change(operations))
        coming = [a for device, a in new.items() if a != old.get(device)]
        if coming:
            self.wait_configured(self.change([op for a in coming for op in _plug(a)]))
        self._number(after.attachments)

    def _number(self, attachments: tuple[Attachment, ...]) -> None:
        """Record the attachments' order: a database's rows have none."""
        operations: list[Operation] = []
        for position, attachment in enumerate(attachments):
            where = [["name", "==", device_of(attachment)]]
            row = [
                ["external_ids", "delete", ["set", [RECORD]]],
                ["external_ids", "insert", _record(attachment, position)],
            ]
            operations.append({"op": "mutate", "table": "Interface", "where": where, "mutations": row})
        with self.database() as db:
            transact(db, DATABASE, operations)

    def _ports(self) -> dict[str, Any]:
        return {row["name"]: row["_uuid"] for row in self.select("Port", ["_uuid", "name"])}

    def _settings(self, config: NodeConfig, remote: str, kept: Mapping[str, str] | None = None) -> Operation:
        """NodeConfig's settings, plus where the Southbound is, and which datapath this machine can run."""
        about = {
            "ovs_on": config.ovs_on,
            "card": config.card,
            "datapath": config.external_ids.get("ovn-bridge-datapath-type", ""),
            "routes": [route.prefix for route in config.routes],
        }
        ids = {
            **config.external_ids,
            "ovn-remote": remote,
            "ovn-monitor-all": "true",
            "ovn-bridge-datapath-type": self.datapath,
            NODE_RECORD: json.dumps(about, sort_keys=True),
        }
        row = {"external_ids": encode_map(ids), "other_config": encode_map({**config.other_config, **(kept or {})})}
        return {"op": "update", "table": DATABASE, "where": [], "row": row}

    # -- reading ---------------------------------------------------------------------------------------------------

    def observed(self) -> NodeConfig:
        """The NodeConfig that this node's Open_vSwitch database and its own routes amount to now."""
        with self.database() as db:
            selects = [
                {"op": "select", "table": DATABASE, "where": [], "columns": ["external_ids", "other_config"]},
                {"op": "select", "table": "Interface", "where": [], "columns": ["name", "external_ids"]},
            ]
            (settings, *_), interfaces = (result["rows"] for result in transact(db, DATABASE, selects))
        ids = dict(settings["external_ids"][1])
        about = json.loads(ids.get(NODE_RECORD, "{}"))
        kept = {key: value for key, value in ids.items() if key not in _OWN_KEYS}
        if kept.get("ovn-bridge-datapath-type") == self.datapath and not about.get("datapath"):
            del kept["ovn-bridge-datapath-type"]
        return NodeConfig(
            node=self.name,
            ovs_on=about.get("ovs_on", ""),
            card=about.get("card", ""),
            external_ids=frozendict(sorted(kept.items())),
            other_config=frozendict(
                (k, v) for k, v in sorted(settings["other_config"][1]) if not k.startswith(_OVN_KEYS)
            ),
            attachments=tuple(self._attachments(interfaces)),
            routes=self._routes(about.get("routes", [])),
        )

    def _attachments(self, interfaces: list[dict[str, Any]]) -> list[Attachment]:
        found: list[tuple[int, Attachment]] = []
        for row in interfaces:
            ids = dict(row["external_ids"][1])
            if "iface-id" in ids:
                kept = json.loads(ids.get(RECORD, "{}"))
                found.append(
                    (
                        int(kept.get("position", 0)),
                        Attachment(
                            iface_id=ids["iface-id"],
                            kind=kept.get("kind", ""),
                            namespace=kept.get("namespace", ""),
                            name=kept.get("name", ""),
                            mac=ids.get("attached-mac", ""),
                            addresses=tuple(kept.get("addresses", ())),
                            gateways=tuple(kept.get("gateways", ())),
                            mtu=int(kept.get("mtu", 0)),
                        ),
                    )
                )
        return [attachment for _, attachment in sorted(found, key=lambda entry: (entry[0], entry[1].iface_id))]

    def _routes(self, order: list[str]) -> tuple[HostRoute, ...]:
        found = []
        for family in ("-4", "-6"):
            for route in json.loads(self.run("ip", "-j", family, "route", "show", "dev", OWN_DEVICE) or "[]"):
                if "gateway" in route:
                    found.append(HostRoute(route["dst"], route["gateway"], OWN_DEVICE))
        place = {prefix: i for i, prefix in enumerate(order)}
        return tuple(sorted(found, key=lambda route: (place.get(route.prefix, len(place)), route.prefix)))

    def wait_stopped(self) -> None:
        """Return when no daemon of this node runs."""
        until(lambda: not self.alive, f"{self.name} does not stop")


def _record(attachment: Attachment, position: int) -> Any:
    kept = {k: v for k, v in asdict(attachment).items() if k not in ("iface_id", "mac")}
    return encode_map({RECORD: json.dumps({**kept, "position": position}, sort_keys=True)})


def _plug(attachment: Attachment, position: int = 0) -> list[Operation]:
    ids = {"iface-id": attachment.iface_id, "attached-mac": attachment.mac, **dict(_record(attachment, position)[1])}
    row: dict[str, Any] = {"external_ids": encode_map(ids)}
    if attachment.kind == "Node":
        row |= {"type": "internal", "mac": attachment.mac, "mtu_request": attachment.mtu}
    return insert_port(INTEGRATION, device_of(attachment), row)


def _single(address: str) -> str:
    return f"{address}/{ip_address(address).max_prefixlen}"
