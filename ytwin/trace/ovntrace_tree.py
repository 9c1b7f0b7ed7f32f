"""The lines that ovn-trace prints, as a tree, and its two forms of printing it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ytwin.logical.fields import CT_STATE_BITS
from ytwin.logical.southbound import DatapathId, LogicalFlow

ACTION, ERROR, OUTPUT, MODIFY = "action", "error", "output", "modify"
TABLE, PIPELINE, TRANSFORMATION = "table", "pipeline", "transformation"
_LEAVES = frozenset({ACTION, ERROR, OUTPUT, MODIFY})
_TITLES = frozenset({PIPELINE, TRANSFORMATION})


@dataclass(slots=True)
class Node:
    """A line of the output and what stands under it."""

    kind: str
    text: str
    always_indent: bool = False
    subs: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """A table that was passed: the flow that matched, None for none."""

    datapath: DatapathId
    pipeline: str
    table: int
    flow: LogicalFlow | None


def normalize(text: str) -> str:
    """Output of the program without what depends on the database's UUIDs and on northd's source lines."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    cleaned = [re.sub(r" \(northd\.c:\d+\):", ":", re.sub(r", uuid [0-9a-f]{8}$", "", line)) for line in lines]
    return "\n".join(line.rstrip() for line in cleaned).strip("\n")


def render(roots: list[Node]) -> str:
    """The detailed form: one line per node, deeper where ovn-trace indents."""
    lines: list[str] = []
    stack: list[tuple[Node, int, bool]] = [(n, 0, i == len(roots) - 1) for i, n in reversed(list(enumerate(roots)))]
    while stack:
        node, level, last = stack.pop()
        if node.kind == MODIFY:
            continue
        more = int(not last or node.always_indent or node.kind in _LEAVES)
        indent = " " * ((level + more) * 4)
        if node.kind in _TITLES:
            lines += ["", indent + node.text, indent + "-" * len(node.text)]
        else:
            lines.append(indent + node.text)
        count = len(node.subs)
        stack += [(n, level + 2 * more, i == count - 1) for i, n in reversed(list(enumerate(node.subs)))]
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def minimal(roots: list[Node]) -> str:
    """The minimal form: only what can be seen from outside."""
    lines: list[str] = []

    def show(nodes: list[Node], level: int) -> None:
        stack = list(reversed(nodes))
        while stack:
            node = stack.pop()
            if node.kind in (ACTION, PIPELINE, TABLE, OUTPUT):
                stack += reversed(node.subs)
                continue
            indent = " " * (level * 4)
            kept = _visible(node.subs)
            if kept:
                lines.append(f"{indent}{node.text} {{")
                show(node.subs, level + 1)
                lines.append(f"{indent}}};")
            else:
                lines.append(f"{indent}{node.text};")

    show(roots, 0)
    return "\n".join(lines)


def _visible(nodes: list[Node]) -> bool:
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node.kind not in (ACTION, PIPELINE, TABLE, OUTPUT):
            return True
        stack += node.subs
    return False


def ct_names(state: int) -> str:
    """ct_state as ovn-trace prints it."""
    return "|".join(name for name, bit in CT_STATE_BITS.items() if state & (1 << bit)) or "0"


def child(into: list[Node], kind: str, text: str) -> Node:
    """A new last line, for more lines to stand under it."""
    node = Node(kind, text)
    into.append(node)
    return node
