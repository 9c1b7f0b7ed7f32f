"""The nbctl script against stock ovn-nbctl and a real Northbound, and what the real ovn-northd says about the rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from frozendict import frozendict
from northbound_cases import EVERYTHING, SCENARIOS, northbound_of

from deployer.sandbox import NB, OvnSandbox
from ytwin.core.errors import YtwinError
from ytwin.northbound.nbctl import nbctl_script
from ytwin.northbound.rows import TABLES, LogicalRouterPort, Northbound, Row, columns_of

pytestmark = pytest.mark.ovn

CHILDREN = {
    ("Logical_Switch", "ports"): ("Logical_Switch_Port", "switch"),
    ("Logical_Router", "ports"): ("Logical_Router_Port", "router"),
    ("Logical_Router", "static_routes"): ("Logical_Router_Static_Route", "router"),
    ("Logical_Router", "policies"): ("Logical_Router_Policy", "router"),
    ("Logical_Router_Port", "gateway_chassis"): ("Gateway_Chassis", "port"),
}
REFERENCES = ("load_balancer", "load_balancer_group")
KINDS: dict[str, type[Row]] = {kind.table: kind for kind in TABLES}
OURS = ("use_ct_inv_match",)

AWKWARD = """
apiVersion: iaas.yusur.io/v1
kind: Vpc
metadata: {name: vpc9}
spec:
  staticRoutes:
  - {cidr: 10.200.0.0/16, nextHopIP: 10.9.0.77}
  - {cidr: 10.9.0.0/25, nextHopIP: 10.9.0.78, policy: policySrc}
  - {cidr: "fd00:77::/64", nextHopIP: "fd00:9::77", routeTable: "red 'table' $HOME"}
  policyRoutes:
  - {priority: 30, match: 'ip4.src == 10.9.0.0/24 && inport == "lrp_vpc9_s9"', action: reroute, nextHopIP: 10.9.0.77}
  - {priority: 20, match: "ip4.dst == {10.0.0.1, 10.0.0.2} && tcp.dst != 80", action: drop}
  - {priority: 10, match: "ip6", action: allow}
---
apiVersion: iaas.yusur.io/v1
kind: Subnet
metadata: {name: s9}
spec: {vpc: vpc9, cidrBlock: "10.9.0.0/24,fd00:9::/112"}
"""


@pytest.fixture
def ovn() -> Iterator[OvnSandbox]:
    with OvnSandbox() as sandbox:
        yield sandbox


def run_script(ovn: OvnSandbox, nb: Northbound) -> None:
    ovn.run("sh", "-s", stdin=f"OVN_NB_DB={ovn.nb_remote}\nexport OVN_NB_DB\n{nbctl_script(nb)}")


def decoded(value: Any) -> Any:
    """An OVSDB JSON value as Python: map -> dict, set -> list, uuid -> its text."""
    if isinstance(value, list):
        tag, content = value
        if tag == "map":
            return dict(content)
        return content if tag == "uuid" else [decoded(item) for item in content]
    return value


def read_back(ovn: OvnSandbox) -> Northbound:
    """The real Northbound as our rows, by a way of its own: ovsdb-client's dump."""
    dump: dict[str, dict[str, dict[str, Any]]] = {}
    for line in ovn.run("ovsdb-client", "-f", "json", "dump", ovn.nb_remote, NB).splitlines():
        table = json.loads(line)
        rows = [dict(zip(table["headings"], map(decoded, values), strict=True)) for values in table["data"]]
        dump[table["caption"].split()[0]] = {row["_uuid"]: row for row in rows}
    parents = {
        child: (column, owner["name"])
        for (table, reference), (_, column) in CHILDREN.items()
        for owner in dump[table].values()
        for child in listed(owner[reference])
    }
    names = {key: row["name"] for table in ("Load_Balancer", "Load_Balancer_Group") for key, row in dump[table].items()}
    rows = [to_row(KINDS[table], key, row, parents, names) for table in KINDS for key, row in dump[table].items()]
    others = {table for table in dump if dump[table] and table not in KINDS}
    assert others <= {"NB_Global"}
    (settings,) = dump["NB_Global"].values()
    return Northbound.of(rows, frozendict({k: v for k, v in settings["options"].items() if k in OURS}))


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def to_row(
    kind: type[Row], key: str, row: dict[str, Any], parents: dict[str, tuple[str, str]], names: dict[str, str]
) -> Row:
    columns: dict[str, Any] = {}
    for column in columns_of(kind):
        if key in parents and parents[key][0] == column:
            columns[column] = parents[key][1]
        elif column in REFERENCES:
            columns[column] = tuple(sorted(names[item] for item in listed(row[column])))
        elif column == "tag":
            columns[column] = row[column] if row[column] != [] else None
        elif isinstance(row[column], dict):
            columns[column] = frozendict(row[column])
        elif column in ("addresses", "port_security", "networks", "nexthops", "selection_fields"):
            columns[column] = tuple(sorted(listed(row[column])))
        else:
            columns[column] = row[column] if row[column] != [] else ""
    return kind(**columns)


def as_sets(nb: Northbound) -> Northbound:
    """Sets of OVSDB have no order: compare them sorted."""
    rows = []
    for row in nb.rows.values():
        values = {name: getattr(row, name) for name in columns_of(type(row))}
        rows.append(type(row)(**{n: tuple(sorted(v)) if isinstance(v, tuple) else v for n, v in values.items()}))
    return Northbound.of(rows, nb.options)


