"""YAML (and JSON) to a valid Snapshot and back. `decode(dump(objects))` gives the same objects.

Every problem of every file is reported at once: what the text is (`yamltree`), which fields it has (`fields`), what their
values are (`model`), and what the objects mean together (`validate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.resources.fields import KEPT, fields_of, form_of, is_accepted, known_names, nearest
from ytwin.resources.ignored import is_ignored
from ytwin.resources.model import Model, Resource
from ytwin.resources.scalars import resolve_plain
from ytwin.resources.snapshot import ObjectId, Snapshot
from ytwin.resources.validate import CONSEQUENCES, Locator, validate
from ytwin.resources.yamltree import Path, YamlList, YamlMap, line_of, path_text, read_yaml, shorten

KINDS: dict[str, type[Resource]] = {kind.KIND: kind for kind in Resource.__subclasses__()}
"""Every kind that the twin reads."""

DEFAULT_NAMESPACE = "default"


@dataclass
class Parsed:
    """Objects by themselves, before anyone asks whether they fit together."""

    resources: dict[ObjectId, Resource] = field(default_factory=dict)
    """In the order of the input."""
    where: dict[ObjectId, Locator] = field(default_factory=dict)
    """Also of objects that were refused, as far as their identity could be read."""
    ignored: list[ObjectId] = field(default_factory=list)
    """Objects of kinds that are known and not read."""
    problems: list[Problem] = field(default_factory=list)
    whole: bool = True
    """False: objects of the input may be missing here, so a reference to nothing proves nothing."""


def decode(files: Mapping[str, str]) -> Snapshot:
    """File name -> text, to a Snapshot whose objects are valid one by one and together.

    Raises InvalidInput with all problems. A file may hold several documents, Lists, or `kubectl get -o yaml` output.
    """
    parsed = parse(files)
    snapshot = Snapshot.of(parsed.resources.values(), parsed.ignored)
    problems = parsed.problems + validate(snapshot, parsed.where)
    if not parsed.whole:
        problems = [problem for problem in problems if problem.code not in CONSEQUENCES]
    if problems:
        raise InvalidInput(problems)
    return snapshot


def parse(files: Mapping[str, str]) -> Parsed:
    """Every object of the files that is valid by itself, and the problems of the others."""
    parsed = Parsed()
    for file in sorted(files):
        reading = read_yaml(file, files[file])
        parsed.problems += reading.problems
        parsed.whole = parsed.whole and reading.whole
        for line, tree in reading.documents:
            for item in _objects(_Spot(file, tree, line, (), tree), parsed, "", ""):
                _read_object(item, parsed)
    return parsed


def to_dict(resource: Resource) -> dict[str, Any]:
    """A resource as Kubernetes shows it: apiVersion, kind, metadata, spec; defaults are left out."""
    result: dict[str, Any] = {"apiVersion": resource.API_VERSIONS[0], "kind": resource.KIND}
    result.update(_plain(resource))
    return result


def dump(resources: Iterable[Resource]) -> str:
    """Resources as one YAML text of several documents, in the order given."""
    return dump_documents(map(to_dict, resources))


def dump_documents(trees: Iterable[dict[str, Any]]) -> str:
    """Plain trees as one YAML text of several documents that `yamltree.read_yaml` reads back as the same trees."""
    return yaml.dump_all(trees, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


# --- from trees to objects -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Spot:
    """A tree inside a document; it doubles as the Locator of the object in it."""

    file: str
    tree: Any
    line: int
    prefix: Path
    """From the document's root, e.g. ("items", 3)."""
    root: Any

    def at(self, path: Path) -> Location:
        full = (*self.prefix, *path)
        return Location(self.file, line_of(self.root, full, self.line), path_text(full))

    def problem(self, path: Path, code: str, message: str, hint: str) -> Problem:
        return Problem(self.at(path), code, message, hint)


def _objects(spot: _Spot, parsed: Parsed, kind: str, version: str) -> Iterator[_Spot]:
    """The objects in a document: itself, or the items of a List. `kind` and `version` are what a typed list says of its items."""
    tree = spot.tree
    if not isinstance(tree, YamlMap):
        parsed.whole = False
        message = f"this is {_shape(tree)}, not an object"
        parsed.problems.append(
            spot.problem((), "not-an-object", message, "an object has apiVersion, kind and metadata")
        )
        return
    name = tree.get("kind")
    if not isinstance(name, str) or not name.endswith("List") or "items" not in tree:
        if kind and "kind" not in tree:
            tree["kind"], tree.lines["kind"] = kind, spot.line
        if version and "apiVersion" not in tree:
            tree["apiVersion"], tree.lines["apiVersion"] = version, spot.line
        yield spot
        return
    items = tree["items"]
    version_of_items = tree.get("apiVersion") if name != "List" else ""
    for index, item in enumerate(items if isinstance(items, YamlList) else ()):
        path = ("items", index)
        inside = _Spot(spot.file, item, items.lines[index], (*spot.prefix, *path), spot.root)
        yield from _objects(
            inside, parsed, name.removesuffix("List"), version_of_items if isinstance(version_of_items, str) else ""
        )
    if not isinstance(items, YamlList) and items is not None:
        parsed.whole = False
        hint = "items is a list of objects"
        parsed.problems.append(spot.problem(("items",), "type", f"this is {_shape(items)}, not a list", hint))


