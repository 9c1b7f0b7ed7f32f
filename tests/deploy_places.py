"""Places that targets are tested in, each with a way to put other people's rows there and to see everything that is there."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from deployer.jsonrpc import Connection
from deployer.ovsdb_json import insert_all
from deployer.sandbox import NB, OvnSandbox
from deployer.state import item_to_json
from deployer.target import Target, canonical
from deployer.targets.fake import FakeTarget, Store
from deployer.targets.ovsdb import OvsdbTarget
from ytwin import pipeline
from ytwin.northbound.rows import Northbound, Row
from ytwin.pipeline import Twin

BASE = """
apiVersion: v1
kind: Node
metadata: {name: node1}
status: {addresses: [{type: InternalIP, address: 192.168.1.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: node2}
status: {addresses: [{type: InternalIP, address: 192.168.1.2}]}
---
apiVersion: iaas.yusur.io/v1
kind: Vpc
metadata: {name: vpc1}
spec:
  staticRoutes: [{cidr: 10.200.0.0/16, nextHopIP: 10.1.0.77}]
  policyRoutes: [{priority: 30, match: "ip4.src == 10.1.0.0/24", action: reroute, nextHopIP: 10.1.0.77}]
---
apiVersion: kubeovn.io/v1
kind: Subnet
metadata: {name: s1}
spec: {vpc: vpc1, cidrBlock: "10.1.0.0/24,fd00:1::/112"}
---
apiVersion: kubeovn.io/v1
kind: Subnet
metadata: {name: s2}
spec: {vpc: vpc1, cidrBlock: 10.2.0.0/24}
---
apiVersion: iaas.yusur.io/v1
kind: EipGateway
metadata: {name: gw}
spec: {nodes: [node1, node2], networkName: external, cidrBlock: 192.0.2.0/24, uplink: 192.0.2.2, gateway: 192.0.2.1,
  pools: [200.0.0.0/24]}
---
apiVersion: iaas.yusur.io/v1
kind: NetworkCard
metadata: {name: node2}
spec: {node: node2, type: SmartNIC, hwOffload: true}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {{name: web-{n}, namespace: default, labels: {{app: web}}, annotations: {{ovn.kubernetes.io/logical_switch: {subnet}}}}}
spec: {{nodeName: node{node}, containers: [{{name: c, ports: [{{name: http, containerPort: 8080}}]}}]}}
"""
SERVICE = """
---
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {{name: svc-{n}, namespace: default}}
spec: {{type: {type}, vpc: vpc1, {gateway} ports: [{{port: {port}, targetPort: http}}], selector: {{app: web}}}}
"""


def topology(pods: int = 4, services: int = 2, eips: int = 1, port: int = 80) -> str:
    """YAML: one VPC with routes, an EipGateway, `pods` on two Subnets and nodes, Services of both types."""
    text = BASE
    for n in range(pods):
        text += POD.format(n=n, subnet=f"s{n % 2 + 1}", node=n % 2 + 1)
    for n in range(services + eips):
        external = n >= services
        gateway = "eipGateway: gw," if external else ""
        text += SERVICE.format(n=n, type="LoadBalancer" if external else "ClusterIP", gateway=gateway, port=port)
    return text


def twin_of(text: str) -> Twin:
    """The whole twin of one YAML text."""
    return pipeline.build(pipeline.read({"t.yaml": text}))


class Place(ABC):
    """Somewhere to deploy to."""

    ends = False
    """Whether `destroy` ends the place itself, and others' rows in it."""

    @abstractmethod
    def open(self, deployment: str = "default") -> Target:
        """A new target there, as another process would open it."""

    @abstractmethod
    def put_foreign(self, rows: Iterable[Row]) -> None:
        """Rows of somebody else; they refer to each other only."""

    @abstractmethod
    def everything(self) -> Any:
        """All that is there, of everybody, in a form that can be compared."""

    @abstractmethod
    def of_others(self) -> Any:
        """Only what belongs to nobody's deployment."""


class FakePlace(Place):
    """Memory."""

    def __init__(self) -> None:
        self.store = Store()

    def open(self, deployment: str = "default") -> Target:
        return FakeTarget(self.store, deployment)

    def put_foreign(self, rows: Iterable[Row]) -> None:
        self.store.foreign |= {row.key: canonical(row) for row in rows}

    def everything(self) -> Any:
        return self.store.to_json()

    def of_others(self) -> Any:
        return {str(key): item_to_json(item) for key, item in self.store.foreign.items()}


class OvsdbPlace(Place):
    """A real Northbound, with northd at work on it."""

    def __init__(self, ovn: OvnSandbox) -> None:
        self.ovn = ovn
        self.remote = ovn.nb_remote
        self.targets: list[Target] = []

    def open(self, deployment: str = "default") -> OvsdbTarget:
        target = OvsdbTarget(self.remote, deployment, timeout_s=20.0)
        self.targets.append(target)
        return target

    def nbctl(self, *arguments: str) -> None:
        """Somebody's hand."""
        subprocess.run(
            ["ovn-nbctl", f"--db={self.remote}", "--no-leader-only", *arguments], check=True, capture_output=True
        )

    def put_foreign(self, rows: Iterable[Row]) -> None:
        with Connection(self.remote) as connection:
            answers = connection.call("transact", [NB, *insert_all(Northbound.of(rows))])
        assert not [answer for answer in answers if "error" in answer], answers

    def everything(self) -> Any:
        """Every table but NB_Global's and the ports' columns that northd writes."""
        with Connection(self.remote) as connection:
            tables = sorted(connection.call("get_schema", [NB])["tables"])
            selects = [{"op": "select", "table": table, "where": []} for table in tables]
            answers = connection.call("transact", [NB, *selects])
        found: dict[str, Any] = {}
        for table, answer in zip(tables, answers, strict=True):
            for row in answer["rows"]:
                kept = {column: value for column, value in row.items() if column not in ("_uuid", *_NORTHDS)}
                if table == "NB_Global":
                    kept = {"external_ids": row["external_ids"], "options": _without_northds(row["options"])}
                found[f"{table} {row['_uuid'][1]}"] = kept
        return found

    def of_others(self) -> Any:
        """Rows without a deployment's mark; their references and children of ours left out."""
        everything = self.everything()
        ours = {key.split()[1] for key, row in everything.items() if _marked(row)}
        ledgers = [row["external_ids"][1] for key, row in everything.items() if key.startswith("NB_Global")]
        groups = {key.rpartition("/Load_Balancer_Group/")[2] for ledger in ledgers for key, _ in ledger}
        others: dict[str, Any] = {}
        for key, row in everything.items():
            if key.startswith("Load_Balancer_Group") and row["name"] in groups:
                ours.add(key.split()[1])
        for key, row in everything.items():
            if key.split()[1] not in ours and not key.startswith("NB_Global"):
                others[key] = {column: _stripped(value, ours) for column, value in row.items()}
        return others

    def close(self) -> None:
        for target in self.targets:
            target.close()


class LabPlace(OvsdbPlace):
    """A lab, empty at first. Its Northbound is its own, so others can only come in later, and `destroy` ends it all."""

    ends = True

    def __init__(self, name: str) -> None:
        from deployer.lab import Lab  # noqa: PLC0415 - not every machine has Mininet

        self.name = name
        self.lab = Lab.create(name)
        self.remote = self.lab.northbound_remote
        self.targets = []

    def open(self, deployment: str = "default") -> Target:  # type: ignore[override]  # another target of the same protocol
        from deployer.targets.mininet import MininetTarget  # noqa: PLC0415 - see above

        target = MininetTarget(self.name, deployment)
        self.targets.append(target)
        return target

    def close(self) -> None:
        self.open().destroy()
        super().close()


_NORTHDS = ("_version", "up", "dynamic_addresses", "nb_cfg", "nb_cfg_timestamp", "hv_cfg", "hv_cfg_timestamp")
_NORTHDS += ("sb_cfg", "sb_cfg_timestamp")


def _without_northds(options: Any) -> Any:
    northds = ("mac_prefix", "svc_monitor_mac", "max_tunid", "northd_internal_version")
    return [pair for pair in options[1] if pair[0] not in northds]


def _marked(row: dict[str, Any]) -> bool:
    return any(key == "ytwin-deployment" for key, _ in row.get("external_ids", ["map", []])[1])


def _stripped(value: Any, ours: set[str]) -> Any:
    if isinstance(value, list) and value[:1] == ["uuid"]:
        return ["set", []] if value[1] in ours else ["set", [value]]
    if isinstance(value, list) and value[:1] == ["set"]:
        return ["set", [item for item in value[1] if not (isinstance(item, list) and item[1] in ours)]]
    return value
