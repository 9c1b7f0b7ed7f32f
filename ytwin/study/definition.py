"""YAML to a Study: strict, every problem with file, line, field and what to do."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_snake
from pydantic_core import ErrorDetails

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.resources.fields import nearest
from ytwin.resources.yamltree import Path, YamlList, YamlMap, line_of, path_text, read_yaml, shorten
from ytwin.study.designs import levels, problems_of_design, told
from ytwin.study.metrics import columns_of, problems_of_metrics
from ytwin.study.model import Parameter, Part, Study, StudySpec
from ytwin.study.paths import counts, problem_of_path

KIND = "Study"
API_VERSIONS = ("iaas.yusur.io/v1",)
LONGEST_NAME = 63
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
"""A label of RFC 1123: a run's folder bears the name, too."""
_TOP = ("apiVersion", "kind", "metadata", "spec")


def decode_study(file: str, text: str) -> Study:
    """The one study of a file. InvalidInput carries every problem."""
    reading = read_yaml(file, text)
    problems = list(reading.problems)
    if not problems and len(reading.documents) != 1:
        hint = "a study's file holds one document of kind: Study"
        problems.append(Problem(Location(file), "study", f"{len(reading.documents)} documents", hint))
    if problems:
        raise InvalidInput(problems)
    line, tree = reading.documents[0]
    reader = _Reader(file, tree, line)
    study = reader.study()
    if study is None or reader.problems:
        raise InvalidInput(reader.problems)
    return study