def _read_object(spot: _Spot, parsed: Parsed) -> None:
    """One object into `parsed`, or the problems that keep it out."""
    tree = spot.tree
    name = tree.get("kind")
    if isinstance(name, str) and is_ignored(tree.get("apiVersion"), name):
        parsed.ignored.append(_ignored_id(name, tree))
        return
    kind = _kind_of(spot, parsed)
    if kind is None:
        return
    before = len(parsed.problems)
    pruned = _prune(kind, tree, spot, (), parsed.problems)
    resource = None
    try:
        resource = kind.model_validate(pruned)
    except ValidationError as error:
        parsed.problems += _explain_all(spot, kind, error.errors(include_url=False))
    identity = _identity(kind, pruned)
    if identity is None:
        parsed.whole = False
        return
    if not kind.NAMESPACED and identity.namespace:
        hint = f"remove it; a {kind.KIND} belongs to the whole cluster"
        parsed.problems.append(
            spot.problem(("metadata", "namespace"), "namespace", f"a {kind.KIND} has no namespace", hint)
        )
    first = parsed.where.setdefault(identity, spot)
    if first is not spot and parsed.resources.get(identity) != resource:
        message = f"{identity} is written twice, first at {first.at(())}"
        hint = "keep one of them, or give them different names"
        parsed.problems.append(spot.problem(("metadata", "name"), "duplicate-object", message, hint))
    elif resource is not None and len(parsed.problems) == before:
        parsed.resources[identity] = resource


def _ignored_id(kind: str, tree: YamlMap) -> ObjectId:
    """Who an object is that is not read any further; what it does not say as text is ""."""
    metadata = tree.get("metadata")
    said = [metadata.get(key, "") if isinstance(metadata, YamlMap) else "" for key in ("namespace", "name")]
    namespace, name = (text if isinstance(text, str) else "" for text in said)
    return ObjectId(kind, namespace, name)


def _kind_of(spot: _Spot, parsed: Parsed) -> type[Resource] | None:
    """The class of an object by its kind and apiVersion; None after a problem."""
    name, version = spot.tree.get("kind"), spot.tree.get("apiVersion")
    if not isinstance(name, str) or not name:
        parsed.whole = False
        parsed.problems.append(
            spot.problem(("kind",), "kind", "the object has no kind", f"known kinds: {', '.join(sorted(KINDS))}")
        )
        return None
    kind = KINDS.get(name)
    if kind is None:
        meant = nearest(name, KINDS)
        parsed.whole = parsed.whole and not meant
        hint = (
            f"did you mean {meant}? " if meant else "leave it out of the input; "
        ) + f"known kinds: {', '.join(sorted(KINDS))}"
        parsed.problems.append(spot.problem(("kind",), "kind", f"the twin reads no kind {shorten(name)}", hint))
        return None
    if not isinstance(version, str) or version not in kind.API_VERSIONS:
        shown = shorten(str(version)) if version is not None else "missing"
        hint = f"write apiVersion: {' or '.join(kind.API_VERSIONS)}; leave the object out if it belongs to another API"
        parsed.problems.append(spot.problem(("apiVersion",), "api-version", f"apiVersion of {name} is {shown}", hint))
        parsed.whole = False
        return None
    return kind


def _identity(kind: type[Resource], pruned: dict[str, Any]) -> ObjectId | None:
    """Who a refused object is, if it says so."""
    metadata = pruned.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    namespace = metadata.get("namespace", "") if isinstance(metadata, dict) else ""
    return ObjectId(kind.KIND, namespace, name) if isinstance(name, str) and isinstance(namespace, str) else None


def _prune(kind: type[Model], tree: YamlMap, spot: _Spot, path: Path, problems: list[Problem]) -> dict[str, Any]:
    """A block with only what its model has: null and accepted fields gone, kept ones in `foreign`, unknown ones reported."""
    fields, kept = fields_of(kind), KEPT.get(kind, frozenset())
    result: dict[str, Any] = {}
    foreign: dict[str, Any] = {}
    for name, value in tree.items():
        if name in fields:
            if value is None:
                continue
            inner = fields[name].inner
            if inner is None:
                result[name] = value
            elif fields[name].many and isinstance(value, YamlList):
                result[name] = [
                    _prune_item(inner, item, spot, (*path, name, i), problems) for i, item in enumerate(value)
                ]
            else:
                result[name] = value if fields[name].many else _prune_item(inner, value, spot, (*path, name), problems)
        elif name in kept:
            if value is not None:
                foreign[name] = value
        elif not (not path and name in ("apiVersion", "kind")) and not is_accepted(kind, name):
            problems.append(_unknown_field(kind, name, spot, path))
    if foreign:
        result["foreign"] = foreign
    if not path and issubclass(kind, Resource) and kind.NAMESPACED and isinstance(result.get("metadata"), dict):
        metadata = result["metadata"]
        metadata["namespace"] = metadata.get("namespace", "") or DEFAULT_NAMESPACE
    return result


