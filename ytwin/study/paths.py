"""What a path of a study's parameter means, and the study's inputs with such settings made.

| path | what it changes |
| --- | --- |
| `load.FIELD` | a field of the load |
| `nodes.PATTERN.card` | hardware profile of the nodes that the pattern (`*`, `node1`) names |
| `nodes.PATTERN.offload` | whether their cards offload (`true`, `false`) |
| `card.NUMBER` | a number of every profile in use, e.g. `card.eswitch.insertionRate` |
| `cards.PROFILE.NUMBER` | the same of one profile |
| `path.from`, `path.to`, `path.protocol` | who calls what |
| `services.count` | copies of the called Service, until there are so many |
| `model.FIELD` | what the study's `model` takes besides: see its module |
| `generate.FIELD` | a parameter of a generated topology |
| `topology.KIND.NAME.FIELD` | a field of objects, e.g. `topology.YusurService.ysvc1.spec.balancing.algorithm` |

Where several settings name one thing, a whole name counts before a pattern, and of patterns the one with more letters given;
so `nodes.node1.card` beats `nodes.node?.card`, and that beats `nodes.*.card`, in whatever order they are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic.alias_generators import to_camel, to_snake

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.performance.loads import KINDS
from ytwin.resources.codec import KINDS as OBJECTS
from ytwin.resources.codec import decode, to_dict
from ytwin.resources.model import YusurService
from ytwin.resources.snapshot import Snapshot
from ytwin.study.amounts import amount
from ytwin.study.model import Generate, Scalar, StudySpec

ROOTS: Final = (
    "load.FIELD, nodes.PATTERN.card, card.NUMBER, path.to, services.count, model.FIELD, generate.FIELD, "
    "topology.KIND.NAME.FIELD"
)
_TOPOLOGY = re.compile(r"topology\.(\w+)\.(.+?)\.((?:spec|metadata|status)[.\[].+)")
_ITEM = re.compile(r"items\[(\d+)\](.*)")
_PATTERN = re.compile(r"[*?[]")
_PART = re.compile(r"\.?([^.\[\]]+)|\[([^\]]+)\]")

Settings = Mapping[str, Scalar]
T = TypeVar("T")


def problem_of_path(path: str, spec: StudySpec) -> tuple[str, str] | None:
    """(what is wrong, what to do) about a path, as far as the study alone tells; None if nothing is."""
    root, _, rest = path.partition(".")
    if root == "load" and rest:
        return None if spec.load else (f"{path}: the study has no load", "write load: {kind: ...}")
    if root == "nodes" and rest.partition(".")[0] and rest.endswith((".card", ".offload")):
        return None
    if (root == "card" and "." in rest) or (root == "cards" and rest.count(".") >= 2) or path == "services.count":
        return None
    if root == "path" and rest in ("from", "to", "protocol"):
        return (
            None if spec.route is not None else (f"{path}: the study has no path", "write path: {from: ..., to: ...}")
        )
    if root == "model" and rest:
        return None if spec.model != "path" else (f"{path}: the model `path` takes nothing", "name another model")
    if root == "generate":
        if spec.topology.generate is None:
            return f"{path}: the topology is not generated", "write topology: {generate: {...}}"
        known = [to_camel(name) for name in Generate.model_fields]
        return None if rest in known else (f"generate has no {rest!r}", f"there are {', '.join(known)}")
    if (found := _TOPOLOGY.fullmatch(path)) is not None:
        if found[1] in OBJECTS:
            return None
        return f"the twin reads no kind {found[1]!r}", f"there are {', '.join(sorted(OBJECTS))}"
    return f"{path!r} names nothing that a study can change", f"write one of {ROOTS}"


def counts(path: str, spec: StudySpec) -> bool:
    """Whether the path takes whole numbers only: how many there are of something."""
    root, _, field = path.partition(".")
    if root == "load":
        return any(kind[field].form == "count" for name, kind in KINDS.items() if field in kind and _may_be(name, spec))
    return path in ("services.count", "model.keys") or (root == "generate" and field != "plain")


def _may_be(kind: str, spec: StudySpec) -> bool:
    """Whether the study's load is of this kind, or may be."""
    said = spec.load.get("kind")
    return said == kind or said not in KINDS or "load.kind" in paths_varied(spec)


def paths_varied(spec: StudySpec) -> set[str]:
    """All paths that settings and parameters change."""
    found = {path for p in spec.parameters for choice in (p.choices or {}).values() for path in choice}
    return found | {p.path for p in spec.parameters} | set(spec.settings)


def below(settings: Settings, root: str) -> dict[str, Scalar]:
    """What the settings say below `root.`, without it."""
    return {path.removeprefix(f"{root}."): value for path, value in settings.items() if path.startswith(f"{root}.")}


