"""YAML text to plain trees that remember the line of every key and item.

Built from the parser's events without recursion, so that depth and alias expansion are bounded here and not by the
stack. Whatever stands in the text, the answer is a tree or a Problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from ytwin.core.errors import Location, Problem
from ytwin.resources.scalars import resolve_plain

MAX_DEPTH = 64
"""Of nested blocks; Kubernetes' own objects stay below 20."""
MAX_EXPANSION = 100_000
"""Values that all aliases of one file may add: enough for shared blocks, far below a "billion laughs"."""

Path = tuple[str | int, ...]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$-]+")


_REMEDIES = (
    ("tab character", "indent with spaces, never with tabs"),
    ("start any token", "indent with spaces, never with tabs; put a value that starts with @, ` or % in quotes"),
    ("mapping values", "the line above may lack its colon, or a value that holds ': ' needs quotes"),
    ("expected ':'", "write a colon and a blank after the key"),
    ("',' or", "close the bracket that was opened before, or add a comma"),
    ("block", "fields of one object start in the same column: check the indentation here and just above"),
    ("document start", "separate documents by a line of ---"),
    ("quoted scalar", "close the quotes"),
    ("anchor", "write the value out"),
)
"""Part of what the parser says -> what to do about it."""


class YamlMap(dict[str, Any]):
    """A mapping with the line (1-based) it starts on and the line of each key."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class YamlList(list[Any]):
    """A sequence with the line (1-based) it starts on and the line of each item."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


@dataclass(slots=True)
class Reading:
    """What one file gave: its documents as far as they could be read."""

    documents: list[tuple[int, Any]] = field(default_factory=list)
    """(line, tree)."""
    problems: list[Problem] = field(default_factory=list)
    whole: bool = True
    """False: something of the file is missing from `documents`."""


_LONGEST_PATH = 20


def path_text(path: Path) -> str:
    """`spec.ports[0].port`; keys that are no plain words stand in brackets: `metadata.annotations[example.com/x]`."""
    text = ""
    if len(path) > _LONGEST_PATH:
        path = (*path[:_LONGEST_PATH], "...")
    for part in path:
        if isinstance(part, str) and _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{shorten(str(part))}]"
    return text


def shorten(text: str, limit: int = 60) -> str:
    """A text of the input as it may stand in a message: one line, not longer than `limit`."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def line_of(tree: Any, path: Path, line: int = 0) -> int:
    """The line on which the value at `path` stands, or the nearest known one around it."""
    for part in path:
        inside_map = isinstance(tree, YamlMap) and part in tree
        inside_list = isinstance(tree, YamlList) and isinstance(part, int) and 0 <= part < len(tree)
        if not inside_map and not inside_list:
            break
        line, tree = tree.lines[part], tree[part]
    return line


def read_yaml(file: str, text: str) -> Reading:
    """Every document of a file. Problems: syntax, characters, duplicate or non-text keys, tags, depth, alias bombs."""
    reading = Reading()
    text = text.removeprefix("\ufeff")
    if found := _FORBIDDEN.search(text):
        line = text.count("\n", 0, found.start()) + 1
        message = f"character U+{ord(found.group()):04X} is not allowed in YAML"
        hint = "remove it; a YAML file is UTF-8 text without control characters"
        reading.problems.append(Problem(Location(file, line), "yaml", message, hint))
        reading.whole = False
        return reading
    builder = _Builder(file, reading)
    try:
        builder.consume(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark is not None else 0
        message = getattr(error, "problem", None) or str(error).splitlines()[0]
        context = getattr(error, "context", None)
        said = f"not valid YAML: {shorten(str(message), 200)}" + (f", {context}" if context else "")
        remedy = next((remedy for sign, remedy in _REMEDIES if sign in said), "correct the text here or just above")
        hint = f"{remedy}; what follows in this file was not read"
        reading.problems.append(Problem(Location(file, line), "yaml", said, hint))
        reading.whole = False
    except _GiveUp:
        reading.whole = False
    return reading


class _GiveUp(Exception):
    """The rest of the file cannot be judged; the problem is already recorded."""


_ABSENT: Any = object()
"""A frame's key while none is open."""


@dataclass(slots=True)
class _Frame:
    """An open mapping or sequence."""

    value: YamlMap | YamlList
    anchor: str | None
    started: int
    key: Any = _ABSENT
    key_line: int = 0
    merges: list[Any] = field(default_factory=list)


