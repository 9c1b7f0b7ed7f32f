"""`reconcile`: the yusurService-controller's one step.

Level-triggered: the result depends on the objects that are there, never on what happened before. What a Memo keeps from the last
round only saves work; the result is the same without it (tested).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ytwin.controllers.addressing import Claim, assign, claim
from ytwin.controllers.build import construct, replaced
from ytwin.controllers.children import Addresses, Children, Results, children
from ytwin.controllers.placement import place
from ytwin.controllers.selection import Backend, backends_of, select
from ytwin.core.memo import Memo
from ytwin.resources.addresses import canonical
from ytwin.resources.model import (
    OWNER,
    BareMetal,
    ClusterNetwork,
    EipGateway,
    Endpoints,
    NetworkProbe,
    Pod,
    Resource,
    Service,
    Subnet,
    VirtualMachine,
    VNicIP,
    Vpc,
    YusurService,
    YusurServiceStatus,
)
from ytwin.resources.snapshot import ObjectId, Snapshot, id_of

_WORKLOADS = (Pod.KIND, VirtualMachine.KIND, BareMetal.KIND, VNicIP.KIND)
_NETWORK = (Subnet.KIND, Vpc.KIND, ClusterNetwork.KIND, EipGateway.KIND)
_OWNED = (YusurService.KIND, Service.KIND, Endpoints.KIND, NetworkProbe.KIND)
_FOREIGN = (Service.KIND, Endpoints.KIND)
_NO_RESULTS: Results = {}


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    """What was made for one YusurService, and from what."""

    source: YusurService
    told: Service | None
    claim: Claim
    settled: Claim
    """`claim` once its addresses are given."""
    backends: tuple[Backend, ...]
    results: Results
    owner: YusurService
    """The YusurService with its status."""
    children: Children


@dataclass(slots=True)
class _Last:
    """The last round: what it read, what it wrote, and what it knew."""

    read: Snapshot = field(default_factory=Snapshot)
    wrote: Snapshot = field(default_factory=Snapshot)
    placed: Snapshot = field(default_factory=Snapshot)
    records: dict[ObjectId, _Record] = field(default_factory=dict)
    rounds: int = 0

    def unchanged(self, snapshot: Snapshot, *kinds: str) -> bool:
        """Whether these kinds are as last time, before or after the round."""
        return self.rounds > 0 and all(
            snapshot.table(k) is self.read.table(k) or snapshot.table(k) is self.wrote.table(k) for k in kinds
        )


@dataclass(slots=True)
class _Round:
    """The present round."""

    records: dict[ObjectId, _Record]
    made: list[_Record]
    gone: list[_Record]


def reconcile(snapshot: Snapshot, memo: Memo | None = None) -> Snapshot:
    """The snapshot with all addresses given and every YusurService's children as they should be.

    `reconcile(reconcile(s)) == reconcile(s)`. Raises InvalidInput where a pool or Subnet has no address left. A Service or
    Endpoints object that neither carries the owner label nor has a YusurService's name is left alone; every NetworkProbe is
    this controller's.
    """
    last = memo.call(_Last) if memo is not None else _Last()
    placed = _placed(snapshot, last)
    this = _round(snapshot, placed, last)
    written = _written(snapshot, placed, this, last)
    last.read, last.wrote, last.placed, last.records = snapshot, written, placed, this.records
    last.rounds += 1
    return written


def _placed(snapshot: Snapshot, last: _Last) -> Snapshot:
    """Workloads with addresses and the network they are in, nothing else; the last round's value if none of it changed."""
    if last.unchanged(snapshot, *_WORKLOADS, *_NETWORK):
        return last.placed
    return place(snapshot.only((*_WORKLOADS, *_NETWORK)))


def _round(snapshot: Snapshot, placed: Snapshot, last: _Last) -> _Round:
    """One record per YusurService, the last round's where nothing that it was made from changed."""
    table = snapshot.table(YusurService.KIND)
    told = _told(snapshot)
    claims, kept = _claims(snapshot, placed, told, last)
    chosen = assign(claims, _others(snapshot))
    index = backends_of(placed)
    same_placed, same_probes = placed is last.placed, last.unchanged(snapshot, NetworkProbe.KIND)
    this = _Round({}, [], [])
    for key, service in zip(table.keys, snapshot.all(YusurService), strict=True):
        record = kept.get(key)
        claimed = claims[key]
        numbers = chosen.get(key, claimed.numbers)
        if record is not None and (numbers is record.settled.numbers or numbers == record.settled.numbers):
            backends = record.backends if same_placed else select(placed, index, service)
            if (same_placed or backends == record.backends) and (
                same_probes or _results(snapshot, key, last) == record.results
            ):
                this.records[key] = record
                continue
        else:
            backends = select(placed, index, service)
        made = _record(service, told(key), claimed, claimed.texts(numbers), backends, _results(snapshot, key, last))
        this.records[key] = made
        this.made.append(made)
        if key in last.records:
            this.gone.append(last.records[key])
    this.gone.extend(last.records[key] for key in last.records.keys() - this.records.keys())
    return this


