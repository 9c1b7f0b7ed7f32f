"""Laws of the profiles' codec: what is written comes back; what is wrong is said with its path and line, never as a traceback."""

from __future__ import annotations

import copy
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from pydantic.alias_generators import to_camel

from ytwin.core.errors import InvalidInput, Problem
from ytwin.core.units import UNITS
from ytwin.hardware import (
    HardwareProfile,
    Kind,
    Quantity,
    decode_profiles,
    dump_profiles,
    numbers,
    shipped,
    with_values,
)
from ytwin.hardware.codec import to_dict
from ytwin.hardware.forms import FieldForm, forms
from ytwin.hardware.model import ESwitch, Mark, Part, SlowPath
from ytwin.hardware.values import in_unit
from ytwin.resources.codec import dump_documents

FILE = "cards.yaml"
TEXT = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=12).filter(
    lambda text: text == text.strip()
)
WHOLE = st.integers(0, 10**6)
AMOUNT = WHOLE | st.floats(1e-12, 1e15)


@st.composite
def quantities(draw: st.DrawFn, mark: Mark) -> Quantity:
    unit = draw(st.sampled_from(mark.units or tuple(UNITS[mark.dimension])))
    ends = sorted(draw(WHOLE if mark.whole else AMOUNT) * UNITS[mark.dimension][unit] for _ in range(3))
    if mark.positive:
        ends[1:] = sorted(end or 1.0 for end in ends[1:])
    low, value, high = map(float, ends)
    if draw(st.booleans()):
        low = high = value
    return Quantity(
        value=value,
        dimension=mark.dimension,
        kind=draw(st.sampled_from(Kind)),
        source=draw(TEXT),
        conditions=draw(TEXT | st.just("")),
        low=low,
        high=high,
        text=in_unit(value, mark.dimension, unit),
    )


def values(form: FieldForm) -> st.SearchStrategy[Any]:
    if form.mark is not None:
        return quantities(form.mark)
    if form.part is not None and form.many:
        return st.lists(parts(form.part), max_size=2).map(tuple)
    if form.part is not None:
        return parts(form.part) if form.required else st.none() | parts(form.part)
    if form.name == "name":
        return st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,5}", fullmatch=True)
    if form.name in ("description", "driver"):
        return TEXT
    if form.name == "models":
        return st.lists(TEXT | st.just(""), max_size=3).map(tuple)
    return TEXT if form.annotation is str else st.from_type(form.annotation)


@st.composite
def parts(draw: st.DrawFn, part: type[Part]) -> Part:
    # The conditions of offload rules belong to another room; `always` holds for each of them.
    given_ = {"when": {"always": True}} if "when" in part.model_fields else {}
    fields = [form for form in forms(part).values() if form.name not in given_]
    return part.model_validate({form.name: draw(values(form)) for form in fields} | given_)


@st.composite
def profiles(draw: st.DrawFn) -> HardwareProfile:
    profile: Any = draw(parts(HardwareProfile))
    wrap = profile.encapsulation
    sized = sorted((wrap.underlay_mtu, wrap.overhead, wrap.header), key=lambda number: -number.value)
    mtu = sized[0] if sized[0].value > max(sized[1].value, sized[2].value) else wider(sized[0])
    wrap = wrap.model_copy(update={"underlay_mtu": mtu, "overhead": sized[1], "header": sized[2]})
    eswitch = profile.eswitch if profile.card != "none" else None
    if eswitch is not None:
        points = {point.entries.value: point for point in eswitch.crowding}
        eswitch = eswitch.model_copy(update={"crowding": tuple(points[key] for key in sorted(points))})
    slow = profile.slow_path.model_copy(update={} if profile.card == "DPU" else {"runs_on": "host"})
    part, whole = sorted((profile.host.network_latency, profile.host.latency), key=lambda number: number.value)
    host = profile.host.model_copy(update={"network_latency": part, "latency": whole})
    fitting: HardwareProfile = profile.model_copy(
        update={"encapsulation": wrap, "eswitch": eswitch, "slow_path": slow, "host": host}
    )
    return fitting


def wider(number: Quantity) -> Quantity:
    value = 2 * number.value + 1
    return number.model_copy(update={"value": value, "low": value, "high": value, "text": in_unit(value, "size")})


