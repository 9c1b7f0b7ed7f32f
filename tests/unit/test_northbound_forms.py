"""Names in both directions, the JSON form, the printed tables, the nbctl text and the review of a change."""

from __future__ import annotations

import json
import shlex

import pytest
from frozendict import frozendict
from northbound_cases import (
    CLUSTER_IP,
    EVERYTHING,
    GATEWAYS,
    NETWORK,
    NODE_CLIENT,
    ONE_VPC_EIP,
    northbound_of,
    snapshot_of,
)

from ytwin.controllers import reconcile
from ytwin.core.errors import Unsupported
from ytwin.northbound import Northbound, compile_northbound, object_of, rows_of
from ytwin.northbound.addressing import join_addresses, place, router_mac, workload_mac
from ytwin.northbound.jsonform import from_json, to_json
from ytwin.northbound.names import (
    node_port,
    object_of_port,
    rows_by_object,
    service_router,
    service_transit_switch,
    transit_switch,
    workload_port,
)
from ytwin.northbound.nbctl import nbctl_script
from ytwin.northbound.review import review
from ytwin.northbound.rows import LoadBalancer, LoadBalancerGroup, LogicalRouter, LogicalSwitch
from ytwin.resources.model import Endpoints
from ytwin.resources.snapshot import ObjectId

# --- names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workload", "port"),
    [
        (ObjectId("Pod", "one", "web-0.a"), "web-0.a.one"),
        (ObjectId("VirtualMachine", "one", "x"), "vm_x.one"),
        (ObjectId("BareMetal", "one", "x"), "bm_x.one"),
        (ObjectId("VNicIP", "one", "x.y"), "vnic_x.y.one"),
    ],
)
def test_workload_ports_name_their_workload(workload: ObjectId, port: str) -> None:
    assert workload_port(workload) == port
    assert object_of_port(port) == workload


def test_node_ports_name_their_node_and_other_ports_name_nothing() -> None:
    assert object_of_port(node_port("node1.example.com")) == ObjectId("Node", "", "node1.example.com")
    for port in ("lsp_join_ovn-cluster", "localnet_gw1", "lsp_a.b_c.d"):
        assert object_of_port(port) is None


def test_a_vpc_with_a_name_of_ours_gets_no_row_of_another() -> None:
    assert transit_switch("svcgw", "gw1") != service_transit_switch("gw1")
    texts = [text.replace("vpc1", "svcgw").replace("vpc2", "eipgw") for text in EVERYTHING]
    assert len(northbound_of(*texts).rows) == len(northbound_of(*EVERYTHING).rows)
    assert service_router("gw1") in {router.name for router in northbound_of(*texts).of_type(LogicalRouter)}


def test_rows_and_objects_both_ways() -> None:
    nb = northbound_of(*EVERYTHING)
    found = rows_by_object(nb)
    service = ObjectId("YusurService", "one", "web")
    assert found[service] == rows_of(nb, service)
    assert {str(row.key) for row in found[service]} == {"Load_Balancer/one/web/tcp", "Load_Balancer/one/web/udp"}
    assert {str(row.key) for row in rows_of(nb, ObjectId("YusurService", "two", "pub2"))} == {
        "Load_Balancer/two/pub2/tcp",
        "Load_Balancer/two/pub2/tcp/eip",
        "Logical_Router_Static_Route/eipgw_gw2||dst-ip|201.0.0.100/32|" + _hop(nb),
        "Logical_Router_Static_Route/vpc2||dst-ip|201.0.0.100/32|discard|",
    }
    assert object_of(LoadBalancerGroup("vpc_a")) == ObjectId("Vpc", "", "a")
    assert object_of(LogicalSwitch("someone-elses")) is None
    assert object_of(LoadBalancerGroup("theirs")) is None


