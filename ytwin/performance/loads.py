"""Loads as people write them, on a command line or as YAML, to those that `sim.workloads` knows. Strict: units, fields, ranges.

Text: `KIND:FIELD=VALUE,FIELD=VALUE`, e.g. `packets:rate=45 Mpps,flows=1000`. YAML: `kind: Load` with the same fields below
`spec`, where `services` may name several Services with their shares. `KINDS` says what each kind takes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeVar

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.core.units import quantity
from ytwin.resources.fields import nearest
from ytwin.resources.yamltree import Path, YamlList, YamlMap, line_of, path_text, read_yaml, shorten
from ytwin.sim.distributions import Constant, Distribution, Exponential, Gamma, LogNormal, Uniform
from ytwin.sim.workloads import BulkTcp, ConnectRequestResponse, OpenRequests, PacketRate, RequestResponse

Load = BulkTcp | PacketRate | RequestResponse | ConnectRequestResponse | OpenRequests

API_VERSION: Final = "iaas.yusur.io/v1"
MOST: Final = "max"
"""As a rate: as many as go through. It is endless in the load; an engine drives the path above its limit."""

MOST_COUNT: Final = 10**12
"""Of clients, flows and so on: far more than any cluster has, and few enough to reckon with exactly."""

Form = Literal["rate", "count", "time", "size", "bytes", "times", "gaps", "exponent"]
"""What stands in a field. size and times are distributions of bytes and of times; bytes is one number."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind."""

    form: Form
    text: str
    needed: bool = False
    most: bool = False
    """Whether `max` is a value."""


KINDS: Final[dict[str, dict[str, Field]]] = {
    "bulk": {
        "streams": Field("count", "TCP connections that always have something to send", needed=True),
        "window": Field("count", "segments that one stream has under way; left out: as much as the path holds"),
    },
    "packets": {
        "rate": Field("rate", "packets per second, or max", needed=True, most=True),
        "flows": Field("count", "connections that they belong to"),
        "size": Field("bytes", "of a packet"),
        "gaps": Field("gaps", "constant (as a generator sends them) or exponential"),
        "packetsPerFlow": Field("count", "after so many a flow ends and another begins"),
    },
    "rr": {
        "clients": Field("count", "connections with one request under way each", needed=True),
        "think": Field("times", "between an answer and the next request"),
        "size": Field("size", "of request and answer"),
        "requestsPerConnection": Field("count", "then the client opens another connection"),
        "timeout": Field("time", "after which a lost request is sent again"),
    },
    "crr": {
        "clients": Field("count", "clients, each with one connection at a time", needed=True),
        "requests": Field("count", "per connection"),
        "think": Field("times", "between an answer and the next request"),
        "size": Field("size", "of request and answer"),
        "timeout": Field("time", "after which a lost request is sent again"),
    },
    "open": {
        "rate": Field("rate", "requests per second, whatever happens to earlier ones", needed=True),
        "size": Field("size", "of request and answer"),
        "gaps": Field("gaps", "constant, exponential, gamma scv 4, lognormal scv 4"),
        "connections": Field("count", "that requests belong to, at a time"),
        "popularity": Field("exponent", "Zipf exponent of the connections, 0: all alike"),
        "requestsPerConnection": Field("count", "then another connection takes its place"),
    },
}
"""Kind -> field -> what stands there."""


@dataclass(frozen=True, slots=True)
class Share:
    """One Service of a mix."""

    service: str
    """`namespace/name` or `name`, as after `--to`."""
    port: int = 0
    """0: its first."""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class NamedLoad:
    """A load, and the Services that it is for; none: the destination is given elsewhere."""

    name: str
    load: Load
    services: tuple[Share, ...] = ()


Place = Callable[[Path], Location]
"""Where in the input a field stands."""


