"""The lab as a whole: create, open, change, wait, break, destroy."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from frozendict import frozendict

from deployer.lab.central import Central
from deployer.lab.chassis import _IPV6_SETTINGS, UNDERLAY_PORT, Chassis, device_of, host_of, mappings_of
from deployer.lab.config import OutsideConfig
from deployer.lab.fabric import Fabric
from deployer.lab.namespace import inside, transmit_checksum_off
from deployer.lab.net import WORKERS, LabHost, LabNet
from deployer.lab.ovs import OvsNode, short, until
from deployer.lab.requirements import kernel_datapath, why_no_lab
from deployer.lab.state import LabError, LabState
from ytwin.nodes.config import Attachment, NodeConfig

N = TypeVar("N", bound=LabHost)
CENTRAL, FABRIC = "central", "fabric"
_EDGE = "eth0"
READY_S = 120.0


class Lab:
    """One lab. Every method may be called from any process; one that changes something takes the lab's lock."""

    def __init__(self, state: LabState) -> None:
        self.state = state
        self.name = state.name
        self.net = LabNet(state)
        self.datapath = "system" if kernel_datapath() else "netdev"

    # -- life ------------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, name: str, nodes: Iterable[NodeConfig] = (), outsides: Iterable[OutsideConfig] = ()) -> Lab:
        """Start a lab: central, fabric, and what `nodes` and `outsides` say. Whatever interrupts it, nothing of it stays."""
        why_not = why_no_lab()
        if why_not:
            raise LabError(f"no lab on this machine: {why_not}")
        state = LabState.create(name)
        try:
            lab = cls(state)
            with state.lock():
                lab.net.add(Central, [CENTRAL])
                lab.net.add(Fabric, [FABRIC])
                with ThreadPoolExecutor(WORKERS) as pool:
                    starting = pool.submit(lab.central.start_all)
                    lab.fabric.start_underlay()
                    lab._add_nodes(tuple(nodes))
                    for outside in outsides:
                        lab._add_outside(outside)
                    starting.result()
                state.finish()
        except BaseException:
            state.destroy()
            raise
        return lab

    @classmethod
    def open(cls, name: str) -> Lab:
        """A lab that runs, whoever started it."""
        why_not = why_no_lab()
        if why_not:
            raise LabError(f"no lab on this machine: {why_not}")
        state = LabState.open(name)
        if not state.complete:
            raise LabError(f"lab {name} was never finished; destroy it")
        lab = cls(state)
        pids = state.recorded()
        lab.net.find(Central, [CENTRAL], pids)
        lab.net.find(Fabric, [FABRIC], pids)
        lab.net.find(Chassis, lab._known("nodes"), pids)
        lab.net.find(LabHost, [*lab._known("workloads"), *lab._known("outsides")], pids)
        missing = {CENTRAL, FABRIC} - lab.net.nameToNode.keys()
        if missing:
            raise LabError(f"lab {name} is broken ({', '.join(sorted(missing))} is gone); destroy it")
        return lab

    def destroy(self) -> None:
        """End every process of the lab, remove every file; namespaces and links go with them."""
        self.state.destroy()

    # -- parts -----------------------------------------------------------------------------------------------------

    @property
    def central(self) -> Central:
        return self._node(CENTRAL, Central)

    @property
    def fabric(self) -> Fabric:
        return self._node(FABRIC, Fabric)

    def chassis(self, node: str) -> Chassis:
        """The chassis of a node."""
        return self._node(node, Chassis)

    @property
    def all_chassis(self) -> tuple[Chassis, ...]:
        return tuple(self.chassis(name) for name in self._known("nodes"))

    def host(self, name: str) -> LabHost:
        """The namespace in which a host of the twin's World lives ("Pod/default/web", "Node/node1", "outside/gw")."""
        if name.startswith("Node/"):
            return self.chassis(name.removeprefix("Node/"))
        return self._node(name, LabHost)

    @property
    def northbound_remote(self) -> str:
        """ "unix:PATH" of the Northbound."""
        return self.central.northbound_remote

    @property
    def southbound_remote(self) -> str:
        """ "unix:PATH" of the Southbound."""
        return self.central.southbound_remote

    def _node(self, name: str, cls: type[N]) -> N:
        node = self.net.nameToNode.get(name)
        if not isinstance(node, cls):
            raise LabError(f"lab {self.name} has no {name}")
        return node

    def _known(self, what: str) -> dict[str, Any]:
        return dict(self.state.load(what) or {})

    def _remember(self, what: str, **entries: Any) -> None:
        known = {**self._known(what), **entries}
        self.state.save(what, {k: v for k, v in known.items() if v is not None})

    @property
    def known_nodes(self) -> frozenset[str]:
        """Nodes that the lab has, dead ones included."""
        return frozenset(self._known("nodes"))

    # -- what is there ---------------------------------------------------------------------------------------------

    def observed_nodes(self) -> dict[str, NodeConfig]:
        """NodeConfigs as the running nodes have them now, read from their databases."""
        return {chassis.name: chassis.observed() for chassis in self.all_chassis if chassis.alive}

    def observed_outsides(self) -> dict[str, OutsideConfig]:
        """The outside hosts."""
        return {name: _outside_from(value) for name, value in self._known("outsides").items()}

    # -- changing --------------------------------------------------------------------------------------------------

    def apply_node(self, config: NodeConfig) -> None:
        """Make a node so, new or not."""
        with self.state.lock():
            if config.node not in self._known("nodes"):
                self._add_nodes((config,))
            else:
                self._update_node(config)

    def add_nodes(self, configs: Iterable[NodeConfig]) -> None:
        """Several new nodes at once, which is quicker than one after the other."""
        with self.state.lock():
            self._add_nodes(tuple(configs))

    def remove_node(self, name: str) -> None:
        """Take a node and its workloads away, as after `kubectl delete node`."""
        with self.state.lock():
            chassis = self.chassis(name)
            workloads = [w for w, node in self._known("workloads").items() if node == name]
            if chassis.alive:
                # An orderly exit removes the chassis from the Southbound.
                chassis.run("ovn-appctl", "-t", str(chassis.controller_control), "exit")
                until(lambda: f"ovn-controller {name}" not in self.state.recorded(), f"ovn-controller of {name} stays")
            self.fabric.unplug([short("x", f"{name}/{network}") for network in mappings_of(chassis_config(self, name))])
            chassis.kill_daemons()
            for host in (*workloads, name):
                self._end_host(host)
            shutil.rmtree(chassis.directory)
            self._remember("workloads", **dict.fromkeys(workloads))
            self._remember("nodes", **{name: None})

    def apply_outside(self, outside: OutsideConfig) -> None:
        """Make an outside host so, new or not."""
        with self.state.lock():
            if outside.name in self._known("outsides"):
                self._remove_outside(outside.name)
            self._add_outside(outside)

    def remove_outside(self, name: str) -> None:
        """Take an outside host away."""
        with self.state.lock():
            self._remove_outside(name)

    def _add_nodes(self, configs: tuple[NodeConfig, ...]) -> None:
        if not configs:
            return
        edges = [(config, a) for config in configs for a in config.attachments if a.kind != "Node"]
        nodes = [config.node for config in configs]
        self._remember("workloads", **{host_of(a): config.node for config, a in edges})
        self._remember("nodes", **{config.node: config.external_ids["ovn-encap-ip"] for config in configs})
        self.net.add(Chassis, nodes)
        self.net.add(LabHost, [host_of(a) for _, a in edges])
        addresses = list(self._known("nodes").values())
        fabric = self.fabric
        links = [(self.chassis(name), UNDERLAY_PORT, fabric, short("u", name)) for name in nodes]
        for config in configs:
            links += self._physical_links(config, mappings_of(config))
            links += [self._edge_link(config.node, a) for a in config.attachments if a.kind != "Node"]
        self.net.join(links)
        fabric.plug_underlay([short("u", name) for name in nodes])

        def bring_up(config: NodeConfig) -> None:
            chassis = self.chassis(config.node)
            chassis.datapath = self.datapath
            number = chassis.prepare(config, self.southbound_remote)
            chassis.start_daemons()
            chassis.wait_configured(number)
            chassis.configure_own(config, addresses)

        self._plug_physical(configs)
        _parallel(
            [
                *(partial(bring_up, config) for config in configs),
                *(partial(self._configure_edge, a) for _, a in edges),
            ]
        )
        self._introduce()

    def _update_node(self, config: NodeConfig) -> None:
        chassis = self.chassis(config.node)
        chassis.datapath = self.datapath
        if not chassis.alive:
            self._restart(chassis)
        before = chassis.observed()
        old = {host_of(a): a for a in before.attachments if a.kind != "Node"}
        new = {host_of(a): a for a in config.attachments if a.kind != "Node"}
        gone = [host for host, a in old.items() if a != new.get(host)]
        for host in gone:
            self._end_host(host)
        coming = [a for host, a in new.items() if a != old.get(host)]
        self._remember(
            "workloads", **dict.fromkeys(gone), **{host_of(a): config.node for a in coming if host_of(a) not in gone}
        )
        self._remember("workloads", **{host_of(a): config.node for a in coming})
        self.net.add(LabHost, [host_of(a) for a in coming])
        maps_before, maps_after = mappings_of(before), mappings_of(config)
        left = [network for network in maps_before if maps_before[network] != maps_after.get(network)]
        self.fabric.unplug([short("x", f"{config.node}/{network}") for network in left])
        chassis.ip((f"link delete {short('x', network)}" for network in left), force=True)
        added = {network: bridge for network, bridge in maps_after.items() if bridge != maps_before.get(network)}
        self.net.join([*self._physical_links(config, added), *(self._edge_link(config.node, a) for a in coming)])
        self._plug_physical((config,), added)
        chassis.update(before, config, self.southbound_remote)
        self._remember("nodes", **{config.node: config.external_ids["ovn-encap-ip"]})
        chassis.ip(
            (f"route delete {r.prefix} dev {r.device}" for r in before.routes if r not in config.routes), force=True
        )
        chassis.configure_own(config, list(self._known("nodes").values()))
        _parallel([partial(self._configure_edge, a) for a in coming])
        self._introduce()

    def _restart(self, chassis: Chassis) -> None:
        """Start a dead node's daemons with the configuration that its database has."""
        chassis.kill_daemons()
        chassis.start_database()
        chassis.start_daemons()
        chassis.wait_configured(chassis.change(()))
        chassis.configure_own(chassis.observed(), list(self._known("nodes").values()))

    def _edge_link(self, node: str, attachment: Attachment) -> tuple[LabHost, str, LabHost, str]:
        return self.chassis(node), device_of(attachment), self.host(host_of(attachment)), _EDGE

    def _physical_links(self, config: NodeConfig, networks: Iterable[str]) -> list[tuple[LabHost, str, LabHost, str]]:
        chassis, fabric = self.chassis(config.node), self.fabric
        return [(chassis, short("x", n), fabric, short("x", f"{config.node}/{n}")) for n in networks]

    def _plug_physical(self, configs: Iterable[NodeConfig], networks: Iterable[str] | None = None) -> None:
        """The nodes' ends of physical networks are trunks: the tag is OVN's."""
        self.fabric.plug_physical(
            [
                (network, short("x", f"{config.node}/{network}"), None)
                for config in configs
                for network in (mappings_of(config) if networks is None else networks)
            ]
        )

    def _configure_edge(self, attachment: Attachment) -> None:
        host = self.host(host_of(attachment))
        commands = _addresses(attachment.mac, attachment.mtu, attachment.addresses)
        commands += [f"route replace default via {gateway} dev {_EDGE}" for gateway in attachment.gateways]
        self._configure(host, commands)

    def _configure(self, host: LabHost, commands: list[str]) -> None:
        host.sysctl(_IPV6_SETTINGS)
        with inside(host.pid):
            transmit_checksum_off(_EDGE)
        host.ip(commands)

    def _introduce(self) -> None:
        """Every node learns every other's underlay MAC."""
        living = [chassis for chassis in self.all_chassis if chassis.alive]
        addresses = self._known("nodes")

        def tell(chassis: Chassis) -> None:
            chassis.datapath = self.datapath
            others = {addresses[c.name]: c.underlay_mac for c in living if c is not chassis}
            chassis.ip(f"route replace {a} dev br-phy src {addresses[chassis.name]}" for a in others)
            chassis.know_neighbours(others)

        _parallel([partial(tell, c) for c in living])

    def _add_outside(self, outside: OutsideConfig) -> None:
        self._remember("outsides", **{outside.name: asdict(outside)})
        self.net.add(LabHost, [outside.name])
        host, device = self.host(outside.name), short("o", outside.name)
        self.net.join([(host, _EDGE, self.fabric, device)])
        self.fabric.plug_physical([(outside.network, device, outside.vlan)])
        commands = _addresses(outside.mac, 0, outside.addresses)
        commands += [f"route replace {prefix} via {via} dev {_EDGE}" for prefix, via in outside.routes]
        self._configure(host, commands)

    def _remove_outside(self, name: str) -> None:
        self.fabric.unplug([short("o", name)])
        self._end_host(name)
        self._remember("outsides", **{name: None})

    def _end_host(self, name: str) -> None:
        host = self.net.nameToNode.get(name)
        if host is not None:
            self.state.end_inside(host.pid)
            self.net.drop(name)

    # -- faults ----------------------------------------------------------------------------------------------------

    def kill_node(self, name: str) -> None:
        """A power cut: everything of the node is gone at once. Its workloads stay, with nobody to carry their packets."""
        with self.state.lock():
            self.chassis(name).kill_daemons()

    def restart_node(self, name: str) -> None:
        """Start what `kill_node` ended, or what died by itself, with the configuration that the node has on disk."""
        with self.state.lock():
            chassis = self.chassis(name)
            chassis.datapath = self.datapath
            self._restart(chassis)
            self._introduce()

    @property
    def central_runs(self) -> bool:
        """Whether both databases and northd run."""
        return {f"{what} {CENTRAL}" for what in ("nb", "sb", "northd")} <= self.state.recorded().keys()

    def restart_central(self) -> None:
        """Kill both databases and northd, and start them with their files."""
        with self.state.lock():
            self.central.stop_all()
            self.central.start_all()

    # -- waiting ---------------------------------------------------------------------------------------------------

    def wait_ready(self, timeout_s: float = READY_S) -> float:
        """Return when packets may flow; seconds it took.

        Every living chassis has installed its flows, every port of theirs is up, every gateway stands where its priorities say,
        and the tunnels between gateways know that they work (else a gateway moves once more).
        """
        begin = time.monotonic()
        living = [chassis for chassis in self.all_chassis if chassis.alive]
        names = {self._system_id(chassis) for chassis in living}
        ports = {a.iface_id for chassis in living for a in chassis.observed().attachments}
        self.central.sync(names, timeout_s)
        until(lambda: not self.central.unsettled(ports, names), "ports stay down, or gateways elsewhere", timeout_s)
        addresses = {self._known("nodes")[chassis.name] for chassis in living}
        until(lambda: not any(c.silent_tunnels(addresses) for c in living), "tunnels stay down", timeout_s)
        self.central.sync(names, timeout_s)
        return time.monotonic() - begin

    def dead_nodes(self) -> tuple[str, ...]:
        """Nodes whose ovs-vswitchd or ovn-controller does not run."""
        return tuple(chassis.name for chassis in self.all_chassis if not chassis.alive)

    def _system_id(self, chassis: Chassis) -> str:
        (row,) = chassis.select("Open_vSwitch", ["external_ids"])
        return str(dict(row["external_ids"][1]).get("system-id", chassis.name))


def chassis_config(lab: Lab, name: str) -> NodeConfig:
    """NodeConfig of a node that runs; an empty one if it does not."""
    found = lab.observed_nodes().get(name)
    if found is None:
        return NodeConfig(name, "", "", frozendict(), frozendict(), (), ())
    return found


def _addresses(mac: str, mtu: int, addresses: Iterable[str]) -> list[str]:
    size = f" mtu {mtu}" if mtu else ""
    commands = ["link set lo up", f"link set {_EDGE} address {mac}{size} up"]
    return commands + [f"address replace {a} dev {_EDGE}{' nodad' if ':' in a else ''}" for a in addresses]


def _outside_from(value: dict[str, Any]) -> OutsideConfig:
    return OutsideConfig(
        value["name"],
        value["network"],
        value["vlan"],
        value["mac"],
        tuple(value["addresses"]),
        tuple((prefix, via) for prefix, via in value["routes"]),
    )


def _parallel(tasks: list[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        for future in [pool.submit(task) for task in tasks]:
            future.result()


__all__ = ["Lab", "OvsNode"]