@pytest.mark.parametrize(
    "texts", [*SCENARIOS.values(), (*EVERYTHING, AWKWARD)], ids=[*SCENARIOS, "routes and policies"]
)
def test_script_yields_exactly_these_rows(ovn: OvnSandbox, texts: tuple[str, ...]) -> None:
    nb = northbound_of(*texts)
    run_script(ovn, nb)
    found, wanted = read_back(ovn), as_sets(nb)
    assert found.rows == wanted.rows
    assert found.options == wanted.options
    assert complaints(ovn) == []


def complaints(ovn: OvnSandbox) -> list[str]:
    """What the real ovn-northd warns about the Northbound as it is now."""
    ovn.wait_northd()
    return [line for line in ovn.log("northd").splitlines() if "|WARN|" in line or "|ERR|" in line]


def test_complaints_are_seen(ovn: OvnSandbox) -> None:
    run_script(ovn, northbound_of(AWKWARD.replace("nextHopIP: 10.9.0.77}", "nextHopIP: 10.99.0.77}")))
    assert any("10.99.0.77" in line or "No path for static route" in line for line in complaints(ovn))


FIRST_PACKETS = {  # datapath, where the packet enters, its fields; the port it must be able to leave at
    "1 Pod to ClusterIP": (
        "subnet1",
        'inport == "web-0.a.one" && eth.src == 0a:58:0a:01:00:05 && eth.dst == MAC(lrp_vpc1_subnet1) && ip4.src == 10.1.0.5 '
        "&& ip4.dst == 10.96.0.10 && ip.ttl == 64 && tcp && tcp.src == 1000 && tcp.dst == 80",
        "10.1.1.7",
        "vm_vm0.one",
    ),
    "2 node to ClusterIP": (
        "join",
        'inport == "node_node1" && eth.dst == MAC(lrp_ovn-cluster_join) && ip6.src == fd00:100:64::2296 '
        "&& ip6.dst == fd00:10:96::11 && ip.ttl == 64 && sctp && sctp.src == 1000 && sctp.dst == 5001",
        "",
        "sys-0.default",
    ),
    "3 outside to EIP of one VPC": (
        "eipnet_gw1",
        'inport == "localnet_gw1" && eth.dst == MAC(lrp_eipgw_gw1_eipnet_gw1) && ip4.src == 8.8.8.8 '
        "&& ip4.dst == 200.0.0.100 && ip.ttl == 64 && tcp && tcp.src == 1000 && tcp.dst == 80",
        "10.1.0.5",
        "web-0.a.one",
    ),
    "3 IPv6 only": (
        "eipnet_gw1",
        'inport == "localnet_gw1" && eth.dst == MAC(lrp_eipgw_gw1_eipnet_gw1) && ip6.src == 2001:db8::1 '
        "&& ip6.dst == fd00:200::15 && ip.ttl == 64 && tcp && tcp.src == 1000 && tcp.dst == 80",
        "",
        "vnic_nic6.two",
    ),
    "4 outside to EIP of several VPCs": (
        "eipnet_gw1",
        'inport == "localnet_gw1" && eth.dst == MAC(lrp_eipgw_gw1_eipnet_gw1) && ip4.src == 8.8.8.8 '
        "&& ip4.dst == 200.0.0.101 && ip.ttl == 64 && tcp && tcp.src == 1000 && tcp.dst == 5432",
        "10.1.1.8",
        "vm_vm1.two",
    ),
}


def test_first_packet_of_every_scenario_reaches_a_backend(ovn: OvnSandbox) -> None:
    nb = northbound_of(*EVERYTHING)
    ovn.load(nb)
    ovn.wait_northd()
    macs = {row.name: row.mac for row in nb.of_type(LogicalRouterPort)}
    for name, (datapath, fields, backend, port) in FIRST_PACKETS.items():
        flow = re.sub(r"MAC\(([^)]*)\)", lambda found: macs[found[1]], fields)
        text = ovn.trace(datapath, flow, ct=["new"] * 6, lb_dst=backend, flags=["--minimal"])
        assert f'output("{port}")' in text, f"{name}\n{text}"


@pytest.mark.parametrize("folder", ["article", "four-scenarios"])
def test_shipped_topologies_please_the_real_northd(ovn: OvnSandbox, folder: str) -> None:
    place = Path(__file__).parents[2] / "topologies" / folder
    nb = northbound_of(*(file.read_text() for file in sorted(place.glob("*.yaml"))))
    run_script(ovn, nb)
    assert read_back(ovn).rows == as_sets(nb).rows
    assert complaints(ovn) == []


def test_script_refuses_a_northbound_with_rows(ovn: OvnSandbox) -> None:
    nb = northbound_of(*SCENARIOS["1 ClusterIP"])
    run_script(ovn, nb)
    with pytest.raises(YtwinError, match="nothing was changed"):
        run_script(ovn, nb)
    assert read_back(ovn).rows == as_sets(nb).rows


def test_chunks_keep_every_reference(ovn: OvnSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ytwin.northbound.nbctl.CHUNK_ROWS", 3)
    nb = northbound_of(*EVERYTHING)
    run_script(ovn, nb)
    assert read_back(ovn).rows == as_sets(nb).rows
