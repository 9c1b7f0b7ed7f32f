"""Topologies for the tests of the northbound and nodes rooms: the four scenarios and what surrounds them, in YAML."""

from __future__ import annotations

from ytwin.controllers import reconcile
from ytwin.northbound import Northbound, compile_northbound
from ytwin.resources.codec import decode, parse
from ytwin.resources.snapshot import Snapshot

NODES = """
{apiVersion: v1, kind: Node, metadata: {name: node1},
 status: {addresses: [{type: Hostname, address: node1}, {type: InternalIP, address: 192.168.0.11}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: node2}, status: {addresses: [{type: InternalIP, address: 192.168.0.12}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: node3}, status: {addresses: [{type: InternalIP, address: 192.168.0.13}]}}
"""
CARDS = """
{apiVersion: iaas.yusur.io/v1, kind: NetworkCard, metadata: {name: c1}, spec: {node: node1, type: DPU}}
---
{apiVersion: iaas.yusur.io/v1, kind: NetworkCard, metadata: {name: c2}, spec: {node: node2, type: SmartNIC}}
"""
VPCS = """
{apiVersion: iaas.yusur.io/v1, kind: Vpc, metadata: {name: vpc1}, spec: {namespaces: [one]}}
---
{apiVersion: iaas.yusur.io/v1, kind: Vpc, metadata: {name: vpc2}}
---
{apiVersion: iaas.yusur.io/v1, kind: Vpc, metadata: {name: vpc6}}
---
{apiVersion: iaas.yusur.io/v1, kind: Subnet, metadata: {name: subnet0},
 spec: {cidrBlock: "10.16.0.0/16,fd00:10:16::/112", default: true}}
---
{apiVersion: iaas.yusur.io/v1, kind: Subnet, metadata: {name: subnet1},
 spec: {vpc: vpc1, cidrBlock: "10.1.0.0/24,fd00:1::/112", gateway: "10.1.0.254,fd00:1::1", mtu: 8900, namespaces: [one]}}
---
{apiVersion: iaas.yusur.io/v1, kind: Subnet, metadata: {name: subnet2}, spec: {vpc: vpc1, cidrBlock: 10.1.1.0/24}}
---
{apiVersion: iaas.yusur.io/v1, kind: Subnet, metadata: {name: subnet3}, spec: {vpc: vpc2, cidrBlock: 10.2.0.0/24}}
---
{apiVersion: iaas.yusur.io/v1, kind: Subnet, metadata: {name: subnet6}, spec: {vpc: vpc6, cidrBlock: "fd00:6::/112"}}
"""
WORKLOADS = """
apiVersion: v1
kind: Pod
metadata: {name: web-0.a, namespace: one, labels: {app: web},
  annotations: {ovn.kubernetes.io/logical_switch: subnet1, ovn.kubernetes.io/ip_address: "10.1.0.5,fd00:1::5"}}
spec:
  nodeName: node1
  containers: [{name: c, ports: [{name: http, containerPort: 8080}, {name: q, containerPort: 9, protocol: UDP}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: sys-0, namespace: default, labels: {app: sys}}
spec: {nodeName: node3}
---
apiVersion: iaas.yusur.io/v1
kind: VirtualMachine
metadata: {name: vm0, namespace: one, labels: {app: web}}
spec: {node: node2, subnet: subnet2, ipAddress: 10.1.1.7, macAddress: "52:54:00:AA:BB:CC",
  ports: [{name: http, containerPort: 80}, {name: q, containerPort: 9, protocol: UDP}]}
---
apiVersion: iaas.yusur.io/v1
kind: VirtualMachine
metadata: {name: vm1, namespace: two, labels: {tier: back}}
spec: {node: node1, subnet: subnet2, ipAddress: 10.1.1.8}
---
apiVersion: iaas.yusur.io/v1
kind: BareMetal
metadata: {name: bm0, namespace: two, labels: {app: db, tier: back}}
spec: {node: node2, subnet: subnet3, ipAddress: 10.2.0.9}
---
apiVersion: iaas.yusur.io/v1
kind: VNicIP
metadata: {name: nic6, namespace: two, labels: {app: six}}
spec: {node: node3, subnet: subnet6, ipAddress: "fd00:6::9"}
"""
GATEWAYS = """
apiVersion: iaas.yusur.io/v1
kind: EipGateway
metadata: {name: gw1}
spec: {nodes: [node2, node1], networkName: external, vlan: 100,
  cidrBlock: "172.18.0.0/24,fd00:18::/64", uplink: "172.18.0.2,fd00:18::2",
  gateway: "172.18.0.1,fd00:18::1", pools: [200.0.0.0/24, "fd00:200::/112"]}
---
apiVersion: iaas.yusur.io/v1
kind: EipGateway
metadata: {name: gw2}
spec: {nodes: [node2], networkName: provider-network-two, cidrBlock: 172.19.0.0/24, uplink: 172.19.0.2, gateway: 172.19.0.1,
  pools: [201.0.0.0/24]}
"""
CLUSTER_IP = """
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {name: web, namespace: one}
spec: {type: ClusterIP, vpc: vpc1, clusterIP: "10.96.0.10,fd00:10:96::10", ports: [{name: http, port: 80, targetPort: http},
  {name: alt, port: 81, targetPort: http}, {name: q, port: 9, targetPort: q, protocol: UDP}], selector: {app: web}}
"""
NODE_CLIENT = """
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {name: sys, namespace: default}
spec: {type: ClusterIP, scope: cluster, clusterIP: "10.96.0.11,fd00:10:96::11", ports: [{port: 5001, protocol: SCTP}],
  selector: {app: sys}}
"""
ONE_VPC_EIP = """
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {name: pub, namespace: one}
spec: {type: LoadBalancer, vpc: vpc1, eipGateway: gw1, clusterIP: "10.96.0.12,fd00:10:96::12", eip: "200.0.0.100,fd00:200::100",
  ports: [{port: 80, targetPort: http}], selector: {app: web}}
"""
SEVERAL_VPCS_EIP = """
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {name: many, namespace: two}
spec: {type: LoadBalancer, vpcs: [vpc1, vpc2], eipGateway: gw1, eip: "200.0.0.101", ports: [{port: 5432, targetPort: 80}],
  selector: {tier: back}}
"""
NO_BACKEND = """
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {name: empty, namespace: two}
spec: {vpc: vpc2, clusterIP: 10.96.0.13, ports: [{port: 80}], selector: {app: nobody},
  balancing: {reject: true, algorithm: dpHash}}
"""
SECOND_GATEWAY = """
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {name: pub2, namespace: two}
spec: {type: LoadBalancer, vpc: vpc2, eipGateway: gw2, clusterIP: 10.96.0.14, eip: 201.0.0.100, ports: [{port: 80}],
  selector: {app: db}, sessionAffinity: ClientIP}
"""
SIX_ONLY = """
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {name: six, namespace: two}
spec: {type: LoadBalancer, vpc: vpc6, eipGateway: gw1, clusterIP: "fd00:10:96::15", eip: "fd00:200::15", ports: [{port: 80}],
  selector: {app: six}}
"""
NETWORK = (NODES, CARDS, VPCS, WORKLOADS)
EVERYTHING = (
    *NETWORK, GATEWAYS, CLUSTER_IP, NODE_CLIENT, ONE_VPC_EIP, SEVERAL_VPCS_EIP, NO_BACKEND, SECOND_GATEWAY, SIX_ONLY,
)  # fmt: skip
SCENARIOS = {
    "nothing": (),
    "nodes alone": (NODES,),
    "network alone": NETWORK,
    "1 ClusterIP": (*NETWORK, CLUSTER_IP),
    "2 node client": (*NETWORK, NODE_CLIENT),
    "3 EIP of one VPC": (*NETWORK, GATEWAYS, ONE_VPC_EIP),
    "4 EIP of several VPCs": (*NETWORK, GATEWAYS, SEVERAL_VPCS_EIP),
    "no backend": (*NETWORK, NO_BACKEND),
    "IPv6 only": (*NETWORK, GATEWAYS, SIX_ONLY),
    "everything": EVERYTHING,
}


def snapshot_of(*texts: str) -> Snapshot:
    """A reconciled Snapshot of YAML texts."""
    return reconcile(decode({f"{position}.yaml": text for position, text in enumerate(texts)}))


def unchecked_snapshot_of(*texts: str) -> Snapshot:
    """The same without the checks that hold objects against each other: what compilation must refuse by itself."""
    parsed = parse({f"{position}.yaml": text for position, text in enumerate(texts)})
    assert not parsed.problems
    return reconcile(Snapshot.of(parsed.resources.values()))


def northbound_of(*texts: str) -> Northbound:
    """What those compile to."""
    return compile_northbound(snapshot_of(*texts))