def _prune_item(inner: type[Model], value: Any, spot: _Spot, path: Path, problems: list[Problem]) -> Any:
    return _prune(inner, value, spot, path, problems) if isinstance(value, YamlMap) else value


def _unknown_field(kind: type[Model], name: str, spot: _Spot, path: Path) -> Problem:
    names = known_names(kind)
    meant = nearest(name, names)
    owner = spot.tree.get("kind") if not path else path_text(path)
    hint = f"did you mean {meant}?" if meant else f"known fields: {', '.join(names)}"
    return spot.problem((*path, name), "unknown-field", f"{owner} has no field {shorten(name)}", hint)


# --- what pydantic says, in a user's words -----------------------------------------------------------------------------------

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_LIKE = {"tuple_type": ": [a, b], or lines that start with -", "dict_type": ": lines of key: value, indented"}
_LIKE["model_type"] = _LIKE["dict_type"]
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "greater_than": ("gt", "more than"),
}


def _explain_all(spot: _Spot, kind: type[Resource], errors: list[ErrorDetails]) -> list[Problem]:
    """One problem per place: of the alternatives of a field, what the first one says."""
    first: dict[str, Problem] = {}
    for error in errors:
        # A list counts as too short also when its items are wrong; those have their own problems.
        if error["type"] != "too_short" or not error["input"]:
            problem = _explain(spot, kind, error)
            first.setdefault(problem.where.path, problem)
    return list(first.values())


def _explain(spot: _Spot, kind: type[Resource], error: ErrorDetails) -> Problem:
    """One of pydantic's errors with the place it is at and what to do."""
    path = _path_in(spot.tree, error["loc"])
    value, code, context = error["input"], error["type"], error.get("ctx", {})
    if code == "missing":
        owner = path_text(path[:-1]) or f"the {kind.KIND}"
        hint = f"add {path[-1]}: ({form_of(kind, path)}) to {owner}"
        return spot.problem(path, "missing-field", f"{path_text(path)} is required", hint)
    if code == "literal_error":
        expected = str(context.get("expected", ""))
        meant = (
            nearest(str(value), expected.replace("'", "").replace(" or ", ", ").split(", "))
            if isinstance(value, str)
            else ""
        )
        hint = f"did you mean {meant}?" if meant else "write one of these"
        return spot.problem(path, "value", f"{_shape(value)} is not one of {expected}", hint)
    if code in _WANTED:
        hint = f"write {_WANTED[code]}{_LIKE.get(code, '')}"
        if code == "string_type" and isinstance(value, bool | int | float):
            hint = "put it in quotes"
        elif code in ("int_type", "float_type", "bool_type") and isinstance(value, str):
            hint = f"write {_WANTED[code]} without quotes"
        return spot.problem(path, "type", f"this is {_shape(value)}, not {_WANTED[code]}", hint)
    if code in _BOUNDS:
        key, words = _BOUNDS[code]
        limit = f"{words} {context.get(key)}"
        return spot.problem(path, "value", f"{_shape(value)} is out of range", f"write {limit}")
    if code == "too_short":
        return spot.problem(path, "value", "the list is empty", "name at least one")
    return spot.problem(path, "value", error["msg"], "correct the value")


def _path_in(tree: Any, location: tuple[int | str, ...]) -> Path:
    """pydantic's location without the parts that only say which alternative was tried."""
    path: list[int | str] = []
    for index, part in enumerate(location):
        if isinstance(tree, YamlMap):
            tree = tree.get(str(part))
        elif isinstance(tree, YamlList) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        elif index:
            break
        path.append(part)
    return tuple(path)


def _shape(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{shorten(value)}"' if isinstance(value, str) else shorten(str(value))


# --- from objects to text ----------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A frozen value as dicts, lists and scalars, without fields that have their default."""
    if isinstance(value, Model):
        result: dict[str, Any] = {}
        for alias, known in fields_of(type(value)).items():
            item = getattr(value, known.name)
            if item != type(value).model_fields[known.name].default:
                result[alias] = _plain(item)
        result.update(_plain(getattr(value, "foreign", {})))
        return result
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # the base is chosen at run time
    """Block style without aliases; quotes every text that would not come back as text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the signature is PyYAML's
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    ambiguous = not isinstance(resolve_plain(text), str) or text == "<<"
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if ambiguous or not text.isprintable() else None
    )


_Dumper.add_representer(str, _represent_text)