def load_of(spec: StudySpec, settings: Settings) -> dict[str, Any]:
    """The load's fields."""
    return {**spec.load, **below(settings, "load")}


def route_of(spec: StudySpec, settings: Settings) -> tuple[str, str, str]:
    """(client, destination, protocol)."""
    said = below(settings, "path")
    given = spec.route
    default = (given.client, given.to, given.protocol) if given is not None else ("", "", "")
    named = zip(("from", "to", "protocol"), default, strict=True)
    client, to, protocol = (str(said.get(key, fallback)) for key, fallback in named)
    return client, to, protocol


def generated_by(spec: StudySpec, settings: Settings) -> dict[str, Any]:
    """Arguments of `generate`, within the bounds that the study's own `generate` has."""
    assert spec.topology.generate is not None
    fields = spec.topology.generate.model_dump()
    for name, value in below(settings, "generate").items():
        flag = isinstance(fields[to_snake(name)], bool)
        fields[to_snake(name)] = value if flag else whole(value, f"generate.{name}")
    try:
        return Generate.model_validate(fields, strict=True).model_dump()
    except ValidationError as error:
        bad = error.errors(include_url=False)[0]
        message = f"{bad['input']!r}: {bad['msg'].lower()}"
        raise wrong(f"generate.{to_camel(str(bad['loc'][0]))}", message, "correct the value") from None


def whole(value: Scalar, path: str) -> int:
    """A count of things; InvalidInput for anything else."""
    found = amount(value)
    if found is None or found.dimension not in ("", "count") or not found.value.is_integer() or found.value < 0:
        raise wrong(path, f"{value!r} is no whole number of at least 0", "write how many")
    return int(found.value)


def wrong(path: str, message: str, hint: str) -> InvalidInput:
    """An error about a setting."""
    return InvalidInput([Problem(Location(path=path), "setting", message, hint)])


def cards_of(spec: StudySpec, settings: Settings, nodes: Iterable[str]) -> dict[str, str]:
    """Node -> name of its profile, for the nodes for which the study says one; settings count before the study's `cards`."""
    names = tuple(nodes)
    varied = {name: str(value) for name, value in _of_nodes(settings, "card").items()}
    return {**_by_node(spec.cards, names, "card"), **_by_node(varied, names, "card")}


def offload_of(settings: Settings, nodes: Iterable[str]) -> dict[str, bool]:
    """Node -> whether its card offloads, for the nodes for which the study says so."""
    said = {}
    for pattern, value in _of_nodes(settings, "offload").items():
        if not isinstance(value, bool):
            raise wrong(f"nodes.{pattern}.offload", f"{value!r} is neither true nor false", "write true or false")
        said[pattern] = value
    return _by_node(said, nodes, "offload")


def _of_nodes(settings: Settings, field: str) -> dict[str, Scalar]:
    said = below(settings, "nodes")
    return {rest.removesuffix(f".{field}"): value for rest, value in said.items() if rest.endswith(f".{field}")}


def _by_node(said: Mapping[str, T], nodes: Iterable[str], field: str) -> dict[str, T]:
    names, found = tuple(nodes), dict[str, T]()
    by = dict[str, str]()
    for pattern in sorted(said, key=lambda one: (_rank(one), one)):
        fitting = [name for name in names if fnmatchcase(name, pattern)]
        if not fitting:
            hint = f"there are {', '.join(names) or 'none'}"
            raise wrong(f"nodes.{pattern}.{field}", f"no node is called {pattern!r}", hint)
        for name in fitting:
            if name in by and _rank(by[name]) == _rank(pattern) and found[name] != said[pattern]:
                message = f"{by[name]!r} names {name}, too, as exactly, and says {found[name]!r}"
                raise wrong(f"nodes.{pattern}.{field}", message, f"say what is meant: nodes.{name}.{field}")
            found[name], by[name] = said[pattern], pattern
    return found


def _rank(pattern: str) -> tuple[bool, int, int]:
    """Orders patterns from the most general to the most special: a whole name last."""
    given = len(re.sub(r"\[[^]]*\]|[*?]", "", pattern))
    return _PATTERN.search(pattern) is None, given, -pattern.count("*")


@dataclass(frozen=True, slots=True)
class NumberSetting:
    """A profile number that is set, as the study has it."""

    profile: str
    """Pattern."""
    number: str
    """Path in the profile, e.g. `eswitch.insertion_rate`."""
    value: Scalar
    path: str


