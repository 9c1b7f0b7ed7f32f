"""What the fields of a profile hold, asked of the model: the codec, the numbers by path and the table all go by this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, get_args

from ytwin.hardware.model import Mark, Part


@dataclass(frozen=True, slots=True)
class FieldForm:
    """One field of a Part as a reader and a writer need to know it."""

    name: str
    alias: str
    annotation: Any
    """With its constraints; what a field that is neither number nor Part is checked against."""
    default: Any
    required: bool
    mark: Mark | None
    """Of a number."""
    part: type[Part] | None
    """Of a field that holds a Part, or several."""
    many: bool


@cache
def forms(part: type[Part]) -> Mapping[str, FieldForm]:
    """Alias -> form of every field of a Part, in the order of the class."""
    found = {}
    for name, info in part.model_fields.items():
        mark = _mark_in(info.annotation, info.metadata)
        inner = None if mark is not None else _part_in(info.annotation)
        many = inner is not None and getattr(info.annotation, "__origin__", None) is tuple
        annotation: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        alias = info.alias or name
        found[alias] = FieldForm(name, alias, annotation, info.default, info.is_required(), mark, inner, many)
    return MappingProxyType(found)


def _mark_in(annotation: Any, metadata: Iterable[Any]) -> Mark | None:
    """The Mark of `Time` or, where the hardware may lack it, `Time | None`."""
    alternatives = (m for arg in get_args(annotation) for m in getattr(arg, "__metadata__", ()))
    return next((m for m in (*metadata, *alternatives) if isinstance(m, Mark)), None)


def _part_in(annotation: Any) -> type[Part] | None:
    """The Part in `Part`, `Part | None` or `tuple[Part, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _part_in(arg)) is not None), None)