class _Builder:
    """Turns events into trees."""

    def __init__(self, file: str, reading: Reading) -> None:
        self.file = file
        self.reading = reading
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.open_anchors: set[str] = set()
        self.count = 0
        self.expanded = 0
        self.root: Any = _ABSENT
        self.root_line = 0

    def consume(self, events: Iterator[Any]) -> None:
        for event in events:
            kind = type(event)
            if kind is ScalarEvent:
                self.count += 1
                line = event.start_mark.line + 1
                value = event.value
                if event.tag is not None:
                    value = self.tagged(event, line)
                elif event.implicit[0]:
                    value = _MERGE_KEY if value == _MERGE else resolve_plain(value)
                if event.anchor is not None:
                    self.anchors[event.anchor] = (value, 1)
                self.put(value, line)
            elif kind in (MappingStartEvent, SequenceStartEvent):
                self.open(event, kind is MappingStartEvent)
            elif kind in (MappingEndEvent, SequenceEndEvent):
                self.close()
            elif kind is AliasEvent:
                self.alias(event)
            elif kind is DocumentEndEvent:
                self.end_document()

    def problem(self, line: int, code: str, message: str, hint: str, key: Any = _ABSENT) -> None:
        path = [_key_text(f.key) if isinstance(f.value, YamlMap) else len(f.value) for f in self.stack]
        if path and self.stack[-1].key is _ABSENT and path[-1] == "":
            path.pop()
        if key is not _ABSENT:
            path.append(_key_text(key))
        self.reading.problems.append(Problem(Location(self.file, line, path_text(tuple(path))), code, message, hint))

    def give_up(self, line: int, message: str, hint: str) -> None:
        self.problem(line, "yaml", message, hint)
        raise _GiveUp

    def open(self, event: Any, mapping: bool) -> None:
        self.count += 1
        line = event.start_mark.line + 1
        if len(self.stack) >= MAX_DEPTH:
            hint = "no Kubernetes object is; check the brackets and the indentation"
            self.give_up(line, f"nested more than {MAX_DEPTH} deep", hint)
        if event.tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
            self.bad_tag(event.tag, line)
        if event.anchor is not None:
            self.open_anchors.add(event.anchor)
        self.stack.append(_Frame(YamlMap(line) if mapping else YamlList(line), event.anchor, self.count))

    def close(self) -> None:
        frame = self.stack.pop()
        if frame.merges and isinstance(frame.value, YamlMap):
            _merge(frame.value, frame.merges)
        if frame.anchor is not None:
            self.open_anchors.discard(frame.anchor)
            self.anchors[frame.anchor] = (frame.value, self.count - frame.started + 1)
        self.put(frame.value, frame.value.line)

    def alias(self, event: Any) -> None:
        line = event.start_mark.line + 1
        name = shorten(event.anchor)
        if event.anchor in self.open_anchors:
            self.give_up(line, f"*{name} contains itself", "write the value out")
        if event.anchor not in self.anchors:
            self.give_up(line, f"*{name} has no anchor &{name} before it", "write the value out")
        value, weight = self.anchors[event.anchor]
        self.count += weight
        self.expanded += weight
        if self.expanded > MAX_EXPANSION:
            self.give_up(
                line, f"aliases of this file expand to more than {MAX_EXPANSION} values", "write the values out"
            )
        self.put(value, line)

    def put(self, value: Any, line: int) -> None:
        """A finished value goes to where it belongs: the root, a list, a key, or a key's value."""
        if not self.stack:
            self.root, self.root_line = (_MERGE if value is _MERGE_KEY else value), line
            return
        frame = self.stack[-1]
        target = frame.value
        if isinstance(target, YamlList):
            target.append(_MERGE if value is _MERGE_KEY else value)
            target.lines.append(line)
        elif frame.key is _ABSENT:
            frame.key, frame.key_line = value, line
        else:
            self.put_pair(frame, target, _MERGE if value is _MERGE_KEY else value, line)
            frame.key = _ABSENT

    def put_pair(self, frame: _Frame, target: YamlMap, value: Any, line: int) -> None:
        key = frame.key
        if key is _MERGE_KEY:
            sources = value if isinstance(value, YamlList) else [value]
            if all(isinstance(source, YamlMap) for source in sources):
                frame.merges += sources
            else:
                frame.key = _ABSENT
                self.problem(line, "yaml", "`<<` merges mappings only", "write the fields out", key=_MERGE)
        elif not isinstance(key, str):
            frame.key = _ABSENT
            message = f"{_key_text(key) or 'a mapping or list'} cannot be a key: YAML does not read it as text"
            self.problem(frame.key_line, "yaml", message, 'put the key in quotes: "..."')
        elif key in target:
            message = f"the key stands twice in one mapping, first on line {target.lines[key]}"
            frame.key = _ABSENT
            self.problem(frame.key_line, "duplicate-key", message, "keep one of them", key=key)
        else:
            target[key] = value
            target.lines[key] = frame.key_line

    def tagged(self, event: Any, line: int) -> Any:
        """The value of a scalar with an explicit tag."""
        tag, text = event.tag, event.value
        if tag in ("!", f"{_TAG}str"):
            return text
        value = resolve_plain(text)
        wanted = {"null": type(None), "bool": bool, "int": int, "float": float}.get(tag.removeprefix(_TAG))
        if wanted is None:
            self.bad_tag(tag, line)
        elif wanted is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        elif type(value) is not wanted:
            self.problem(line, "yaml", f"{shorten(text)!r} is no value of the tag {shorten(tag)}", "leave the tag out")
        return value

    def bad_tag(self, tag: str, line: int) -> None:
        self.problem(
            line, "yaml", f"the tag {shorten(tag)} is not for Kubernetes objects", "write a plain value without a tag"
        )

    def end_document(self) -> None:
        if self.root is not _ABSENT and self.root is not None:
            self.reading.documents.append((self.root_line, self.root))
        self.root = _ABSENT
        self.anchors.clear()


_MERGE_KEY: Any = object()
"""The value of a plain `<<`."""


def _key_text(key: Any) -> str:
    """A key as it may stand in a message; "" for none and for one that is no scalar."""
    if key is _MERGE_KEY:
        return _MERGE
    return "" if key is _ABSENT or isinstance(key, YamlMap | YamlList) else str(key)


def _merge(target: YamlMap, sources: list[Any]) -> None:
    """What a mapping says itself wins over what it merges; earlier sources win over later ones."""
    for source in sources:
        for key, value in source.items():
            if key not in target:
                target[key] = value
                target.lines[key] = source.lines[key]
