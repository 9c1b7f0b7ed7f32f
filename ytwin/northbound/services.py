"""Load_Balancer rows of one Service: one row per protocol for the ClusterIPs, one for the EIPs.

A row per protocol because `Load_Balancer.options` and `protocol` hold for all of a row's VIPs. Both address families share a row.
A VIP without a healthy backend stays, with no backends: OVN then drops (or rejects) instead of forwarding the VIP somewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from frozendict import frozendict

from ytwin.core.errors import Unsupported
from ytwin.northbound.names import load_balancer, owned_by
from ytwin.northbound.rows import LoadBalancer, Row, RowKey, Strings
from ytwin.resources.addresses import canonical
from ytwin.resources.balancing import ALGORITHMS, SELECTION_FIELDS, effective_algorithm
from ytwin.resources.model import EipGateway, Endpoints, Service, ServicePort, YusurService, YusurServiceSpec
from ytwin.resources.snapshot import ObjectId, id_of
from ytwin.resources.workload import cluster_ips_of, external_ips_of

DEFAULT_FIELDS = ("ip_dst", "ip_src", "tp_dst", "tp_src")
"""Hash over the connection's addresses and ports. The default, because dp_hash costs one more recirculation per new connection
and the datapath drops a packet after six of them."""
_AFFINITY_SECONDS = 10800


@dataclass(frozen=True, slots=True)
class ServiceRows:
    """What one Service asks of the Northbound."""

    source: ObjectId
    vpcs: tuple[str, ...]
    """Of the backends; several: EIPs are balanced by the gateway's service router."""
    gateway: str
    """EipGateway of the EIPs, or ""."""
    eips: tuple[str, ...]
    cluster: tuple[str, ...]
    """Names of the rows that belong on the VPC's switches."""
    external: tuple[str, ...]
    """Names of the rows that belong on a router."""
    rows: tuple[tuple[RowKey, Row], ...]

    def with_rows(self, same: Callable[[Row], Row]) -> ServiceRows:
        """This with every row passed through `same`, which returns an equal one."""
        return replace(self, rows=tuple((key, same(row)) for key, row in self.rows))


def service_rows(
    yusur: YusurService,
    service: Service,
    endpoints: Endpoints | None,
    gateway: EipGateway | None,
    default_vpc: str,
) -> ServiceRows:
    """Load balancers of a Service that has its addresses, with its healthy backends.

    `gateway` is the EipGateway that the Service uses. Unsupported if it has an EIP and no gateway, or wants what OVN has not.
    """
    spec = yusur.spec
    vpcs = tuple(dict.fromkeys(name for name in (spec.vpc, *spec.vpcs) if name)) or (default_vpc,)
    eips: tuple[str, ...] = ()
    if spec.type == "LoadBalancer":
        eips = external_ips_of(service)
        if eips and gateway is None:
            raise Unsupported(f"{id_of(yusur)} has an EIP but names no EipGateway, and there is not exactly one")
    cluster_ips: tuple[str, ...] = ()
    if len(vpcs) == 1:
        cluster_ips = cluster_ips_of(service)
    cluster = _load_balancers(yusur, service, endpoints, cluster_ips, eip=False)
    external = _load_balancers(yusur, service, endpoints, eips, eip=True)
    return ServiceRows(
        source=id_of(yusur),
        vpcs=vpcs,
        gateway=gateway.name if gateway is not None and eips else "",
        eips=eips,
        cluster=tuple(row.name for row in cluster),
        external=tuple(row.name for row in external),
        rows=tuple((row.key, row) for row in (*cluster, *external)),
    )


def _load_balancers(
    yusur: YusurService, service: Service, endpoints: Endpoints | None, addresses: tuple[str, ...], *, eip: bool
) -> list[LoadBalancer]:
    if not addresses:
        return []
    by_protocol: dict[str, list[ServicePort]] = {}
    for port in service.spec.ports:
        by_protocol.setdefault(port.protocol, []).append(port)
    fields, options, ids = selection_fields(yusur), _options(yusur.spec), owned_by(id_of(yusur))
    return [
        LoadBalancer(
            name=load_balancer(yusur.namespace, yusur.name, protocol, eip=eip),
            vips=_vips(addresses, by_protocol[protocol], endpoints),
            protocol=protocol.lower(),
            selection_fields=fields,
            options=options,
            external_ids=ids,
        )
        for protocol in sorted(by_protocol)
    ]


def _vips(addresses: tuple[str, ...], ports: list[ServicePort], endpoints: Endpoints | None) -> Strings:
    vips: dict[str, str] = {}
    for port in ports:
        ipv4, ipv6 = _backends(port, endpoints)
        for address in addresses:
            if ":" in address:
                vips[f"[{address}]:{port.port}"] = ipv6
            else:
                vips[f"{address}:{port.port}"] = ipv4
    return frozendict(vips)


def _backends(port: ServicePort, endpoints: Endpoints | None) -> tuple[str, str]:
    """Healthy backends of a port as OVN writes them, per family, sorted: their place decides which hash chooses them."""
    ipv4: set[str] = set()
    ipv6: set[str] = set()
    for subset in endpoints.subsets if endpoints is not None else ():
        for target in subset.ports:
            if target.name == port.name and target.protocol == port.protocol:
                for address in subset.addresses:
                    if ":" in address.ip:
                        ipv6.add(f"[{canonical(address.ip)}]:{target.port}")
                    else:
                        ipv4.add(f"{address.ip}:{target.port}")
    return ",".join(sorted(ipv4)), ",".join(sorted(ipv6))


def selection_fields(yusur: YusurService) -> tuple[str, ...]:
    """`Load_Balancer.selection_fields`, sorted; () lets OVN take dp_hash.

    An algorithm that OVN lacks becomes the default hash where the Service asked for the nearest, else it is Unsupported.
    """
    balancing = yusur.spec.balancing
    if balancing.algorithm not in ALGORITHMS and balancing.on_unsupported != "nearest":
        raise Unsupported(
            f"{id_of(yusur)}: OVN has no balancing algorithm {balancing.algorithm!r}; it has {' and '.join(ALGORITHMS)} "
            "(or set balancing.onUnsupported: nearest)"
        )
    if effective_algorithm(balancing) == "dpHash":
        return ()
    unknown = [name for name in balancing.selection_fields if name not in SELECTION_FIELDS]
    if unknown:
        raise Unsupported(
            f"{id_of(yusur)}: OVN cannot hash over {', '.join(unknown)}; it can over {', '.join(SELECTION_FIELDS)}"
        )
    return tuple(sorted({SELECTION_FIELDS[name] for name in balancing.selection_fields})) or DEFAULT_FIELDS


def _options(spec: YusurServiceSpec) -> Strings:
    options: dict[str, str] = {}
    if spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config
        options["affinity_timeout"] = str(config.client_ip.timeout_seconds if config else _AFFINITY_SECONDS)
    if spec.balancing.reject:
        options["reject"] = "true"
    return frozendict(options)
