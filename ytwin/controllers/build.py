"""Making frozen objects from parts that are known to be valid, without validating each again.

A reconcile of 10,000 Services makes some 300,000 objects; pydantic's validation (and its `model_construct`) would be most of the
time. What is built here consists of values that came out of validated objects, so there is nothing left to find.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

_new = object.__new__
_slots: Any = vars(BaseModel)
# The four slots of every pydantic model, set past its own __setattr__, which refuses; this is what `model_construct` sets.
_set_fields = _slots["__dict__"].__set__
_set_names = _slots["__pydantic_fields_set__"].__set__
_set_extra = _slots["__pydantic_extra__"].__set__
_set_private = _slots["__pydantic_private__"].__set__


def construct(cls: type[M], /, **fields: Any) -> M:
    """An instance with *all* fields of the class given, in the order of the class, under their Python names."""
    made = _new(cls)
    _set_fields(made, fields)
    _set_names(made, _all_fields(cls))
    _set_extra(made, None)
    _set_private(made, None)
    return made


@cache
def _all_fields(cls: type[BaseModel]) -> set[str]:
    """One set for all instances of a frozen class, which nothing changes."""
    return set(cls.model_fields)


def replaced(model: M, /, **changes: Any) -> M:
    """The model with some fields changed; everything else is shared."""
    made = construct(type(model), **{**model.__dict__, **changes})
    _set_names(made, model.model_fields_set | changes.keys())
    return made
