"""What a plain YAML scalar means: one function that the reader and the writer share, so that what is written comes back.

YAML 1.1 as kubectl reads it (yes/no/on/off are booleans, a leading 0 is octal) without base 60 and without dates, which
stay text: a MAC address or a time needs no quotes.
"""

from __future__ import annotations

import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {"": None, "~": None}
for _value, _spelled in ((None, "null"), (True, "true yes on"), (False, "false no off")):
    for _word in _spelled.split():
        _WORDS.update({_word: _value, _word.capitalize(): _value, _word.upper(): _value})

_NUMBER_STARTS = frozenset("+-.0123456789")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_OCTAL = re.compile(r"[-+]?0o?([0-7_]*[0-7])")
_HEXADECIMAL = re.compile(r"[-+]?0x([0-9a-fA-F_]*[0-9a-fA-F])")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LONGEST_NUMBER = 100
"""Characters. Longer runs of digits stay text: nothing in a topology is that large, and converting them takes quadratic time."""


def resolve_plain(text: str) -> Scalar:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS or len(text) > _LONGEST_NUMBER:
        return text
    return _number(text)


def _number(text: str) -> Scalar:
    sign = -1 if text[0] == "-" else 1
    if _INTEGER.fullmatch(text):
        return int(text.replace("_", ""))
    if match := _OCTAL.fullmatch(text):
        return sign * int(match[1].replace("_", ""), 8)
    if match := _HEXADECIMAL.fullmatch(text):
        return sign * int(match[1].replace("_", ""), 16)
    if match := _SPECIAL.fullmatch(text):
        return float("nan") if match[3] else sign * float("inf")
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text
