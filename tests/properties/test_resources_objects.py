"""A Snapshot changed step by step is the same as one made at once, and shares what did not change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ytwin.resources.model import Metadata, Node, Resource, Vpc
from ytwin.resources.objects import ObjectId, id_of
from ytwin.resources.snapshot import Snapshot

resources = st.builds(
    lambda kind, name, label: kind(metadata=Metadata(name=name, labels={"x": label})),
    st.sampled_from((Vpc, Node)),
    st.sampled_from("abcdef"),
    st.sampled_from("12"),
)
ids = st.builds(
    lambda kind, name: ObjectId(kind, "", name), st.sampled_from(("Vpc", "Node")), st.sampled_from("abcdef")
)
many = st.lists(st.integers(0, 400).map(lambda i: Vpc(metadata=Metadata(name=f"v{i}"))), max_size=300)


@given(st.lists(resources), st.lists(st.tuples(st.lists(resources), st.lists(ids))))
def test_changes_are_those_of_a_dict(first: list[Resource], steps: list[tuple[list[Resource], list[ObjectId]]]) -> None:
    snapshot = Snapshot.of(first)
    model = {id_of(r): r for r in first}
    for put, remove in steps:
        snapshot = snapshot.changed(put, remove)
        for key in remove:
            model.pop(key, None)
        model.update((id_of(r), r) for r in put)
        assert snapshot == Snapshot.of(model.values()) == Snapshot(model)
        assert list(snapshot.objects) == sorted(model)
        assert [id_of(r) for r in snapshot.objects.values()] == sorted(model)
        assert len(snapshot.objects) == len(model)
        assert [key for key, _ in snapshot.items(Vpc)] == sorted(k for k in model if k.kind == "Vpc")


@given(many, many)
def test_many_changes_at_once_are_those_of_a_dict(first: list[Resource], put: list[Resource]) -> None:
    remove = [id_of(r) for r in first[::2]]
    later = Snapshot.of(first).changed(put, remove)
    kept = {id_of(r): r for r in first if id_of(r) not in set(remove)}
    assert later == Snapshot.of([*kept.values(), *put])


def _names(snapshot: Snapshot) -> list[str]:
    return [vpc.name for vpc in snapshot.all(Vpc)]


def test_what_does_not_change_is_shared_and_still_known() -> None:
    vpc, node = Vpc(metadata=Metadata(name="v")), Node(metadata=Metadata(name="n"))
    before = Snapshot.of([vpc, node])
    names = before.once(_names, Vpc.KIND)
    after = before.changed([Node(metadata=Metadata(name="m"))])
    assert after.table("Vpc") is before.table("Vpc")
    assert after.once(_names, Vpc.KIND) is names
    assert after.changed([Vpc(metadata=Metadata(name="w"))]).once(_names, Vpc.KIND) == ["v", "w"]
    assert before.changed([vpc], [ObjectId("Node", "", "unknown")]).table("Node") is before.table("Node")
    assert len(before.objects) == 2