@settings(max_examples=12, deadline=None)
@given(st.lists(profiles(), min_size=1, max_size=3, unique_by=lambda p: p.name))
def test_what_is_written_comes_back(written: list[HardwareProfile]) -> None:
    text = dump_profiles(written)
    assert decode_profiles({FILE: text}) == {profile.name: profile for profile in written}


@settings(deadline=None)
@given(st.sampled_from(sorted(UNITS)), AMOUNT, st.data())
def test_numbers_are_written_exactly(dimension: str, amount: float, data: st.DataObject) -> None:
    unit = data.draw(st.sampled_from(sorted(UNITS[dimension])))
    text = in_unit(amount, dimension, unit)
    number, written = text.split()
    assert float(number) * UNITS[dimension][written] == amount


@settings(deadline=None)
@given(st.sampled_from(sorted(shipped())), st.data())
def test_other_values_survive_writing(name: str, data: st.DataObject) -> None:
    profile = shipped()[name]
    path = data.draw(
        st.sampled_from(sorted(numbers(profile)).copy()).filter(
            lambda p: not p.startswith(("encapsulation", "host.latency", "host.network_latency"))
        )
    )
    if "entries" in path:
        return
    whole = numbers(profile)[path].text.endswith((" cores", " ports", " threads"))
    value = data.draw(st.integers(1, 10**6).map(float) if whole else st.floats(1e-3, 1e12))
    changed = with_values(
        profile, {path: value}, kind=Kind.CALIBRATED, source="a fit", intervals={path: (0.0, 2 * value)}
    )
    assert numbers(changed)[path].value == value
    assert {p: q for p, q in numbers(changed).items() if p != path} == {
        p: q for p, q in numbers(profile).items() if p != path
    }
    assert decode_profiles({FILE: dump_profiles([changed])}) == {name: changed}


# --- one thing wrong ---------------------------------------------------------------------------------------------------------


OPTIONAL = {
    to_camel(name)
    for part in (ESwitch, SlowPath)
    for name, known in part.model_fields.items()
    if not known.is_required()
}


def number_paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the numbers stand in a document."""
    if isinstance(tree, dict) and {"value", "kind", "source"} <= tree.keys():
        return [path]
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [found for key, item in below for found in number_paths(item, (*path, key))]


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def in_words(path: tuple[Any, ...]) -> str:
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def without_unit(number: dict[str, Any]) -> None:
    number["value"] = number["value"].split()[0]


def as_number(number: dict[str, Any]) -> None:
    number["value"] = 12.5


def negative(number: dict[str, Any]) -> None:
    number["value"] = f"-3 {number['value'].split()[1]}"


def other_dimension(number: dict[str, Any]) -> None:
    number["value"] = "3 GHz" if "Hz" not in number["value"] else "3 ns"


def no_unit_at_all(number: dict[str, Any]) -> None:
    number["value"] = "3 furlongs"


def no_number(number: dict[str, Any]) -> None:
    number["value"] = "fast"


def nothing(number: dict[str, Any]) -> None:
    number["value"] = None


def odd_kind(number: dict[str, Any]) -> None:
    number["kind"] = "guessed"


def no_kind(number: dict[str, Any]) -> None:
    del number["kind"]


def no_source(number: dict[str, Any]) -> None:
    del number["source"]


def blank_source(number: dict[str, Any]) -> None:
    number["source"] = "  "


def number_as_source(number: dict[str, Any]) -> None:
    number["source"] = 2021


def interval_elsewhere(number: dict[str, Any]) -> None:
    amount, unit = number["value"].split()
    number["interval"] = [f"{float(amount) + 1} {unit}", f"{float(amount) + 2} {unit}"]


def interval_backwards(number: dict[str, Any]) -> None:
    amount, unit = number["value"].split()
    number["interval"] = [f"{float(amount) + 1} {unit}", f"0 {unit}"]


def half_an_interval(number: dict[str, Any]) -> None:
    number["interval"] = [number["value"]]


def misspelled(number: dict[str, Any]) -> None:
    number["conditons"] = "idle"


MUTATIONS = {
    without_unit: ("value", "unit"),
    as_number: ("value", "unit"),
    negative: ("value", "range"),
    other_dimension: ("value", "dimension"),
    no_unit_at_all: ("value", "unit"),
    no_number: ("value", "quantity"),
    nothing: ("value", "missing"),
    odd_kind: ("kind", "kind"),
    no_kind: ("kind", "kind"),
    no_source: ("source", "source"),
    blank_source: ("source", "source"),
    number_as_source: ("source", "type"),
    interval_elsewhere: ("interval", "interval"),
    interval_backwards: ("interval", "interval"),
    half_an_interval: ("interval", "interval"),
    misspelled: ("conditons", "unknown-field"),
}

DOCUMENTS = {name: to_dict(profile) for name, profile in shipped().items()}


def problems_of(document: Any) -> tuple[list[Problem], list[str]]:
    """What the codec says of a document, and the document's lines."""
    text = dump_documents([document])
    with pytest.raises(InvalidInput) as caught:
        decode_profiles({FILE: text})
    return list(caught.value.problems), text.splitlines()