def parse_load(text: str, where: str = "--load") -> NamedLoad:
    """One load from `KIND:FIELD=VALUE,...`; InvalidInput with every problem."""

    def place(path: Path) -> Location:
        return Location(path=" ".join((where, *map(str, path))))

    kind, _, rest = text.partition(":")
    problems: list[Problem] = []
    fields: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in rest.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            problems.append(
                Problem(place(()), "load", f"{shorten(part)!r} is no field", "write FIELD=VALUE, separated by commas")
            )
        elif name in fields:
            problems.append(Problem(place((name,)), "load", "stands twice", "keep one of them"))
        else:
            fields[name] = value
    load = _load(text, kind.strip(), fields, place, problems)
    if problems or load is None:
        raise InvalidInput(problems)
    return NamedLoad(text, load)


def decode_loads(files: Mapping[str, str]) -> tuple[NamedLoad, ...]:
    """All loads of some YAML files, file name -> text; InvalidInput with every problem, each with file, line and field."""
    loads: list[NamedLoad] = []
    problems: list[Problem] = []
    for file, text in files.items():
        reading = read_yaml(file, text)
        problems += reading.problems
        for line, tree in reading.documents:
            found = _document(file, line, tree, problems)
            if found is None:
                continue
            if any(found.name == other.name for other in loads):
                where = Location(file, line_of(tree, ("metadata", "name"), line), "metadata.name")
                problems.append(
                    Problem(where, "duplicate", f"{found.name!r} is another load's name too", "give each its own")
                )
            loads.append(found)
    if not loads and not problems:
        problems = [Problem(Location(f), "no-load", "no load in this file", "write `kind: Load`") for f in files]
    if problems:
        raise InvalidInput(problems)
    return tuple(loads)


def _document(file: str, line: int, tree: Any, problems: list[Problem]) -> NamedLoad | None:
    before = len(problems)

    def place(path: Path) -> Location:
        return Location(file, line_of(tree, path, line), path_text(path))

    def wrong(path: Path, code: str, message: str, hint: str) -> None:
        problems.append(Problem(place(path), code, message, hint))

    if not isinstance(tree, YamlMap) or tree.get("kind") != "Load":
        kind = tree.get("kind") if isinstance(tree, YamlMap) else None
        wrong(("kind",), "kind", f"{shorten(str(kind))!r} is no load", "write `kind: Load`")
        return None
    _unknown(tree, ("apiVersion", "kind", "metadata", "spec"), (), wrong)
    if tree.get("apiVersion") != API_VERSION:
        wrong(("apiVersion",), "api-version", f"{shorten(str(tree.get('apiVersion')))!r}", f"write {API_VERSION}")
    metadata, spec = (tree.get(part) for part in ("metadata", "spec"))
    name = metadata.get("name") if isinstance(metadata, YamlMap) else None
    if not isinstance(name, str) or not name:
        wrong(("metadata", "name"), "missing", "the load has no name", "write metadata.name")
        name = ""
    elif isinstance(metadata, YamlMap):
        _unknown(metadata, ("name",), ("metadata",), wrong)
    if not isinstance(spec, YamlMap):
        wrong(("spec",), "missing", "the load has no spec", f"write spec with kind: {', '.join(KINDS)}")
        return None
    services = tuple(_services(spec.get("services", YamlList(line)), wrong))
    fields = {k: v for k, v in spec.items() if k not in ("kind", "services")}
    kind = spec.get("kind")
    load = _load(name, kind if isinstance(kind, str) else "", fields, lambda p: place(("spec", *p)), problems)
    return NamedLoad(name, load, services) if load is not None and len(problems) == before else None


Wrong = Callable[[Path, str, str, str], None]


def _unknown(tree: YamlMap, known: tuple[str, ...], path: Path, wrong: Wrong) -> None:
    for name in tree:
        if name not in known:
            wrong((*path, name), "unknown-field", f"no field {shorten(name)!r} here", _known(name, known))


def _known(name: str, known: tuple[str, ...]) -> str:
    meant = nearest(name, known)
    return f"did you mean {meant}?" if meant else f"there are {', '.join(known)}"


