"""Laws of the codec over objects of all kinds, and a short fuzz run."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from frozendict import frozendict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.fuzz.mutate import SEPARATOR, change_tree, corpus
from experiments.fuzz.run import document, outcome
from ytwin.resources.codec import KINDS, decode, dump, parse
from ytwin.resources.fields import KEPT
from ytwin.resources.model import Metadata, Model, Resource
from ytwin.resources.scalars import resolve_plain
from ytwin.resources.snapshot import Snapshot, id_of

# hypothesis says that it cannot honour pydantic's Strict; it has no need to, an int is an int.
pytestmark = pytest.mark.filterwarnings("ignore:Ignoring unsupported:hypothesis.errors.HypothesisWarning")

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12) | st.sampled_from(
    ["yes", "null", "0x1", "1e5", "-", "a\nb", " x ", "<<", "10.0.0.1,fd00::1", "!", "&a", "'", '"', "\t"]
)
NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,6}[a-z0-9])?", fullmatch=True)
SCALARS = TEXTS.filter(lambda text: text != "") | st.integers(-(10**9), 10**9) | st.booleans()
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2).map(tuple) | st.dictionaries(TEXTS, inner, max_size=2).map(frozendict),
)


def metadata_of(namespaced: bool) -> st.SearchStrategy[Metadata]:
    labels = st.dictionaries(TEXTS, TEXTS, max_size=3).map(frozendict)
    namespace = NAMES if namespaced else st.just("")
    return st.builds(Metadata, name=NAMES, namespace=namespace, labels=labels, annotations=labels)


def build(kind: type[Model]) -> st.SearchStrategy[Any]:
    """Any instance of a model, from its type hints; `foreign` only with fields that may be there."""
    overrides: dict[str, st.SearchStrategy[Any]] = {}
    if "foreign" in kind.model_fields:
        overrides["foreign"] = st.dictionaries(st.sampled_from(sorted(KEPT[kind])), TREES, max_size=3).map(frozendict)
    if issubclass(kind, Resource):
        overrides["metadata"] = metadata_of(kind.NAMESPACED)
    return st.builds(kind, **overrides)


def _register() -> None:
    st.register_type_strategy(frozendict, st.dictionaries(TEXTS, TEXTS, max_size=2).map(frozendict))
    st.register_type_strategy(str, TEXTS)
    # For the bounds inside `X | None`, which hypothesis does not see: some number is right for each of them.
    st.register_type_strategy(int, st.sampled_from([1, 2, 5, 64, 80, 600, 1400]))
    st.register_type_strategy(float, st.sampled_from([0.5, 1.0, 25.0, 100.0]))
    waiting = list(Model.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if "foreign" in kind.model_fields:
            st.register_type_strategy(kind, build(kind))


_register()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(sorted(KINDS)).flatmap(lambda name: build(KINDS[name])), max_size=3, unique_by=id_of))
def test_what_is_dumped_reads_as_the_same_objects(resources: list[Resource]) -> None:
    parsed = parse({"dumped.yaml": dump(resources)})
    assert parsed.problems == []
    assert list(parsed.resources.values()) == resources


def test_the_round_trip_meets_every_kind() -> None:
    for kind in KINDS.values():

        @settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(build(kind))
        def one(resource: Resource) -> None:
            assert list(parse({"f": dump([resource])}).resources.values()) == [resource]

        one()


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_documents_and_files_does_not_matter(order: random.Random) -> None:
    documents = list(corpus())
    whole = decode({"a.yaml": SEPARATOR.join(documents)})
    order.shuffle(documents)
    half = order.randrange(len(documents))
    files = {"x.yaml": SEPARATOR.join(documents[:half]), "b.yaml": SEPARATOR.join(documents[half:])}
    again = decode(files)
    assert again == whole
    assert list(again.objects) == list(whole.objects)
    assert Snapshot.of(again.objects.values()) == whole


@given(st.text(alphabet="+-.0123456789_xoeE:infNaytrue~", max_size=12))
def test_a_plain_scalar_always_means_something(text: str) -> None:
    assert isinstance(resolve_plain(text), str | int | float | bool | None)


def test_mutated_documents_are_accepted_or_refused() -> None:
    outcomes = [outcome(2024, index) for index in range(400)]
    bad = [o for o in outcomes if o.verdict not in ("valid", "refused")]
    assert not bad, f"python -m experiments.fuzz --seed 2024 --only {bad[0].index}\n{bad[0].detail}"
    counted = Counter(o.verdict for o in outcomes)
    assert counted["valid"] > 5
    assert len({o.detail for o in outcomes if o.verdict == "refused"}) > 10


def test_a_mutation_replays_by_seed_and_index() -> None:
    assert [document(3, index) for index in range(20)] == [document(3, index) for index in range(20)]
    assert document(3, 1) != document(4, 1)


@pytest.mark.parametrize(
    "text", ["x: !!int ''", "x: !!bool maybe", "x: !!timestamp soon", "x: !!float ''", "x: [", "x: \x07"]
)
def test_texts_that_pyyaml_cannot_load_are_mutated_all_the_same(text: str) -> None:
    for index in range(20):
        assert isinstance(change_tree(random.Random(index), text), str)


def test_a_nan_that_is_only_kept_is_no_difference() -> None:
    assert outcome(1795463113, 781).verdict == "valid"
