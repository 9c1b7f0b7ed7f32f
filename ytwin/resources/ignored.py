"""Kinds that stand in every dump of a cluster and that the twin does not read.

They are no problem of the input; `Snapshot.ignored` remembers them and `check` says so, because some of them decide who reaches
whom in a real cluster. Kubernetes' own kinds as of 1.33, kube-ovn's as of 1.14, KubeVirt's and the Gateway API's.
"""

from __future__ import annotations


def _kinds(text: str) -> frozenset[str]:
    return frozenset(text.split())


IGNORED: dict[str, frozenset[str]] = {
    "": _kinds(
        """Binding ComponentStatus ConfigMap Event LimitRange Namespace PersistentVolume PersistentVolumeClaim PodTemplate
        ReplicationController ResourceQuota Secret ServiceAccount"""
    ),
    "apps": _kinds("ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet"),
    "batch": _kinds("CronJob Job"),
    "autoscaling": _kinds("HorizontalPodAutoscaler"),
    "policy": _kinds("PodDisruptionBudget"),
    "networking.k8s.io": _kinds("IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR"),
    "policy.networking.k8s.io": _kinds("AdminNetworkPolicy BaselineAdminNetworkPolicy ClusterNetworkPolicy"),
    "rbac.authorization.k8s.io": _kinds("ClusterRole ClusterRoleBinding Role RoleBinding"),
    "apiextensions.k8s.io": _kinds("CustomResourceDefinition"),
    "apiregistration.k8s.io": _kinds("APIService"),
    "admissionregistration.k8s.io": _kinds(
        """MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration ValidatingAdmissionPolicy
        ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration"""
    ),
    "certificates.k8s.io": _kinds("CertificateSigningRequest ClusterTrustBundle"),
    "coordination.k8s.io": _kinds("Lease LeaseCandidate"),
    "events.k8s.io": _kinds("Event"),
    "flowcontrol.apiserver.k8s.io": _kinds("FlowSchema PriorityLevelConfiguration"),
    "metrics.k8s.io": _kinds("NodeMetrics PodMetrics"),
    "node.k8s.io": _kinds("RuntimeClass"),
    "resource.k8s.io": _kinds("DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice"),
    "scheduling.k8s.io": _kinds("PriorityClass"),
    "storage.k8s.io": _kinds("CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment"),
    "k8s.cni.cncf.io": _kinds("NetworkAttachmentDefinition"),
    "gateway.networking.k8s.io": _kinds(
        "GRPCRoute Gateway GatewayClass HTTPRoute ReferenceGrant TCPRoute TLSRoute UDPRoute"
    ),
    # A virtual machine of KubeVirt's is plugged in as the Pod that it runs in.
    "kubevirt.io": _kinds(
        """KubeVirt VirtualMachine VirtualMachineInstance VirtualMachineInstanceMigration VirtualMachineInstanceReplicaSet"""
    ),
    "kubeovn.io": _kinds(
        """BgpConf DNSNameResolver EvpnConf IP IPPool IptablesDnatRule IptablesEIP IptablesFIPRule IptablesSnatRule OvnDnatRule
        OvnEip OvnFip OvnSnatRule ProviderNetwork QoSPolicy SecurityGroup SwitchLBRule Vip Vlan VpcDns VpcEgressGateway
        VpcNatGateway"""
    ),
}
"""API group ("" is core's) -> kinds, whatever their version."""

DECISIVE: frozenset[str] = _kinds(
    """AdminNetworkPolicy BaselineAdminNetworkPolicy ClusterNetworkPolicy IptablesDnatRule IptablesFIPRule IptablesSnatRule
    NetworkPolicy OvnDnatRule OvnFip OvnSnatRule SecurityGroup SwitchLBRule Vip VpcDns VpcEgressGateway VpcNatGateway"""
)
"""Ignored kinds that may change who reaches whom."""


def is_ignored(api_version: object, kind: str) -> bool:
    """Whether an object of this kind and apiVersion is left out on purpose; False for kinds that nobody knows."""
    if not isinstance(api_version, str):
        return False
    group, _, version = api_version.rpartition("/")
    return bool(version) and kind in IGNORED.get(group, ())
