"""Making frozen objects from parts that are known to be valid, without validating each again.

A reconcile of 10,000 Services makes some 300,000 objects; pydantic's validation (and its `model_construct`) would be most of the
time. What is built here consists of values that came out of validated objects, so there is nothing left to find.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

_set = object.__setattr__


def construct(cls: type[M], **fields: Any) -> M:
    """An instance with *all* fields of the class given, in the order of the class, under their Python names."""
    return _assemble(cls, fields, _all_fields(cls))


@cache
def _all_fields(cls: type[BaseModel]) -> set[str]:
    """One set for all instances of a frozen class, which nothing changes."""
    return set(cls.model_fields)


def replaced(model: M, **changes: Any) -> M:
    """The model with some fields changed; everything else is shared."""
    return _assemble(type(model), {**model.__dict__, **changes}, model.model_fields_set | changes.keys())


def _assemble(cls: type[M], fields: dict[str, Any], fields_set: set[str]) -> M:
    """What pydantic's own `model_construct` sets, no more: https://docs.pydantic.dev/latest/concepts/models/."""
    made = cls.__new__(cls)
    _set(made, "__dict__", fields)
    _set(made, "__pydantic_fields_set__", fields_set)
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made