def _hop(nb: Northbound) -> str:
    port = next(p for p in nb.rows.values() if p.key.name == "lrp_vpc2_transit_vpc2_gw2")
    return f"{port.networks[0].partition('/')[0]}|"  # type: ignore[union-attr]  # a Logical_Router_Port by its name


# --- addresses that no one writes ---------------------------------------------------------------------------------------


def test_macs() -> None:
    assert workload_mac(["10.1.2.255", "fd00::1"]) == "0a:58:0a:01:02:ff"
    assert workload_mac(["fd00::1"]) != workload_mac(["fd00::2"])
    assert workload_mac(["fd00::1"]).startswith("0a:58:")
    first = int(router_mac("lrp_a_b").split(":")[0], 16)
    assert first & 0b10  # locally administered
    assert not first & 0b1  # unicast


def test_places_are_distinct_and_avoid_what_is_taken() -> None:
    places = place([f"n{i}" for i in range(7)], 10, taken={0, 5, 9, 1000})
    assert len(set(places.values())) == 7
    assert not set(places.values()) & {0, 5, 9}
    with pytest.raises(Unsupported, match="no free place"):
        place(["a", "b", "c"], 2)


def test_join_addresses_fill_the_network_to_the_last_host() -> None:
    nodes: dict[str, tuple[str, ...]] = {f"n{i}": () for i in range(4)}
    nodes["given"] = ("10.0.0.6",)
    found = join_addresses(nodes, ["10.0.0.0/29"], ["10.0.0.1"])
    assert found["given"] == ("10.0.0.6",)
    assert {ip for ips in found.values() for ip in ips} == {f"10.0.0.{i}" for i in range(2, 7)}
    with pytest.raises(Unsupported, match="too small"):
        join_addresses({**nodes, "one-more": ()}, ["10.0.0.0/29"], ["10.0.0.1"])


# --- forms --------------------------------------------------------------------------------------------------------------


def test_json_round_trip() -> None:
    nb = northbound_of(*EVERYTHING)
    text = json.dumps(to_json(nb))
    again = from_json(json.loads(text))
    assert again.rows == nb.rows
    assert again.options == nb.options
    assert json.dumps(to_json(again)) == text


def test_json_of_another_kind_is_refused() -> None:
    form = to_json(northbound_of(*NETWORK))
    with pytest.raises(Unsupported, match="version"):
        from_json({**form, "version": 2})
    with pytest.raises(Unsupported, match="unknown table"):
        from_json({**form, "tables": {"ACL": []}})
    with pytest.raises(Unsupported, match="no column colour"):
        from_json({**form, "tables": {"Logical_Switch": [{"name": "a", "colour": "red"}]}})


def test_tables_print_the_same_whatever_the_order_of_rows() -> None:
    nb = northbound_of(*NETWORK, NODE_CLIENT)
    text = str(nb)
    assert str(Northbound(dict(reversed(nb.rows.items())), nb.options)) == text
    assert "default/sys/sctp" in text
    assert "use_ct_inv_match" in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_script_quotes_whatever_stands_in_a_row() -> None:
    policy = """
{apiVersion: iaas.yusur.io/v1, kind: Vpc, metadata: {name: v},
 spec: {policyRoutes: [{priority: 1, match: 'inport == "a # $(false)" && ip4', action: allow}]}}
"""
    script = nbctl_script(northbound_of(policy))
    words = shlex.split(script.split("fi\n", 1)[1])
    assert r'match="inport == \"a # $(false)\" && ip4"' in words


def test_script_stays_within_what_a_kernel_takes() -> None:
    backends = ",".join(f"10.0.{i}.{j}:8080" for i in range(20) for j in range(50))
    balancers = [LoadBalancer(f"ns/s{i}/tcp", frozendict({f"10.96.0.{i}:80": backends})) for i in range(100)]
    small = [LoadBalancer(f"ns/t{i}/tcp", frozendict({f"10.97.{i // 250}.{i % 250}:80": ""})) for i in range(5000)]
    group = LoadBalancerGroup("vpc_a", tuple(row.name for row in (*balancers, *small)))
    script = nbctl_script(Northbound.of([group, *balancers, *small]))
    calls = [shlex.split(call) for call in script.split("\novn-nbctl ")[1:]]
    assert len(calls) > 5
    assert all(len(word) < 128 * 1024 for call in calls for word in call)
    assert all(sum(len(word) + 9 for word in call) < 1024 * 1024 for call in calls)
    assert sum(call.count("create") for call in calls) == 5101