def _services(value: Any, wrong: Wrong) -> Iterator[Share]:
    path: Path = ("spec", "services")
    if not isinstance(value, YamlList):
        wrong(path, "type", "not a list", "write a list of {service, port, share}")
        return
    for i, item in enumerate(value):
        here = (*path, i)
        if not isinstance(item, YamlMap):
            wrong(here, "type", "not a mapping", "write {service: NAME, share: 1}")
            continue
        _unknown(item, ("service", "port", "share"), here, wrong)
        service, port, weight = item.get("service"), item.get("port", 0), item.get("share", 1)
        if not isinstance(service, str) or not service:
            wrong((*here, "service"), "missing", "no Service is named", "write service: NAMESPACE/NAME")
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
            wrong((*here, "port"), "range", f"{shorten(str(port))!r} is no port", "write 1 to 65535")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            wrong((*here, "share"), "range", f"{shorten(str(weight))!r} is no share", "write a number above 0")
        elif isinstance(service, str) and isinstance(port, int):
            yield Share(service, port, float(weight))


def _load(name: str, kind: str, given: Mapping[str, Any], place: Place, problems: list[Problem]) -> Load | None:
    """The load, or None and more problems."""
    before = len(problems)
    known = KINDS.get(kind)
    if known is None:
        message = f"no kind of load {shorten(kind)!r}" if kind else "the load does not say its kind"
        problems.append(Problem(place(("kind",)), "unknown-kind", message, _known(kind, tuple(KINDS))))
        return None
    values: dict[str, Any] = {}
    for field, value in given.items():
        if field not in known:
            message = f"a load of kind {kind} has no field {shorten(field)!r}"
            problems.append(Problem(place((field,)), "unknown-field", message, _known(field, tuple(known))))
            continue
        try:
            values[field] = _value(known[field], value)
        except InvalidInput as error:
            problems += [Problem(place((field,)), p.code, p.message, p.hint) for p in error.problems]
    for field, about in known.items():
        if about.needed and field not in given:
            hint = f"add {field}: {about.text}"
            problems.append(Problem(place((field,)), "missing", f"a load of kind {kind} needs {field}", hint))
    if len(problems) > before:
        return None
    try:
        return _BUILD[kind](name, values)
    except InvalidInput as error:
        problems += [Problem(place(()), p.code, f"{p.where.path}: {p.message}", p.hint) for p in error.problems]
        return None


def _bad(code: str, message: str, hint: str) -> InvalidInput:
    return InvalidInput([Problem(Location(), code, message, hint)])


def _value(field: Field, given: Any) -> Any:
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise _bad("type", f"{shorten(str(given))!r} is no single value", f"write {field.text}")
    text = str(given)
    match field.form:
        case "count":
            return _count(text)
        case "rate":
            if field.most and text == MOST:
                return math.inf
            return _above_0(quantity(text, "rate"), text)
        case "time":
            return round(_above_0(quantity(text, "time"), text))
        case "bytes":
            return round(_above_0(quantity(text, "size"), text))
        case "size":
            return _distribution(text, "size")
        case "times":
            return _distribution(text, "time")
        case "exponent":
            return _plain(text, 0, 10)
        case "gaps":
            return _shape(text)


def _above_0(value: float, text: str) -> float:
    if value <= 0:
        raise _bad("range", f"{text!r} is not above 0", "write a number above 0")
    return value


def _count(text: str) -> int:
    digits = text.replace("_", "")
    if re.fullmatch(r"[0-9]+(_[0-9]+)*", text) is None or not digits.strip("0"):
        raise _bad(
            "range", f"{shorten(text)!r} is no whole number of at least 1", "write how many, without unit or sign"
        )
    # By its length first: Python refuses to read numbers of thousands of digits.
    if len(digits.lstrip("0")) > len(str(MOST_COUNT)) or int(digits.lstrip("0")) > MOST_COUNT:
        hint = f"write at most {MOST_COUNT:,}".replace(",", "_")
        raise _bad("range", f"{shorten(text)!r} is beyond all that can be reckoned with", hint)
    return int(digits.lstrip("0"))