class _Reader:
    """One document and what is wrong with it."""

    def __init__(self, file: str, tree: Any, line: int) -> None:
        self.file, self.tree, self.line = file, tree, line
        self.problems: list[Problem] = []

    def problem(self, path: Path, code: str, message: str, hint: str = "") -> None:
        where = Location(self.file, line_of(self.tree, path, self.line), path_text(path))
        self.problems.append(Problem(where, code, message, hint))

    def study(self) -> Study | None:
        tree = self.tree
        if not isinstance(tree, YamlMap):
            self.problem((), "study", "this is no study", "write apiVersion, kind: Study, metadata and spec")
            return None
        if tree.get("kind") != KIND:
            self.problem(("kind",), "kind", f"kind is {tree.get('kind')!r}", "write kind: Study")
        if tree.get("apiVersion") not in API_VERSIONS:
            self.problem(
                ("apiVersion",), "api-version", f"apiVersion is {tree.get('apiVersion')!r}", f"write {API_VERSIONS[0]}"
            )
        for key in tree:
            if key not in _TOP:
                self.problem(
                    (key,), "unknown-field", f"a Study has no field {shorten(key)}", f"known: {', '.join(_TOP)}"
                )
        metadata = tree.get("metadata")
        name = metadata.get("name") if isinstance(metadata, YamlMap) else None
        if not isinstance(name, str) or not name:
            self.problem(("metadata", "name"), "missing-field", "the study has no name", "write metadata: {name: ...}")
        elif not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            hint = f"write lower-case letters, digits and inner hyphens, {LONGEST_NAME} at most, as Kubernetes does"
            self.problem(("metadata", "name"), "name", f"{shorten(name)!r} is no name of a study", hint)
        spec = self._spec(tree.get("spec"))
        if spec is None or not isinstance(name, str):
            return None
        self._judge(spec)
        return Study(name=name, file=self.file, spec=spec)

    def _spec(self, tree: Any) -> StudySpec | None:
        if not isinstance(tree, YamlMap):
            self.problem(
                ("spec",), "missing-field", "the study has no spec", "a spec has question, topology, goal, ..."
            )
            return None
        try:
            return _with_whole_counts(StudySpec.model_validate(plain(tree)))
        except ValidationError as error:
            for one in error.errors(include_url=False):
                self._explain(one)
            return None

    def _explain(self, error: ErrorDetails) -> None:
        path = ("spec", *(part for part in self._inside(error["loc"])))
        code = error["type"]
        if code == "extra_forbidden":
            known = _known(path)
            meant = nearest(str(path[-1]), known)
            hint = f"did you mean {meant}?" if meant else f"known fields: {', '.join(known)}"
            self.problem(path, "unknown-field", f"{path_text(path[:-1])} has no field {shorten(str(path[-1]))}", hint)
        elif code == "missing":
            self.problem(path, "missing-field", f"{path_text(path)} is required", f"add {path[-1]}:")
        elif code == "value_error":
            self.problem(path, "value", error["msg"].removeprefix("Value error, "), "correct the value")
        else:
            given, hint = shorten(repr(error["input"])), "correct the value"
            if code == "string_type" and isinstance(error["input"], bool | int | float):
                given, hint = told(error["input"]), "a text is wanted: write it in quotes"
            if code == "string_type" and isinstance(error["input"], bool):
                hint = f"YAML reads on, yes, off and no as true and false, here as {given}: write the word in quotes"
            self.problem(path, "value", f"{given}: {error['msg'].lower()}", hint)

    def _inside(self, location: tuple[int | str, ...]) -> Path:
        """pydantic's location without the names of alternatives that it tried."""
        tree, path = self.tree["spec"], list[int | str]()
        for part in location:
            if isinstance(tree, YamlMap):
                path.append(part)
                tree = tree.get(str(part))
            elif isinstance(tree, YamlList) and isinstance(part, int) and part < len(tree):
                path.append(part)
                tree = tree[part]
        return tuple(path)

    def _judge(self, spec: StudySpec) -> None:
        """What the fields mean together."""
        self._parameters(spec)
        for path in spec.settings:
            self._path(path, spec, ("spec", "settings", path))
        for place, message, hint in problems_of_design(spec):
            self.problem(("spec", *place), "design", message, hint)
        for place, message, hint in problems_of_metrics(spec):
            self.problem(("spec", *place), "metric", message, hint)
        goal = spec.goal
        if goal.limit is not None:
            self._path(goal.limit.parameter, spec, ("spec", "goal", "limit", "parameter"))
            if goal.limit.parameter in {path for p in spec.parameters for path in p.paths}:
                message = f"{goal.limit.parameter} is a parameter too"
                self.problem(("spec", "goal", "limit", "parameter"), "limit", message, "the search alone may change it")
        if goal.compare is not None:
            self._comparison(spec)
        if goal.sensitivity is not None and goal.sensitivity.of == "limit" and goal.limit is None:
            self.problem(
                ("spec", "goal", "sensitivity", "of"), "goal", "there is no limit", "add goal.limit, or name a metric"
            )
        self._plots(spec)

    def _parameters(self, spec: StudySpec) -> None:
        """Their names and what they set: two that set one thing would hide each other."""
        labels = [parameter.label for parameter in spec.parameters]
        columns, setters = columns_of(spec), dict[str, str]()
        for index, parameter in enumerate(spec.parameters):
            at: Path = ("spec", "parameters", index)
            if labels.count(parameter.label) > 1:
                self.problem(at, "duplicate", f"two parameters are called {parameter.label!r}", "give one a name")
            if parameter.label in columns:
                message = f"answer.csv has another column {parameter.label!r}"
                self.problem((*at, "name"), "duplicate", message, "give the parameter another name")
            places: dict[str, Path] = {parameter.path: (*at, "path")} if parameter.path else {}
            for label, settings in (parameter.choices or {}).items():
                for path in settings:
                    self._path(path, spec, (*at, "choices", label, path))
                    places.setdefault(path, (*at, "choices", label, path))
            if parameter.path:
                self._path(parameter.path, spec, places[parameter.path])
            for path, place in places.items():
                other = setters.setdefault(_one_spelling(path), parameter.label)
                if other != parameter.label:
                    message = f"{path} is set by the parameter {other!r} too"
                    self.problem(place, "duplicate", message, "let one parameter change it, or write choices")

    def _plots(self, spec: StudySpec) -> None:
        known = {parameter.label: parameter for parameter in spec.parameters}
        for index, plot in enumerate(spec.plots):
            at: Path = ("spec", "plots", index)
            for field, wanted in (("x", plot.x), ("by", plot.by), *(("only", label) for label in plot.only)):
                if wanted and wanted not in known:
                    there = ", ".join(known) or "none"
                    self.problem((*at, field), "plot", f"no parameter {wanted!r}", f"there are {there}")
            for label, value in plot.only.items():
                values = levels(known[label]) if label in known else (value,)
                if value not in values:
                    listed = ", ".join(map(told, values)) or "drawn by chance: draw the plot over it"
                    message, hint = f"{label} is never {told(value)!r}", f"its values are {listed}"
                    self.problem((*at, "only", label), "plot", message, hint)

    def _path(self, path: str, spec: StudySpec, at: Path) -> None:
        found = problem_of_path(path, spec)
        if found:
            self.problem(at, "path", *found)

    def _comparison(self, spec: StudySpec) -> None:
        compare = spec.goal.compare
        assert compare is not None
        known = {p.label: p for p in spec.parameters}
        at: Path = ("spec", "goal", "compare")
        if compare.parameter not in known:
            hint = f"there are {', '.join(known) or 'none'}"
            self.problem((*at, "parameter"), "compare", f"no parameter {compare.parameter!r}", hint)
            return
        parameter = known[compare.parameter]
        levels = [*(parameter.values or ()), *(parameter.choices or ())]
        for field, value in (("a", compare.a), ("b", compare.b)):
            if value not in levels:
                hint = f"its values are {', '.join(map(str, levels)) or 'a range: write them as values'}"
                self.problem((*at, field), "compare", f"{compare.parameter} is never {value!r}", hint)
        if compare.a == compare.b:
            self.problem((*at, "b"), "compare", "a and b are the same", "compare two values")


