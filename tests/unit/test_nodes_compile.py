"""NodeConfig: what each node must be told."""

from __future__ import annotations

import pytest
from northbound_cases import (
    EVERYTHING,
    GATEWAYS,
    NETWORK,
    NODES,
    northbound_of,
    snapshot_of,
    unchecked_snapshot_of,
)

from ytwin.core.errors import Unsupported
from ytwin.nodes import HostRoute, NodeConfig, bridge_of, node_configs
from ytwin.northbound import compile_northbound
from ytwin.northbound.rows import LogicalSwitchPort


def configs(*texts: str) -> dict[str, NodeConfig]:
    snapshot = snapshot_of(*texts)
    return {config.node: config for config in node_configs(snapshot, compile_northbound(snapshot))}


def test_settings_of_cards_and_gateways() -> None:
    found = configs(*EVERYTHING)
    assert [(c.node, c.card, c.ovs_on, dict(c.other_config)) for c in found.values()] == [
        ("node1", "DPU", "card", {"hw-offload": "true"}),
        ("node2", "SmartNIC", "host", {"hw-offload": "true"}),
        ("node3", "none", "host", {}),
    ]
    common = {"ovn-encap-type": "geneve"}
    assert found["node1"].external_ids == {
        **common,
        "system-id": "node1",
        "hostname": "node1",
        "ovn-encap-ip": "192.168.0.11",
        "ovn-bridge-mappings": "external:br-external",
    }
    mapped = f"external:br-external,provider-network-two:{bridge_of('provider-network-two')}"
    assert found["node2"].external_ids["ovn-bridge-mappings"] == mapped
    assert "ovn-bridge-mappings" not in found["node3"].external_ids
    assert "ovn-bridge-datapath-type" not in found["node3"].external_ids


def test_netdev_datapath_and_given_encap_address() -> None:
    network = (
        "{apiVersion: iaas.yusur.io/v1, kind: ClusterNetwork, metadata: {name: cluster}, spec: {datapath: netdev}}"
    )
    node = (
        "{apiVersion: v1, kind: Node, metadata: {name: n, annotations: {iaas.yusur.io/encap-ip: 10.255.0.1}}, "
        "status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}"
    )
    ids = configs(network, node)["n"].external_ids
    assert ids["ovn-bridge-datapath-type"] == "netdev"
    assert ids["ovn-encap-ip"] == "10.255.0.1"


def test_attachments_say_how_to_plug_in() -> None:
    found = configs(*EVERYTHING)
    own, pod, vm = found["node1"].attachments
    assert (own.kind, own.iface_id, own.gateways, own.mtu) == ("Node", "node_node1", (), 1400)
    assert [address.rpartition("/")[2] for address in own.addresses] == ["16", "112"]
    assert (pod.iface_id, pod.kind, pod.namespace, pod.name) == ("web-0.a.one", "Pod", "one", "web-0.a")
    assert pod.mac == "0a:58:0a:01:00:05"
    assert pod.addresses == ("10.1.0.5/24", "fd00:1::5/112")
    assert pod.gateways == ("10.1.0.254", "fd00:1::1")
    assert pod.mtu == 8900
    assert (vm.iface_id, vm.gateways) == ("vm_vm1.two", ("10.1.1.1",))
    six = found["node3"].attachments[-1]
    assert (six.iface_id, six.addresses, six.gateways) == ("vnic_nic6.two", ("fd00:6::9/112",), ("fd00:6::1",))


def test_every_workload_is_plugged_in_once() -> None:
    snapshot = snapshot_of(*EVERYTHING)
    nb = compile_northbound(snapshot)
    plugged = [a.iface_id for config in node_configs(snapshot, nb) for a in config.attachments]
    vifs = [port.name for port in nb.of_type(LogicalSwitchPort) if not port.type]
    assert sorted(plugged) == sorted(vifs)


def test_host_routes_lead_to_services_and_the_default_vpc_only() -> None:
    routes = configs(*NETWORK)["node3"].routes
    assert routes == (
        HostRoute("10.96.0.0/12", "100.64.0.1", "ovn0"),
        HostRoute("fd00:10:96::/112", "fd00:100:64::1", "ovn0"),
        HostRoute("10.16.0.0/16", "100.64.0.1", "ovn0"),
        HostRoute("fd00:10:16::/112", "fd00:100:64::1", "ovn0"),
    )


def test_a_node_on_an_ipv4_join_network_gets_no_ipv6_route() -> None:
    network = "{apiVersion: iaas.yusur.io/v1, kind: ClusterNetwork, metadata: {name: cluster}, spec: {joinCIDR: 100.64.0.0/16}}"
    assert {route.via for route in configs(network, *NETWORK)["node3"].routes} == {"100.64.0.1"}


@pytest.mark.parametrize("name", ["external", "a", "x" * 12])
def test_bridge_names_that_fit(name: str) -> None:
    assert bridge_of(name) == f"br-{name}"


def test_long_bridge_names_are_shortened_and_stay_apart() -> None:
    one, two = bridge_of("provider-network-1"), bridge_of("provider-network-2")
    assert one != two
    assert len(one) == len(two) == 15


def test_a_node_without_address_is_refused() -> None:
    snapshot = unchecked_snapshot_of("{apiVersion: v1, kind: Node, metadata: {name: bare}}")
    with pytest.raises(Unsupported, match="Node/bare has no InternalIP"):
        node_configs(snapshot, compile_northbound(snapshot))


def test_a_northbound_of_another_snapshot_is_refused() -> None:
    with pytest.raises(Unsupported, match="another snapshot"):
        node_configs(snapshot_of(*NETWORK, GATEWAYS), northbound_of(NODES))