def _plain(text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < most:
        raise _bad("range", f"{shorten(text)!r} is no number from {least:g} to {most:g}", "write a plain number")
    return value


_SHAPED: Final = re.compile(r"(?:(constant|exponential|gamma|lognormal|uniform)\b)?\s*(.*?)\s*(?:\bscv\s+(\S+))?")


def _distribution(text: str, dimension: str) -> Distribution:
    """`64 B`, `exponential 1 kB`, `lognormal 10 kB scv 4`, `gamma 1 ms scv 2`, `uniform 64 B to 1500 B`."""
    found = _SHAPED.fullmatch(text.strip())
    shape, value, scv = found.groups() if found else (None, text, None)
    if shape == "uniform":
        low, to, high = value.partition(" to ")
        if not to:
            raise _bad("value", f"{shorten(text)!r} has no two ends", "write uniform 64 B to 1500 B")
        return Uniform(quantity(low, dimension), quantity(high, dimension))
    return _shaped(shape or "constant", quantity(value, dimension), scv)


def _shape(text: str) -> Callable[[float], Distribution]:
    """Gaps whose mean is known from the rate: a shape without a value."""
    found = _SHAPED.fullmatch(text.strip())
    shape, value, scv = found.groups() if found else (None, text, None)
    if shape in (None, "uniform") or value:
        hint = "write constant, exponential, gamma scv 4 or lognormal scv 4; how many there are says the rate"
        raise _bad("value", f"{shorten(text)!r} is no law of gaps", hint)
    _shaped(str(shape), 1.0, scv)  # what is wrong with it comes out here
    return lambda mean: _shaped(str(shape), mean, scv)


def _shaped(shape: str, mean: float, scv: str | None) -> Distribution:
    if (scv is None) == (shape in ("gamma", "lognormal")):
        raise _bad("value", f"{shape} {'needs' if scv is None else 'has no'} scv", "write e.g. gamma 1 ms scv 4")
    if shape == "constant":
        return Constant(mean)
    if shape == "exponential":
        return Exponential(mean)
    squared = _plain(str(scv), 0, 1e6)
    return Gamma(mean, squared) if shape == "gamma" else LogNormal(mean, squared)


def _bulk(name: str, v: Mapping[str, Any]) -> Load:
    return BulkTcp(name, v["streams"], window_segments=v.get("window"))


def _packets(name: str, v: Mapping[str, Any]) -> Load:
    load = PacketRate(name, v["rate"], v.get("flows", 1), jobs_per_flow=v.get("packetsPerFlow"))
    shape = v["gaps"](1.0) if "gaps" in v else Constant(1)
    if not isinstance(shape, Constant | Exponential):
        raise _bad("value", "gaps of packets are constant or exponential", "for other laws write a load of kind open")
    return replace(load, poisson=isinstance(shape, Exponential), size_bytes=v.get("size", load.size_bytes))


def _rr(name: str, v: Mapping[str, Any]) -> Load:
    load = RequestResponse(name, v["clients"], requests_per_connection=v.get("requestsPerConnection"))
    return _asking(load, v)


def _crr(name: str, v: Mapping[str, Any]) -> Load:
    return _asking(ConnectRequestResponse(name, v["clients"], v.get("requests", 1)), v)


Asking = TypeVar("Asking", RequestResponse, ConnectRequestResponse)


def _asking(load: Asking, v: Mapping[str, Any]) -> Asking:
    return replace(
        load,
        think_ps=v.get("think", load.think_ps),
        size_bytes=v.get("size", load.size_bytes),
        timeout_ps=v.get("timeout", load.timeout_ps),
    )


def _open(name: str, v: Mapping[str, Any]) -> Load:
    mean_ps = 1e12 / v["rate"]
    gap = v["gaps"](mean_ps) if "gaps" in v else Exponential(mean_ps)
    return OpenRequests(
        name,
        gap,
        v.get("size", Constant(64)),
        v.get("connections", 1),
        v.get("popularity", 0.0),
        v.get("requestsPerConnection"),
    )


_BUILD: Final[dict[str, Callable[[str, Mapping[str, Any]], Load]]] = {
    "bulk": _bulk,
    "packets": _packets,
    "rr": _rr,
    "crr": _crr,
    "open": _open,
}
