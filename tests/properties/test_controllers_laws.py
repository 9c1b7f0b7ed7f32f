"""Laws of `reconcile` over generated topologies: stability of addresses, order, idempotence, level triggering, memo."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from controllers_cases import gateway, meta, pod, service, subnet, vpc
from hypothesis import given, settings
from hypothesis import strategies as st

from ytwin.controllers import reconcile
from ytwin.core.memo import Memo
from ytwin.core.plan import apply, diff
from ytwin.generate import generate
from ytwin.resources.model import (
    ClusterNetwork,
    ClusterNetworkSpec,
    Endpoints,
    Metadata,
    NetworkProbe,
    NetworkProbeStatus,
    Resource,
    Service,
    ServiceSpec,
    YusurService,
    YusurServiceStatus,
)
from ytwin.resources.snapshot import ObjectId, Snapshot, id_of
from ytwin.resources.workload import workloads

CHILDREN = (Service.KIND, Endpoints.KIND, NetworkProbe.KIND)
seeds = st.integers(0, 10**6)


@st.composite
def topologies(draw: st.DrawFn) -> tuple[Resource, ...]:
    return generate(
        nodes=draw(st.integers(1, 4)),
        vpcs=draw(st.integers(1, 4)),
        subnets=draw(st.integers(1, 6)),
        services=draw(st.integers(0, 6)),
        backends=draw(st.integers(0, 4)),
        seed=draw(seeds),
    )


def addresses(snapshot: Snapshot) -> dict[ObjectId, tuple[str, ...]]:
    """Every address that an object of the snapshot was given."""
    found = {id_of(s): (s.status.cluster_ip, s.status.eip) for s in snapshot.all(YusurService)}
    return found | {w.id: (*w.addresses, w.mac) for w in workloads(snapshot)}


def contains(later: Mapping[ObjectId, object], earlier: Mapping[ObjectId, object]) -> bool:
    return earlier.items() <= later.items()


@settings(deadline=None, max_examples=60)
@given(topologies(), seeds)
def test_arrival_order_is_irrelevant(objects: tuple[Resource, ...], seed: int) -> None:
    shuffled = list(objects)
    Random(seed).shuffle(shuffled)
    assert reconcile(Snapshot.of(shuffled)) == reconcile(Snapshot.of(objects))


@settings(deadline=None, max_examples=60)
@given(topologies())
def test_a_second_run_changes_nothing(objects: tuple[Resource, ...]) -> None:
    once = reconcile(Snapshot.of(objects))
    assert reconcile(once) == once
    assert list(reconcile(once).objects) == sorted(once.objects)


@settings(deadline=None, max_examples=60)
@given(topologies(), seeds)
def test_no_address_given_is_ever_moved(objects: tuple[Resource, ...], seed: int) -> None:
    """Objects arrive in parts, in any order; after each part the controller runs."""
    order = Random(seed)
    late = [o for o in objects if o.KIND in ("YusurService", "Pod", "VirtualMachine", "BareMetal", "VNicIP")]
    order.shuffle(late)
    snapshot = reconcile(Snapshot.of(o for o in objects if o not in late and o.KIND not in CHILDREN))
    memo = Memo()
    told = [o for o in objects if o.KIND == Service.KIND]
    # Addresses that somebody chose by hand are in the world before the controller chooses others.
    fixed = [o for o in late if _says_an_address(o, told)]
    snapshot = reconcile(snapshot.with_objects([*fixed, *told]), memo)
    rest = [o for o in late if o not in fixed]
    while rest:
        count = order.randint(1, len(rest))
        before = addresses(snapshot)
        snapshot = reconcile(snapshot.with_objects(rest[:count]), memo)
        memo.advance()
        assert contains(addresses(snapshot), before)
        rest = rest[count:]
    assert all(all(found) for key, found in addresses(snapshot).items() if key.kind != YusurService.KIND)


def _says_an_address(item: Resource, told: list[Resource]) -> bool:
    if isinstance(item, YusurService):
        own = (item.spec.cluster_ip, item.spec.eip, item.status.cluster_ip, item.status.eip)
        return any(own) or any(s.name == item.name for s in told)
    return any(w.addresses or w.mac for w in workloads(Snapshot.of([item])))


@settings(deadline=None, max_examples=40)
@given(topologies())
def test_what_is_built_without_validation_is_valid(objects: tuple[Resource, ...]) -> None:
    """Every object equals itself read again, and what `reconcile` says about its workloads is what one finds."""
    done = reconcile(Snapshot.of(objects))
    for item in done.objects.values():
        again = type(item).model_validate(item.model_dump(by_alias=True))
        assert again == item
        assert list(item.__dict__) == list(type(item).model_fields)
    assert workloads(Snapshot.of(done.objects.values())) == workloads(done)


@settings(deadline=None, max_examples=40)
@given(topologies())
def test_addresses_are_distinct_where_they_must_be(objects: tuple[Resource, ...]) -> None:
    done = reconcile(Snapshot.of(objects))
    texts = [part for s in done.all(YusurService) for part in s.status.cluster_ip.split(",") if part]
    assert len(texts) == len(set(texts))
    served = [  # Services may share an EIP that they were given, by ports
        (part, p.protocol, p.port)
        for s in done.all(YusurService)
        for part in s.status.eip.split(",")
        for p in s.spec.ports
        if part
    ]
    assert len(served) == len(set(served))
    seats = [(w.subnet, address) for w in workloads(done) for address in (*w.addresses, w.mac)]
    assert len(seats) == len(set(seats))


@settings(deadline=None, max_examples=60)
@given(topologies(), seeds)
def test_deleted_or_spoiled_children_come_back(objects: tuple[Resource, ...], seed: int) -> None:
    order = Random(seed)
    done = reconcile(Snapshot.of(objects))
    owned = [key for key in done.objects if key.kind in (Service.KIND, Endpoints.KIND)]
    # A probe's status is the record of a result, so deleting a probe with a result does lose it.
    owned += [id_of(p) for p in done.all(NetworkProbe) if p.status.healthy is None]
    spoiled = [e.model_copy(update={"subsets": ()}) for e in done.all(Endpoints)]
    gone = order.sample(owned, order.randint(0, len(owned)))
    harmed = done.changed([item for item in spoiled if order.random() < 0.5], gone)
    assert reconcile(harmed) == done
    plan = diff(harmed.objects, reconcile(harmed).objects)
    assert apply(harmed.objects, plan) == done.objects


@settings(deadline=None, max_examples=60)
@given(topologies())
def test_the_plan_of_a_reconcile_leads_to_its_result(objects: tuple[Resource, ...]) -> None:
    observed = Snapshot.of(objects)
    desired = reconcile(observed)
    assert apply(observed.objects, diff(observed.objects, desired.objects)) == desired.objects
    assert len(diff(desired.objects, reconcile(desired).objects)) == 0


@settings(deadline=None, max_examples=150)
@given(topologies(), topologies(), seeds)
def test_a_memo_never_changes_the_result(first: tuple[Resource, ...], second: tuple[Resource, ...], seed: int) -> None:
    """A walk of changes of every kind, each step with the same memo and without any."""
    order = Random(seed)
    memo = Memo()
    world = Snapshot.of(first)
    services = [s for s in second if isinstance(s, YusurService) and s.spec.type == "ClusterIP" and not s.spec.vnic_ips]
    names = {s.spec.vpc for s in world.all(YusurService)}
    pending = [s for s in services if s.spec.vpc in names and not s.spec.cluster_ip and not s.status.cluster_ip]
    history = [world]
    for _ in range(6):
        done = reconcile(world, memo)
        memo.advance()
        assert done == reconcile(world)
        world = _changed(order, order.choice([world, done, done]), done, pending)
        history += [done, world]
        if order.random() < 0.2:  # an older world comes back, and parts of one
            older = order.choice(history)
            kind = order.choice([YusurService.KIND, *CHILDREN])
            world = order.choice([older, world.with_tables({kind: done.table(kind)})])


def _changed(order: Random, world: Snapshot, done: Snapshot, pending: list[YusurService]) -> Snapshot:
    """One random change of the kind that users, probes and accidents make."""
    step = order.randrange(6)
    if step == 0 and pending:
        return world.with_objects([pending.pop()])
    services = [key for key in world.objects if key.kind == YusurService.KIND]
    if step == 1 and services:
        return world.changed([], [order.choice(services)])
    probes = list(world.all(NetworkProbe))
    if step == 2 and probes:
        chosen = order.choice(probes)
        status = NetworkProbeStatus(healthy=order.choice((True, False, None)))
        return world.with_objects([chosen.model_copy(update={"status": status})])
    free = [w.id for w in workloads(world) if w.kind in ("Pod", "VirtualMachine")]
    if step == 3 and free:
        return world.changed([], [order.choice(free)])
    children = [key for key in world.objects if key.kind in CHILDREN]
    if step == 4 and children:
        return world.changed([], order.sample(children, order.randint(1, len(children))))
    return Snapshot.of(done.objects.values()) if step == 5 else world


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9)), max_size=14))
def test_a_memo_never_changes_the_result_where_addresses_are_scarce(steps: list[tuple[int, int]]) -> None:
    """Fourteen ClusterIPs and eight EIPs for up to ten Services: nearly every choice meets another."""
    memo = Memo()
    world = done = Snapshot.of(
        [_cluster("10.96.0.0/28"), vpc(), subnet(), pod("web1"), gateway("eipgw", "200.0.0.0/29")]
    )
    for action, number in steps:
        name = f"s{number}"
        if action <= 2:
            kind = "LoadBalancer" if number < 6 else "ClusterIP"
            world = world.with_objects([service(name, type=kind)])
        elif action == 3:
            world = world.changed([], [ObjectId(YusurService.KIND, "default", name)])
        elif action == 4:
            world = done
        elif action == 5:
            world = world.with_tables({kind: done.table(kind) for kind in CHILDREN})
        elif action == 6:
            world = world.with_objects([_cluster(("10.96.0.0/28", "10.97.0.0/28")[number % 2])])
        elif all(s.status.cluster_ip != f"10.96.0.{number + 1}" for s in done.all(YusurService)):
            told = Service(metadata=meta(name), spec=ServiceSpec(clusterIP=f"10.96.0.{number + 1}"))
            world = world.with_objects([service(name), told])
        done = reconcile(world, memo)
        memo.advance()
        assert done == reconcile(world)


def test_a_memo_believes_the_services_that_come_back() -> None:
    """YusurServices without any record of their addresses, beside the Service objects that were made for them."""
    memo = Memo()
    world = Snapshot.of([_cluster("10.96.0.0/28"), vpc(), subnet(), *(service(f"s{i:02}") for i in range(2, 13))])
    made = reconcile(world, memo)
    world = world.with_tables({kind: made.table(kind) for kind in CHILDREN})
    for newcomer in ("s00", "s01", "s13"):
        world = world.with_objects([service(newcomer)])
        done = reconcile(world, memo)
        assert done == reconcile(world)
        assert contains(addresses(done), addresses(made))


def _cluster(service_cidr: str) -> ClusterNetwork:
    return ClusterNetwork(metadata=Metadata(name="cluster"), spec=ClusterNetworkSpec(service_cidr=service_cidr))


def test_a_memo_makes_nothing_twice() -> None:
    """What a new Service does not touch is the very same object as before, not an equal one."""
    memo = Memo()
    objects = generate(services=20, backends=5, plain=True)
    first = reconcile(Snapshot.of(objects), memo)
    newcomer = next(first.all(YusurService))
    newcomer = newcomer.model_copy(
        update={"metadata": newcomer.metadata.model_copy(update={"name": "zz"}), "status": YusurServiceStatus()}
    )
    second = reconcile(first.with_objects([newcomer]), memo)
    assert all(second.objects[key] is item for key, item in first.objects.items())
    assert len(second.objects) == len(first.objects) + 3 + 5
    assert second.table("Pod") is first.table("Pod")
    assert reconcile(second, memo).table("NetworkProbe") is second.table("NetworkProbe")
