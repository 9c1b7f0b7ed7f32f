"""What a study says: frozen, strict, camelCase outside. What each field means is said here; `definition` reads it from YAML."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator
from pydantic.alias_generators import to_camel

from ytwin.study.amounts import amount, condition, ladder, same_value

Engine = Literal["analytic", "fast", "reference"]
Scalar = StrictStr | StrictBool | StrictInt | StrictFloat
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Part(BaseModel):
    """Strict: an unknown field is an error that says where it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Generate(Part):
    """A topology drawn from a seed: what `ytwin generate` takes. `plain`: IPv4 ClusterIP Services over Pods, evenly."""

    nodes: Count = 3
    vpcs: Count = 1
    subnets: Count = 3
    services: Annotated[int, Field(ge=0, le=100_000)] = 1
    backends: Annotated[int, Field(ge=0, le=1000)] = 2
    seed: Annotated[int, Field(ge=0)] = 0
    plain: bool = True


class Topology(Part):
    """Where the cluster is from: files and folders, relative to the study's file, or `generate`."""

    files: tuple[str, ...] = ()
    generate: Generate | None = None

    @model_validator(mode="after")
    def _one(self) -> Topology:
        if bool(self.files) == (self.generate is not None):
            raise ValueError("give either `files` or `generate`")
        return self


class Route(Part):
    """Who calls what, as for `ytwin trace`."""

    client: str = Field(alias="from")
    to: str
    protocol: Literal["", "tcp", "udp", "sctp"] = ""


class Range(Part):
    """`steps` values from `from` to `to`, both included, such as `64 B` or `1 kpps`."""

    start: Scalar = Field(alias="from")
    end: Scalar = Field(alias="to")
    steps: Annotated[int, Field(ge=2, le=10_000)]
    whole: bool = False
    """Rounded to whole numbers, each once; so it is where the path counts something (Services, connections)."""

    @model_validator(mode="after")
    def _one_dimension(self) -> Range:
        ladder(self.start, self.end, self.steps, log=False)
        return self


class LogRange(Range):
    """Each value is the same factor above the one before."""

    @model_validator(mode="after")
    def _positive(self) -> LogRange:
        ladder(self.start, self.end, self.steps, log=True)
        return self


class Distribution(Part):
    """A parameter drawn by chance, between `low` and `high`; with `mode`, triangular. `log`: its logarithm is drawn."""

    low: Scalar
    high: Scalar
    mode: Scalar | None = None
    log: bool = False
    whole: bool = False
    """As of `Range`."""

    @model_validator(mode="after")
    def _sane(self) -> Distribution:
        ladder(self.low, self.high, 2, log=self.log)
        if self.mode is not None:
            if self.log:
                raise ValueError("`mode` and `log` do not go together")
            ladder(self.low, self.mode, 2, log=False, may_be_equal=True)
            ladder(self.mode, self.high, 2, log=False, may_be_equal=True)
        return self


class Parameter(Part):
    """One thing that is changed. Exactly one of `values`, `range`, `logRange`, `distribution`, `choices`."""

    path: str = ""
    """What it is: see `paths`. Empty with `choices`."""
    name: str = ""
    """Of its column; the path where it is left out."""
    values: tuple[Scalar, ...] | None = None
    range: Range | None = None
    log_range: LogRange | None = None
    distribution: Distribution | None = None
    choices: dict[str, dict[str, Scalar]] | None = None
    """Label -> path -> value: several paths that change together."""

    @model_validator(mode="after")
    def _one_way(self) -> Parameter:
        given = [self.values, self.range, self.log_range, self.distribution, self.choices]
        if sum(way is not None for way in given) != 1:
            raise ValueError("give exactly one of values, range, logRange, distribution, choices")
        if self.values is not None and not self.values:
            raise ValueError("`values` is empty")
        for index, value in enumerate(self.values or ()):
            for other in (self.values or ())[:index]:
                if same_value(other, value):
                    raise ValueError(f"`values` names one twice: {other} is {value}")
        if self.choices is not None and (self.path or not self.name or not self.choices):
            raise ValueError("`choices` need a `name`, have no `path`, and are at least one")
        if self.choices is None and not self.path:
            raise ValueError("which `path` is changed?")
        return self

    @property
    def label(self) -> str:
        """Name of the column."""
        return self.name or self.path

    @property
    def paths(self) -> tuple[str, ...]:
        """All that it sets, with some choice at least."""
        of_choices = (path for choice in (self.choices or {}).values() for path in choice)
        return tuple(dict.fromkeys((*((self.path,) if self.path else ()), *of_choices)))


class Design(Part):
    """Which combinations are run. grid: all; random, sobol: `points` of them (Sobol: scrambled, a power of two spreads best),
    each with both sides of what is compared."""

    kind: Literal["grid", "random", "sobol"] = "grid"
    points: Annotated[int, Field(ge=1, le=100_000)] | None = None

    @model_validator(mode="after")
    def _counted(self) -> Design:
        if (self.points is None) != (self.kind == "grid"):
            raise ValueError("`points` belongs to random and sobol, and they need it")
        return self


