"""Which combinations of parameter values a study runs: a grid, points by chance, or a Sobol sequence. Only this module draws."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from ytwin.resources.yamltree import Path
from ytwin.sim.streams import Streams
from ytwin.study.amounts import amount, distinct, ladder, written
from ytwin.study.intervals import problems_of_comparison
from ytwin.study.model import Distribution, Parameter, Scalar, StudySpec

MAX_POINTS = 1_000_000
"""Of a grid: more is a mistake in writing."""
FINEST = 1000
"""Values that a draw from a narrow distribution can still tell apart; so values have few digits, and are run as they are told."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One combination."""

    values: tuple[tuple[str, Scalar], ...]
    """(label of the parameter, value), in the order of the study."""
    settings: tuple[tuple[str, Scalar], ...]
    """(path, value): what is changed."""

    def __getitem__(self, label: str) -> Scalar:
        """KeyError if there is no such parameter."""
        for name, value in self.values:
            if name == label:
                return value
        raise KeyError(label)

    @property
    def text(self) -> str:
        """For people."""
        return ", ".join(f"{name} {told(value)}" for name, value in self.values) or "as it is"


def told(value: Scalar) -> str:
    """A parameter's value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def levels(parameter: Parameter) -> tuple[Scalar, ...]:
    """Its values, or the labels of its choices; () for a distribution."""
    if parameter.values is not None:
        return parameter.values
    if parameter.choices is not None:
        return tuple(parameter.choices)
    given = parameter.range or parameter.log_range
    if given is None:
        return ()
    found = ladder(given.start, given.end, given.steps, log=parameter.range is None, exact=given.whole)
    return tuple(dict.fromkeys(map(_rounded, found))) if given.whole else found


def _rounded(value: Scalar) -> Scalar:
    """In its base unit."""
    found = amount(value)
    assert found is not None  # it comes from a ladder
    return written(round(found.value), found.dimension, value)


def problems_of_design(spec: StudySpec) -> Iterator[tuple[Path, str, str]]:
    """(place in the spec, what is wrong, what to do) of parameters that do not go with the design."""
    if spec.design.kind == "grid":
        for index, parameter in enumerate(spec.parameters):
            if parameter.distribution is not None:
                hint = "write values, range or logRange, or design: {kind: sobol, points: 64}"
                yield ("parameters", index, "distribution"), "a grid has no use for a distribution", hint
        size = math.prod(len(levels(p)) or 1 for p in spec.parameters)
        if size > MAX_POINTS:
            yield ("parameters",), f"the grid has {size} points", f"stay below {MAX_POINTS}, or draw some of them"
    elif not spec.parameters:
        yield ("design",), "nothing to draw: there are no parameters", "add parameters, or use a grid"
    elif not drawn_parameters(spec):
        yield ("design",), "nothing to draw: the only parameter is compared", "add parameters, or use a grid"
    if (
        spec.engine == "analytic"
        and not spec.draws
        and spec.replications is not None
        and spec.replications.at_least > 1
    ):
        yield ("replications",), "formulas give the same every time", "use an engine, or uncertainty: drawn"
    yield from problems_of_comparison(spec)


def drawn_parameters(spec: StudySpec) -> tuple[Parameter, ...]:
    """Those that a drawn design draws. What is compared is not: each point drawn has both of its sides."""
    compare = spec.goal.compare
    return tuple(p for p in spec.parameters if compare is None or p.label != compare.parameter)


def variants(spec: StudySpec) -> tuple[Variant, ...]:
    """All combinations, in a fixed order; a study without parameters has one."""
    if spec.design.kind == "grid":
        return tuple(_variant(spec, values) for values in product(*map(levels, spec.parameters)))
    parameters, compare = drawn_parameters(spec), spec.goal.compare
    count, dimensions = spec.design.points or 1, len(parameters)
    generator = Streams(spec.seed).generator("study/design")
    if spec.design.kind == "sobol":
        # A power of two at least is drawn, so that the sequence keeps its balance; the first `points` of it are used.
        drawn = qmc.Sobol(dimensions, scramble=True, rng=generator).random_base2(max(0, math.ceil(math.log2(count))))
        cube: npt.NDArray[np.float64] = drawn[:count]
    else:
        cube = generator.random((count, dimensions))
    sides: list[dict[str, Scalar]] = [{}]
    if compare is not None:
        sides = [{compare.parameter: side} for side in (compare.a, compare.b)]
    found = []
    for row in cube:
        drawn_values = {p.label: _at(p, float(u)) for p, u in zip(parameters, row, strict=True)}
        for side in sides:
            values = drawn_values | side
            found.append(_variant(spec, tuple(values[p.label] for p in spec.parameters)))
    return tuple(found)


def _at(parameter: Parameter, part: float) -> Scalar:
    """The value below which `part` of the parameter's probability lies."""
    if parameter.distribution is not None:
        return quantile(parameter.distribution, part)
    known = levels(parameter)
    return known[min(len(known) - 1, int(part * len(known)))]


def quantile(distribution: Distribution, part: float) -> Scalar:
    """Inverse of the cumulated distribution: uniform, log-uniform or triangular."""
    low, high = amount(distribution.low), amount(distribution.high)
    assert low is not None  # the model has checked it
    assert high is not None
    width = high.value - low.value
    if distribution.log:
        value = low.value * (high.value / low.value) ** part
    elif distribution.mode is not None:
        mode = amount(distribution.mode)
        assert mode is not None
        left = (mode.value - low.value) / width
        if part < left:
            value = low.value + math.sqrt(part * width * (mode.value - low.value))
        else:
            value = high.value - math.sqrt((1 - part) * width * (high.value - mode.value))
    else:
        value = low.value + width * part
    inside = min(max(distinct(value, width / FINEST), low.value), high.value)
    drawn = written(inside, low.dimension, distribution.low)
    return _rounded(drawn) if distribution.whole else drawn


def _variant(spec: StudySpec, values: tuple[Scalar, ...]) -> Variant:
    settings: dict[str, Scalar] = dict(spec.settings)
    for parameter, value in zip(spec.parameters, values, strict=True):
        if parameter.choices is not None:
            settings.update(parameter.choices[str(value)])
        else:
            settings[parameter.path] = value
    named = tuple((p.label, value) for p, value in zip(spec.parameters, values, strict=True))
    return Variant(named, tuple(sorted(settings.items())))