@settings(deadline=None)
@given(st.sampled_from(sorted(DOCUMENTS)), st.sampled_from(list(MUTATIONS)), st.data())
def test_each_mutation_is_named_with_path_and_line(name: str, mutate: Any, data: st.DataObject) -> None:
    document = copy.deepcopy(DOCUMENTS[name])
    path = data.draw(st.sampled_from(number_paths(document)))
    mutate(at(document, path))
    problems, lines = problems_of(document)
    field, code = MUTATIONS[mutate]
    assert [(p.where.path, p.code) for p in problems] == [(f"{in_words(path)}.{field}", code)]
    (problem,) = problems
    assert problem.where.file == FILE
    assert problem.hint
    # The line is the field's own; of one that is not there, its owner's: the key before it, or the dash of its item.
    owner = next(key for key in reversed(path) if isinstance(key, str))
    present = field in at(document, path)
    assert (field if present else owner) in lines[problem.where.line - 1]


@settings(deadline=None)
@given(st.sampled_from(sorted(DOCUMENTS)), st.data())
def test_a_renamed_field_is_unknown_and_its_own_missing(name: str, data: st.DataObject) -> None:
    document = copy.deepcopy(DOCUMENTS[name])
    *owner, key = data.draw(st.sampled_from([p for p in number_paths(document) if isinstance(p[-1], str)]))
    part = at(document, tuple(owner))
    part[f"{key}x"] = part.pop(key)
    problems, lines = problems_of(document)
    said = {p.where.path: p for p in problems}
    unknown, missing = said.pop(in_words((*owner, f"{key}x"))), said.pop(in_words((*owner, key)), None)
    assert not said
    assert unknown.code == "unknown-field"
    assert (None if missing is None else missing.code) == (None if key in OPTIONAL else "missing")
    assert f"{key}x" in lines[unknown.where.line - 1]
    assert unknown.hint.startswith("did you mean")


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.sampled_from(["3 ns", "-1 B", "10 cores", "none"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(DOCUMENTS)), ANYTHING, st.data())
def test_anything_anywhere_is_an_answer_or_a_problem(name: str, thing: Any, data: st.DataObject) -> None:
    document: Any = copy.deepcopy(DOCUMENTS[name])
    path: tuple[Any, ...] = ()
    inside = document
    while isinstance(inside, dict | list) and inside and data.draw(st.integers(0, 3)):
        key = data.draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
        path, inside = (*path, key), inside[key]
    if path:
        at(document, path[:-1])[path[-1]] = thing
    else:
        document = thing
    problems: tuple[Problem, ...] = ()
    try:
        decoded = decode_profiles({FILE: dump_documents([document])})
    except InvalidInput as error:
        decoded, problems = {}, error.problems
    assert bool(decoded) != bool(problems)
    assert all(p.message and p.hint and p.where.file == FILE for p in problems)
    if decoded:
        assert decode_profiles({FILE: dump_profiles(decoded.values())}) == decoded


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_an_answer_or_a_problem(text: str) -> None:
    with pytest.raises(InvalidInput):
        decode_profiles({FILE: text})