class Replications(Part):
    """How often each point is run with other chance. More than `atLeast` only while the interval of `metric` is too wide."""

    at_least: Annotated[int, Field(ge=1, le=10_000)] = 1
    at_most: Annotated[int, Field(ge=1, le=10_000)] | None = None
    metric: str = ""
    half_width: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*%$")] = "5 %"
    """Of the mean."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95

    @model_validator(mode="after")
    def _sane(self) -> Replications:
        if self.at_most is not None and (self.at_most < self.at_least or self.at_least < 2 or not self.metric):
            raise ValueError("`atMost` needs a `metric` to look at, and `atLeast` of 2 or more, not above `atMost`")
        if self.at_most is None and self.metric:
            raise ValueError("`metric` is looked at only with `atMost`")
        return self

    @property
    def relative(self) -> float:
        """Half of the interval that is wanted, as a part of the mean."""
        return float(self.half_width.rstrip("% ")) / 100


FINEST: Final = 1e-7
"""Tolerance: a search tries values of nine digits."""


class Limit(Part):
    """The highest value of a parameter for which all conditions hold; they must hold below it and fail above it."""

    parameter: str
    """A path, not one of `parameters`."""
    start: Scalar = Field(alias="from")
    end: Scalar = Field(alias="to")
    conditions: Annotated[tuple[str, ...], Field(alias="while", min_length=1)]
    """Such as `latency_p99 < 1 ms`, `loss < 0.01 %`."""
    tolerance: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*%$")] = "1 %"
    whole: bool = False
    """Only whole numbers (Services, nodes); so it is where the parameter counts something."""

    @model_validator(mode="after")
    def _readable(self) -> Limit:
        ladder(self.start, self.end, 2, log=False)
        for text in self.conditions:
            condition(text)
        if self.relative <= 0:
            raise ValueError("a tolerance of 0 % is never reached; write 1 %")
        if self.relative < FINEST:
            raise ValueError(f"a tolerance finer than {100 * FINEST:g} % is not reached; write 1 %")
        return self

    @property
    def relative(self) -> float:
        """Tolerance as a part of the value."""
        return float(self.tolerance.rstrip("% ")) / 100


class Compare(Part):
    """Variant `b` of a parameter against variant `a`, everything else equal, chance included."""

    parameter: str
    """The label of one of `parameters`."""
    a: Scalar
    b: Scalar


class Sensitivity(Part):
    """Which uncertain profile number moves the answer most: each is put to the ends of its interval, alone."""

    of: str
    """A metric, or `limit`."""


class Goal(Part):
    """What is asked. Without `limit` the answer of a variant is its metrics; with it, the limit. `compare` and `sensitivity`
    look at either."""

    metrics: tuple[str, ...] = ()
    """The first is what the answer is about; all that the model gives where it is left out."""
    best: Literal["", "highest", "lowest"] = ""
    """Which variant is best by the first metric (or the limit): named in the answer."""
    limit: Limit | None = None
    compare: Compare | None = None
    sensitivity: Sensitivity | None = None


class Plot(Part):
    """One picture: lines of `y` over `x`, one per value of `by`; bars where x is not a number. `y: limit` with a limit."""

    x: str
    y: str
    by: str = ""
    only: dict[str, Scalar] = Field(default_factory=dict)
    """Parameter -> value: the variants that are drawn; all where left out."""
    log_x: bool = False
    log_y: bool = False
    title: str = ""


class StudySpec(Part):
    """Everything but the name."""

    question: Annotated[str, Field(min_length=1)]
    method: str = ""
    topology: Topology
    route: Route | None = Field(alias="path", default=None)
    model: str = "path"
    """Which evaluator: see `evaluate.MODELS`."""
    cards: dict[str, str] = {}
    """Node (or a pattern such as `node*`) -> profile; where left out, what its NetworkCard means."""
    profiles: tuple[str, ...] = ()
    """Files of further hardware profiles, relative to the study's file."""
    load: dict[str, Any] = {}
    """As for `ytwin predict`."""
    settings: dict[str, Scalar] = {}
    """Path -> value, for every point."""
    parameters: tuple[Parameter, ...] = ()
    design: Design = Design()
    replications: Replications | None = None
    uncertainty: Literal["fixed", "drawn"] | None = None
    """drawn: every replication draws every profile number that has an interval from it, the same for all variants. Default:
    drawn where a comparison is made with formulas alone, else fixed."""
    common_random_numbers: bool = True
    """Whether all variants have the same chance; else each has its own, which all that a search tries of one variant shares."""
    engine: Engine = "analytic"
    seed: Annotated[int, Field(ge=0)] = 1
    goal: Goal = Goal()
    plots: tuple[Plot, ...] = ()

    @property
    def draws(self) -> bool:
        """Whether profile numbers are drawn."""
        if self.uncertainty is None:
            return self.goal.compare is not None and self.engine == "analytic" and self.replications is None
        return self.uncertainty == "drawn"

    @property
    def repeats(self) -> Replications:
        """As given; where left out, 100 draws (20 where each is a search), 5 runs of an engine, or one calculation."""
        if self.replications is not None:
            return self.replications
        draws = 100 if self.goal.limit is None else 20
        return Replications(at_least=draws if self.draws else 1 if self.engine == "analytic" else 5)


class Study(Part):
    """A study; what it reads besides (topology, profiles) comes with it as `points.Inputs`."""

    name: str
    file: str
    spec: StudySpec


__all__ = [
    "Compare",
    "Design",
    "Distribution",
    "Generate",
    "Goal",
    "Limit",
    "LogRange",
    "Parameter",
    "Part",
    "Plot",
    "Range",
    "Replications",
    "Route",
    "Scalar",
    "Sensitivity",
    "Study",
    "StudySpec",
    "Topology",
    "amount",
]
