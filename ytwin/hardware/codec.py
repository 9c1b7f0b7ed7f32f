"""YAML to profiles and back. `decode_profiles({file: dump_profiles([p])})` gives the same profile.

Every problem of every file is reported at once, each with file, line, path and what to do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.core.units import UNITS, parts, quantity
from ytwin.hardware.forms import FieldForm, forms
from ytwin.hardware.model import HardwareProfile, Kind, Mark, Part, Quantity
from ytwin.hardware.values import in_unit
from ytwin.resources.codec import dump_documents
from ytwin.resources.fields import nearest
from ytwin.resources.yamltree import Path, YamlList, YamlMap, line_of, path_text, read_yaml, shorten

API_VERSION = "iaas.yusur.io/v1"
KIND = "HardwareProfile"
_OUTER = ("apiVersion", "kind", "metadata", "spec")
_NUMBER = ("value", "kind", "source", "conditions", "interval")
_EXAMPLE = "write `{value: 12.5 ns, kind: datasheet, source: who says so}`"
_NAME: Path = ("metadata", "name")
_EXTENDS: Path = ("spec", "extends")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DEEPEST = 50
"""Profiles that one may build on, one by one."""
_NONE: Mapping[str, HardwareProfile] = MappingProxyType({})
_BAD: Any = object()
"""Stands for a value after its problem was recorded."""


def decode_profiles(
    files: Mapping[str, str], known: Mapping[str, HardwareProfile] = _NONE
) -> dict[str, HardwareProfile]:
    """File name -> text, to profiles by name, in the order of the files; a file may hold several documents.

    `spec.extends: NAME` takes over what a profile of these files, or else of `known`, says, number by number, wherever the
    document says nothing itself, but for models and description; rules of `offload` are added to those taken over, or stand in
    place of the one with their code. A profile may extend the known one whose name it takes.
    InvalidInput carries all problems.
    """
    problems: list[Problem] = []
    documents: dict[str, _Document] = {}
    for file in sorted(files):
        reading = read_yaml(file, files[file])
        problems += reading.problems
        if reading.whole and not reading.documents:
            hint = f"write apiVersion: {API_VERSION}, kind: {KIND}, metadata and spec"
            problems.append(Problem(Location(file), "empty", "there is no profile in this file", hint))
        for line, tree in reading.documents:
            document = _Document(file, tree, line, problems)
            name = document.name()
            if name in documents:
                message = f"the profile {shorten(name)} is written twice, first at {documents[name].at(_NAME)}"
                document.problem(_NAME, "duplicate-profile", message, "give one of them another name")
                name = f"{name} again at {file}:{line}"
            documents[name or f" at {file}:{line}"] = document
    reader = _Reader(documents, known)
    profiles = {name: reader.profile(name) for name in documents}
    if problems:
        raise InvalidInput(problems)
    return {name: profile for name, profile in profiles.items() if profile is not None}


class _Reader:
    """Profiles of documents that build on each other."""

    def __init__(self, documents: Mapping[str, _Document], known: Mapping[str, HardwareProfile]) -> None:
        self.documents, self.known = documents, known
        self.done: dict[str, HardwareProfile | None] = {}
        self.open: list[str] = []

    def profile(self, name: str) -> HardwareProfile | None:
        """The profile of a document; None if it, or one that it builds on, has problems."""
        if name not in self.done:
            self.open.append(name)
            self.done[name] = self._read(self.documents[name])
            self.open.pop()
        return self.done[name]

    def _read(self, document: _Document) -> HardwareProfile | None:
        wanted, base = document.extends(), None
        if wanted is not None:
            if wanted in self.open and not (wanted == self.open[-1] and wanted in self.known):
                message = f"{' extends '.join([*self.open[self.open.index(wanted) :], wanted])}"
                document.problem(_EXTENDS, "circle", message, "one of them must say everything itself")
                return None
            if len(self.open) > _DEEPEST:
                message = f"it builds on more than {_DEEPEST} profiles, one on the other"
                document.problem(_EXTENDS, "depth", message, "extend one that says more itself")
                return None
            here = wanted in self.documents and wanted != self.open[-1]
            base = self.profile(wanted) if here else self.known.get(wanted)
            if base is None and not here:
                names = sorted({*self.documents, *self.known})
                meant = nearest(wanted, names)
                hint = f"did you mean {meant}?" if meant else f"there are {', '.join(names)}"
                document.problem(_EXTENDS, "unknown-profile", f"there is no profile {shorten(wanted)}", hint)
                return None
        if base is not None and base.name != document.name():
            # Which cards it is for, and in words, is nobody else's.
            base = base.model_copy(update={"models": (), "description": ""})
        return document.profile(base, partial=wanted is not None and base is None)


@dataclass(frozen=True, slots=True)
class _Document:
    """One YAML document while it is read; problems go to the list that all documents share."""

    file: str
    tree: Any
    line: int
    problems: list[Problem]

    def at(self, path: Path) -> Location:
        return Location(self.file, line_of(self.tree, path, self.line), path_text(path))

    def problem(self, path: Path, code: str, message: str, hint: str) -> Any:
        """Record it; the answer stands for the value that is missing now."""
        self.problems.append(Problem(self.at(path), code, message, hint))
        return _BAD

    def name(self) -> str:
        """What the document calls itself; "" if it does not."""
        metadata = self.tree.get("metadata") if isinstance(self.tree, YamlMap) else None
        name = metadata.get("name") if isinstance(metadata, YamlMap) else None
        return name if isinstance(name, str) else ""

    def extends(self) -> str | None:
        """The name of the profile that this one builds on."""
        spec = self.tree.get("spec") if isinstance(self.tree, YamlMap) else None
        said = spec.get("extends") if isinstance(spec, YamlMap) else None
        return None if said is None else str(said)

    def profile(self, base: HardwareProfile | None, partial: bool) -> HardwareProfile | None:
        """The profile, None if it has problems. `partial`: what is missing here may stand in a base that could not be read."""
        tree = self.tree
        if not isinstance(tree, YamlMap):
            self.problem((), "type", f"this is {_shape(tree)}, not a profile", f"write kind: {KIND} and its spec")
            return None
        before = len(self.problems)
        self._known((), tree, _OUTER)
        for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
            if tree.get(key) != wanted:
                said = _shape(tree[key]) if key in tree else "missing"
                self.problem((key,), "kind", f"{key} is {said}", f"write {key}: {wanted}")
        metadata = tree.get("metadata")
        if isinstance(metadata, YamlMap):
            self._known(("metadata",), metadata, ("name",))
        if not self.name():
            self.problem(_NAME, "missing", "the profile has no name", "write metadata: {name: my-card}")
        elif not _WORD.fullmatch(self.name()):
            hint = "use letters, digits, -, . and _, and begin with a letter or digit"
            self.problem(_NAME, "name", f"{_shape(self.name())} is no name of a profile", hint)
        spec = self._part(HardwareProfile, tree.get("spec"), ("spec",), base, partial)
        if len(self.problems) > before or spec is _BAD:
            return None
        self._together(spec)
        return spec if len(self.problems) == before else None

    def _known(self, path: Path, tree: YamlMap, names: Iterable[str]) -> None:
        """A problem for every field that is none of these."""
        names = tuple(names)
        for key in tree:
            if key not in names:
                meant = nearest(key, names)
                hint = f"did you mean {meant}?" if meant else f"known fields: {', '.join(names)}"
                owner = path_text(path) or KIND
                self.problem((*path, key), "unknown-field", f"{owner} has no field {shorten(key)}", hint)

    def _part(self, part: type[Part], tree: Any, path: Path, base: Part | None, partial: bool = False) -> Any:
        """A Part from a mapping, and from `base` where the mapping is silent."""
        if not isinstance(tree, YamlMap):
            if tree is None:
                return self.problem(path, "missing", f"{path_text(path)} is missing", _form(part))
            return self.problem(path, "type", f"this is {_shape(tree)}, not a mapping", _form(part))
        outermost = part is HardwareProfile
        fields = {alias: form for alias, form in forms(part).items() if not (outermost and alias == "name")}
        self._known(path, tree, (*(("extends",) if outermost else ()), *fields))
        values: dict[str, Any] = {"name": self.name()} if outermost else {}
        for alias, form in fields.items():
            old = getattr(base, form.name) if base is not None else None
            if tree.get(alias) is not None:
                inner = old if isinstance(old, Part) else None
                values[form.name] = self._value(form, tree[alias], (*path, alias), inner, partial)
            elif base is not None and alias not in tree:
                values[form.name] = old
            elif form.required:
                values[form.name] = _BAD if partial else self._absent(form, path, alias in tree)
        if any(value is _BAD for value in values.values()):
            return _BAD
        read = part.model_validate(values)
        return (
            _with_rules(base, read) if isinstance(read, HardwareProfile) and tree.get("offload") is not None else read
        )

    def _absent(self, form: FieldForm, path: Path, empty: bool) -> Any:
        hint = _EXAMPLE if form.mark else _form(form.part) if form.part else f"add {form.alias} to {path_text(path)}"
        message = f"{form.alias} is {'empty' if empty else 'missing'}"
        return self.problem((*path, form.alias), "missing", message, hint)

    def _value(self, form: FieldForm, tree: Any, path: Path, base: Part | None, partial: bool) -> Any:
        if form.mark is not None:
            return self._number(form.mark, tree, path)
        if form.part is None:
            return self._plain(form, tree, path)
        if not form.many:
            return self._part(form.part, tree, path, base, partial)
        if not isinstance(tree, YamlList):
            return self.problem(path, "type", f"this is {_shape(tree)}, not a list", "write lines that start with -")
        items = [self._part(form.part, item, (*path, i), None) for i, item in enumerate(tree)]
        return _BAD if any(item is _BAD for item in items) else tuple(items)

    def _plain(self, form: FieldForm, tree: Any, path: Path) -> Any:
        """A word, a text, a list of texts, ...: strictly what the model says."""
        try:
            return _adapter(form.annotation).validate_json(json.dumps(tree), strict=True)
        except ValidationError as error:
            said = error.errors(include_url=False)[0]
            inner = tuple(part for part in said["loc"] if isinstance(part, int))
            value = tree[inner[0]] if inner and isinstance(tree, YamlList) else tree
            expected = said.get("ctx", {}).get("expected")
            if said["type"] == "string_type":
                hint = "write text; quote it if it looks like something else"
                return self.problem((*path, *inner), "type", f"this is {_shape(value)}, not text", hint)
            if not expected:
                return self.problem((*path, *inner), "value", f"{_shape(value)}: {said['msg']}", "correct the value")
            meant = nearest(str(value), str(expected).replace("'", "").replace(" or ", ", ").split(", "))
            hint = f"did you mean {meant}?" if meant else "write one of these"
            return self.problem((*path, *inner), "value", f"{_shape(value)} is not {expected}", hint)

    def _number(self, mark: Mark, tree: Any, path: Path) -> Any:
        """A Quantity from `{value, kind, source, conditions, interval}`."""
        if not isinstance(tree, YamlMap):
            return self.problem(path, "type", f"this is {_shape(tree)}: a number here says where it is from", _EXAMPLE)
        self._known(path, tree, _NUMBER)
        value = self._amount(mark, tree.get("value"), (*path, "value"))
        if mark.positive and value == 0:
            hint = "write how much there is, or leave out the part of the hardware that is not there"
            value = self.problem((*path, "value"), "range", f"{path[-1]} cannot be 0", hint)
        kind, source = self._kind(tree, path), self._text(tree, path, "source", required=True)
        conditions = self._text(tree, path, "conditions", required=False)
        low, high = self._interval(mark, tree, path, value)
        if any(found is _BAD for found in (value, kind, source, conditions, low, high)):
            return _BAD
        text = " ".join(parts(str(tree["value"])))
        return Quantity(
            value=value, dimension=mark.dimension, kind=kind, source=source, conditions=conditions, low=low, high=high, text=text
        )  # fmt: skip

    def _amount(self, mark: Mark, said: Any, path: Path) -> Any:
        units = mark.units or tuple(UNITS[mark.dimension])
        hint = f"write a number and {'one of ' if len(units) > 1 else ''}{', '.join(units)}, such as `3 {units[0]}`"
        if said is None or isinstance(said, bool | YamlMap | YamlList):
            message = "is missing" if said is None else f"is {_shape(said)}"
            return self.problem(path, "missing" if said is None else "quantity", f"the number {message}", hint)
        try:
            amount = quantity(said, mark.dimension)
        except InvalidInput as error:
            problem = error.problems[0]
            return self.problem(
                path, problem.code, shorten(problem.message, 200), problem.hint if problem.code == "range" else hint
            )
        unit = parts(str(said))[1]
        if unit not in units:
            return self.problem(path, "unit", f"{unit!r} is not what is counted here", hint)
        if mark.whole and not float(amount).is_integer():
            return self.problem(
                path, "range", f"{shorten(str(said))!r}: there are only whole {unit}", "write a whole number"
            )
        return amount

    def _kind(self, tree: YamlMap, path: Path) -> Any:
        kinds, said = [kind.value for kind in Kind], tree.get("kind")
        if isinstance(said, str) and said in kinds:
            return Kind(said)
        meant = nearest(said, kinds) if isinstance(said, str) else ""
        hint = f"did you mean {meant}?" if meant else f"write one of {', '.join(kinds)}"
        message = "nothing says where the number is from" if said is None else f"{_shape(said)} is no kind of number"
        return self.problem((*path, "kind"), "kind", message, hint)

    def _text(self, tree: YamlMap, path: Path, key: str, required: bool) -> Any:
        said = tree.get(key)
        if said is None and not required:
            return ""
        if isinstance(said, str) and (said.strip() or not required):
            return said.strip()
        if said is None or said == "" or isinstance(said, str):
            hint = "name the page, commit, figure or measurement; for an assumed number the reasoning"
            return self.problem((*path, key), "source", f"the number has no {key}", hint)
        return self.problem(
            (*path, key), "type", f"this is {_shape(said)}, not text", "write text; quote it if it looks like a number"
        )

    def _interval(self, mark: Mark, tree: YamlMap, path: Path, value: Any) -> tuple[Any, Any]:
        said, here = tree.get("interval"), (*path, "interval")
        if said is None:
            return value, value
        if not isinstance(said, YamlList) or len(said) != 2:
            hint = "write `interval: [10 ns, 20 ns]`: in it the truth is believed to lie"
            return self.problem(here, "interval", f"this is {_shape(said)}, not two numbers", hint), _BAD
        low, high = (self._amount(mark, item, (*here, index)) for index, item in enumerate(said))
        if low is not _BAD and high is not _BAD and value is not _BAD and not low <= value <= high:
            message = f"{said[0]} to {said[1]} does not contain {tree['value']}"
            return self.problem(
                here, "interval", message, "the lower end comes first, and the value lies between"
            ), _BAD
        return low, high

    def _said(self, path: Path, other: Path) -> Path:
        """The one of two places that this document itself speaks of, not what it extends."""
        tree = self.tree
        for part in map(str, path):
            if not isinstance(tree, YamlMap) or part not in tree:
                return other
            tree = tree[part]
        return path

    def _together(self, profile: HardwareProfile) -> None:
        """What the parts of a profile must be to each other."""
        wrap, eswitch = profile.encapsulation, profile.eswitch
        for name in ("overhead", "header"):
            number: Quantity = getattr(wrap, name)
            if number.value >= wrap.underlay_mtu.value:
                message = f"{number} leave nothing of an MTU of {wrap.underlay_mtu}"
                self.problem(("spec", "encapsulation", name), "range", message, "write fewer bytes")
        host = profile.host
        if host.network_latency.value > host.latency.value:
            where = self._said(("spec", "host", "networkLatency"), ("spec", "host", "latency"))
            message = f"cards and wire take {host.network_latency}, and the path that they are part of {host.latency}"
            self.problem(where, "range", message, "write networkLatency for the part, latency for all of it")
        if eswitch is not None and profile.card == "none":
            hint = "write card: SmartNIC or DPU, or leave the eswitch out"
            where = self._said(("spec", "eswitch"), ("spec", "card"))
            self.problem(where, "contradiction", "a node without a card has no eSwitch", hint)
        if profile.slow_path.runs_on == "card" and profile.card != "DPU":
            hint = "write runsOn: host; only a DPU has cores of its own"
            where = self._said(("spec", "slowPath", "runsOn"), ("spec", "card"))
            self.problem(where, "contradiction", f"runsOn is card, and card is {profile.card}", hint)
        points = [point.entries.value for point in eswitch.crowding] if eswitch is not None else []
        for index in range(1, len(points)):
            if points[index] <= points[index - 1]:
                path = ("spec", "eswitch", "crowding", index, "entries")
                self.problem(path, "order", "no more entries than the point before", "sort the points by entries")


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _form(part: type[Part] | None) -> str:
    """What to write for a part."""
    return f"write a mapping with {', '.join(forms(part))}" if part is not None else ""


def _shape(value: Any) -> str:
    if isinstance(value, YamlMap):
        return "a mapping"
    if isinstance(value, YamlList):
        return f"a list of {len(value)}"
    if value is None:
        return "empty"
    return f'"{shorten(value)}"' if isinstance(value, str) else shorten(str(value).lower())


# --- from profiles to text ---------------------------------------------------------------------------------------------------


def to_dict(profile: HardwareProfile) -> dict[str, Any]:
    """A profile as a document: apiVersion, kind, metadata, spec; what has its default is left out."""
    spec = _to_plain(profile)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": spec.pop("name")}, "spec": spec}


def _to_plain(value: Any) -> Any:
    if isinstance(value, Quantity):
        return _number_to_plain(value)
    if isinstance(value, Part):
        fields = ((form, getattr(value, form.name)) for form in forms(type(value)).values())
        return {form.alias: _to_plain(item) for form, item in fields if form.required or item != form.default}
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def _number_to_plain(number: Quantity) -> dict[str, Any]:
    result: dict[str, Any] = {"value": number.text, "kind": number.kind.value, "source": number.source}
    if number.conditions:
        result["conditions"] = number.conditions
    if (number.low, number.high) != (number.value, number.value):
        unit = parts(number.text)[1]
        result["interval"] = [in_unit(end, number.dimension, unit) for end in (number.low, number.high)]
    return result


def dump_profiles(profiles: Iterable[HardwareProfile]) -> str:
    """Profiles as one YAML text of several documents, in the order given."""
    return dump_documents(map(to_dict, profiles))


def _with_rules(base: Part | None, profile: HardwareProfile) -> HardwareProfile:
    """The profile's rules after those of its base; a rule with the code of another stands in its place.

    What is said of a node without eSwitch ends where a profile puts one in.
    """
    if not isinstance(base, HardwareProfile) or (base.eswitch is None) != (profile.eswitch is None):
        return profile
    said = {rule.code for rule in profile.offload}
    kept = tuple(rule for rule in base.offload if rule.code not in said)
    return profile.model_copy(update={"offload": kept + profile.offload})