def numbers_of(settings: Settings) -> tuple[NumberSetting, ...]:
    """Settings of `card.NUMBER` and then of `cards.PROFILE.NUMBER`: the more special ones last."""
    every = [NumberSetting("*", _snake(rest), value, f"card.{rest}") for rest, value in below(settings, "card").items()]
    for rest, value in below(settings, "cards").items():
        profile, _, number = rest.partition(".")
        every.append(NumberSetting(profile, _snake(number), value, f"cards.{rest}"))
    return tuple(sorted(every, key=lambda said: _rank(said.profile)))


def _snake(path: str) -> str:
    return ".".join(map(to_snake, path.split(".")))


def changed_topology(snapshot: Snapshot, settings: Settings, called: str) -> Snapshot:
    """The topology with the settings of `topology.` and `services.count`; `called` is the Service that is copied."""
    fields = {path: value for path, value in settings.items() if path.startswith("topology.")}
    count = settings.get("services.count")
    if not fields and count is None:
        return snapshot
    objects = [to_dict(resource) for resource in snapshot.objects.values()]
    # The more special names last; as they are written otherwise, since a list grows by its next item only.
    for path, value in sorted(fields.items(), key=lambda item: _rank(_topology_name(item[0]))):
        _set_field(objects, path, value)
    if count is not None:
        objects += _copies(snapshot, whole(count, "services.count"), called)
    # Through the codec again: a setting may make an object invalid.
    document = {"apiVersion": "v1", "kind": "List", "items": objects}
    try:
        return decode({"topology with settings": json.dumps(document)})
    except InvalidInput as error:
        raise InvalidInput(replace(p, where=_place(p.where, objects)) for p in error.problems) from None


def _place(where: Location, objects: list[dict[str, Any]]) -> Location:
    """A place in the list of objects as a study writes it: nobody has seen the list."""
    found = _ITEM.fullmatch(where.path)
    if found is None:
        return where
    item = objects[int(found[1])]
    return Location(path=f"topology.{item['kind']}.{item['metadata']['name']}{found[2]}")


def _topology_name(path: str) -> str:
    found = _TOPOLOGY.fullmatch(path)
    assert found is not None  # the definition has checked it
    return found[2]


def _set_field(objects: list[dict[str, Any]], path: str, value: Scalar) -> None:
    found = _TOPOLOGY.fullmatch(path)
    assert found is not None  # the definition has checked it
    kind, pattern, field = found.groups()
    fitting = [o for o in objects if o["kind"] == kind and fnmatchcase(o["metadata"]["name"], pattern)]
    if not fitting:
        names = sorted(o["metadata"]["name"] for o in objects if o["kind"] == kind)
        raise wrong(path, f"no {kind} is called {pattern!r}", f"there are {', '.join(names) or 'none'}")
    parts: list[str | int] = [
        int(bracket) if bracket and bracket.isdecimal() else bracket or word for word, bracket in _PART.findall(field)
    ]
    for resource in fitting:
        place: Any = resource
        for part, following in pairwise(parts):
            place = _inside(place, part, following, path)
        if isinstance(place, list) and (not isinstance(parts[-1], int) or parts[-1] > len(place)):
            raise wrong(
                path, f"the list has {len(place)} items", "name one of them by its number from 0, or the next one"
            )
        if isinstance(place, list) and parts[-1] == len(place):
            place.append(value)
        else:
            place[parts[-1]] = value


def _inside(place: Any, part: str | int, following: str | int, path: str) -> Any:
    if isinstance(place, dict):
        return place.setdefault(str(part), [] if isinstance(following, int) else {})
    if isinstance(place, list) and isinstance(part, int) and part < len(place):
        return place[part]
    raise wrong(path, f"nothing stands at {part!r}", "name a field that the object has")


def _copies(snapshot: Snapshot, count: int, called: str) -> list[dict[str, Any]]:
    """Further YusurServices like the called one, with addresses of their own."""
    services = list(snapshot.all(YusurService))
    name = called.rpartition(":")[0] or called
    model = next((s for s in services if name in (s.name, f"{s.namespace}/{s.name}")), None)
    if model is None:
        known = ", ".join(s.name for s in services) or "none"
        raise wrong("services.count", f"{called!r} is no YusurService that could be copied", f"there are {known}")
    if count < len(services):
        raise wrong("services.count", f"{count}, but the topology has {len(services)}", "give at least so many")
    plain = to_dict(model)
    spec = {key: value for key, value in plain["spec"].items() if key not in ("clusterIP", "eip")}
    kept = {key: value for key, value in plain["metadata"].items() if key in ("namespace", "labels")}
    return [
        {
            "apiVersion": plain["apiVersion"],
            "kind": plain["kind"],
            "metadata": {**kept, "name": f"{model.name}-copy{index}"},
            "spec": spec,
        }
        for index in range(count - len(services))
    ]