# --- review -------------------------------------------------------------------------------------------------------------


def test_review_of_nothing() -> None:
    nb = northbound_of(*EVERYTHING)
    assert len(review(nb, nb)) == 0
    assert str(review(nb, nb)) == "0 to create, 0 to update, 0 to delete"
    assert review(nb, nb).to_json() == {"summary": {"create": 0, "update": 0, "delete": 0}, "changes": []}


NEW = """
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {name: new, namespace: one}
spec: {vpc: vpc1, clusterIP: "10.96.0.77,fd00:10:96::77", ports: [{port: 80, targetPort: 8080}], selector: {app: web}}
"""


def test_review_shows_only_what_changes() -> None:
    before = northbound_of(*NETWORK, CLUSTER_IP)
    moved = CLUSTER_IP.replace("{name: alt, port: 81, targetPort: http}", "{name: alt, port: 82, targetPort: 8082}")
    assert (
        str(review(before, northbound_of(*NETWORK, moved, NEW)))
        == """\
~ Load_Balancer_Group/vpc_vpc1  (Vpc/vpc1)
    load_balancer:
      + one/new/tcp
+ Load_Balancer/one/new/tcp  (YusurService/one/new)
    vips: 10.96.0.77:80=10.1.0.5:8080,10.1.1.7:8080, [fd00:10:96::77]:80=[fd00:1::5]:8080
    protocol: tcp
    selection_fields: ip_dst, ip_src, tp_dst, tp_src
~ Load_Balancer/one/web/tcp  (YusurService/one/web)
    vips:
      - 10.96.0.10:81=10.1.0.5:8080,10.1.1.7:80
      + 10.96.0.10:82=10.1.0.5:8082,10.1.1.7:8082
      - [fd00:10:96::10]:81=[fd00:1::5]:8080
      + [fd00:10:96::10]:82=[fd00:1::5]:8082
1 to create, 2 to update, 0 to delete"""
    )


def test_review_of_endpoints_and_options_as_json() -> None:
    snapshot = snapshot_of(*NETWORK, NODE_CLIENT)
    gone = Endpoints(metadata=next(snapshot.all(Endpoints)).metadata)
    before, after = compile_northbound(snapshot), compile_northbound(snapshot.with_objects([gone]))
    form = review(before, Northbound(after.rows)).to_json()
    assert form == json.loads(json.dumps(form))
    assert form["summary"] == {"create": 0, "update": 2, "delete": 0}
    balancer, options = form["changes"]
    assert balancer["object"] == {"kind": "YusurService", "namespace": "default", "name": "sys"}
    (column,) = balancer["columns"]
    assert column["name"] == "vips"
    assert {change["after"] for change in column["keys"].values()} == {""}
    assert options["table"] == "NB_Global"
    assert options["columns"] == [{"name": "options", "keys": {"use_ct_inv_match": {"before": "false", "after": None}}}]


def test_review_of_a_deleted_service() -> None:
    snapshot = snapshot_of(*NETWORK, GATEWAYS, ONE_VPC_EIP)
    without = reconcile(snapshot.changed([], [ObjectId("YusurService", "one", "pub")]))
    shown = str(review(compile_northbound(snapshot), compile_northbound(without)))
    assert "- Logical_Switch/transit_vpc1_gw1" in shown
    assert "- Load_Balancer/one/pub/tcp/eip" in shown
    assert "0 to create, 3 to update" in shown  # the VPC's router and its two switches, which lose their group