def _with_whole_counts(spec: StudySpec) -> StudySpec:
    """Half a connection cannot be: ranges and searches of counts go by whole numbers, whether they say so or not."""
    parameters = tuple(
        _whole(parameter) if counts(parameter.path, spec) else parameter for parameter in spec.parameters
    )
    goal, limit = spec.goal, spec.goal.limit
    if limit is not None and counts(limit.parameter, spec):
        goal = goal.model_copy(update={"limit": limit.model_copy(update={"whole": True})})
    return spec.model_copy(update={"parameters": parameters, "goal": goal})


def _whole(parameter: Parameter) -> Parameter:
    ways = {"range": parameter.range, "log_range": parameter.log_range, "distribution": parameter.distribution}
    changed = {name: way.model_copy(update={"whole": True}) for name, way in ways.items() if way is not None}
    return parameter.model_copy(update=changed)


def plain(tree: Any) -> Any:
    """Trees as dict and list: pydantic's strict types want no subclasses' surprises."""
    if isinstance(tree, YamlMap):
        return {key: plain(value) for key, value in tree.items()}
    return tuple(map(plain, tree)) if isinstance(tree, YamlList) else tree


def _one_spelling(path: str) -> str:
    """Profile numbers may be written as in a profile (slowPath) or as ytwin tells them (slow_path)."""
    return to_snake(path) if path.startswith(("card.", "cards.")) else path


def _known(path: Path) -> list[str]:
    """Names of the fields that could stand at the end of a path."""
    model: type[Part] | None = StudySpec
    for part in path[1:-1]:
        if isinstance(part, str) and model is not None:
            model = next((_model_in(f.annotation) for n, f in model.model_fields.items() if part in (n, f.alias)), None)
    return [field.alias or name for name, field in model.model_fields.items()] if model is not None else []


def _model_in(annotation: Any) -> type[Part] | None:
    """The Part inside an annotation such as `tuple[Parameter, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((found for arg in getattr(annotation, "__args__", ()) if (found := _model_in(arg)) is not None), None)