def _claims(
    snapshot: Snapshot, placed: Snapshot, told: Callable[[ObjectId], Service | None], last: _Last
) -> tuple[dict[ObjectId, Claim], dict[ObjectId, _Record]]:
    """Every YusurService's claim, and the last round's records of those that nothing changed for so far."""
    same_network = last.unchanged(snapshot, *_NETWORK)
    same_services = last.unchanged(snapshot, Service.KIND)
    claims: dict[ObjectId, Claim] = {}
    kept: dict[ObjectId, _Record] = {}
    find = last.records.get if same_network else _nothing
    for key, service in snapshot.items(YusurService):
        record = find(key)
        if record is not None and (service is record.owner or service is record.source):
            if same_services and service is record.owner:
                claims[key], kept[key] = record.settled, record
                continue
            teller = told(key)
            if teller is record.children.service or teller is record.told:
                open_before = service is record.source and teller is record.told
                claims[key], kept[key] = record.claim if open_before else record.settled, record
                continue
        claims[key] = claim(placed, service, told(key))
    return claims, kept


def _nothing(_: ObjectId) -> None:
    return None


def _told(snapshot: Snapshot) -> Callable[[ObjectId], Service | None]:
    """The Service object of a YusurService's name."""

    def told(key: ObjectId) -> Service | None:
        return snapshot.get(Service, key.name, key.namespace)

    return told if len(snapshot.table(Service.KIND)) else _nothing


def _results(snapshot: Snapshot, key: ObjectId, last: _Last) -> Results:
    """What the probes of a YusurService found, by address; unhealthy wins where two disagree."""
    if snapshot.table(NetworkProbe.KIND) is last.wrote.table(NetworkProbe.KIND):
        record = last.records.get(key)
        return _by_address(record.children.probes) if record is not None else _NO_RESULTS
    return snapshot.once(_all_results, NetworkProbe.KIND).get(key, _NO_RESULTS)


def _all_results(snapshot: Snapshot) -> dict[ObjectId, Results]:
    probes: dict[ObjectId, list[NetworkProbe]] = {}
    for probe in snapshot.all(NetworkProbe):
        if probe.status.healthy is not None:
            probes.setdefault(ObjectId(YusurService.KIND, probe.namespace, probe.spec.service), []).append(probe)
    return {key: _by_address(items) for key, items in probes.items()}


def _by_address(probes: Iterable[NetworkProbe]) -> Results:
    found: dict[str, bool] = {}
    for probe in probes:
        if probe.status.healthy is not None:
            address = canonical(probe.spec.address)
            found[address] = probe.status.healthy and found.get(address, True)
    return found


def _record(
    service: YusurService,
    told: Service | None,
    claimed: Claim,
    given: Addresses,
    backends: tuple[Backend, ...],
    results: Results,
) -> _Record:
    cluster_ip, eip = ",".join(given.cluster), ",".join(given.eip)
    owner = service
    if (service.status.cluster_ip, service.status.eip) != (cluster_ip, eip):
        owner = replaced(service, status=construct(YusurServiceStatus, cluster_ip=cluster_ip, eip=eip))
    made = children(service, given, backends, results)
    return _Record(service, told, claimed, Claim(given), backends, results, owner, made)


def _written(snapshot: Snapshot, placed: Snapshot, this: _Round, last: _Last) -> Snapshot:
    """The snapshot with the tables of everything that this controller writes: the last round's with what changed since."""
    put = {id_of(item): item for record in this.made for item in (record.owner, *record.children)}
    remove = {id_of(item) for record in this.gone for item in (record.owner, *record.children)}
    remove.update(last.wrote.once(_foreign, *_FOREIGN))
    foreign = {key: item for key, item in snapshot.once(_foreign, *_FOREIGN).items() if not _has_owner(snapshot, key)}
    put.update(foreign)
    owned = last.wrote.only(_OWNED).changed(put.values(), remove - put.keys())
    tables = {kind: placed.table(kind) for kind in _WORKLOADS}
    tables.update((kind, owned.table(kind)) for kind in _OWNED)
    return snapshot.with_tables(tables).knowing(_foreign, foreign, *_FOREIGN)


def _has_owner(snapshot: Snapshot, key: ObjectId) -> bool:
    return snapshot.get(YusurService, key.name, key.namespace) is not None


def _others(snapshot: Snapshot) -> list[Service]:
    """Services that are left alone; `unmanaged_services`, from what is known of the last round."""
    foreign = snapshot.once(_foreign, *_FOREIGN).items()
    return [item for key, item in foreign if isinstance(item, Service) and not _has_owner(snapshot, key)]


def _foreign(snapshot: Snapshot) -> dict[ObjectId, Resource]:
    """Service and Endpoints objects that do not carry the owner label."""
    found: dict[ObjectId, Resource] = {}
    for kind in (Service, Endpoints):
        found.update((key, item) for key, item in snapshot.items(kind) if OWNER not in item.metadata.labels)
    return found
