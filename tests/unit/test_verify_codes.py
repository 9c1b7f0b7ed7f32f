"""Every finding that the code can make has its row in README.md, with its severities, and nothing else has."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]


def made() -> dict[str, set[str]]:
    """Code -> severities, from the calls that make Findings; `_shortened` makes warnings."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in (ROOT / "ytwin" / "verify").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
                continue
            code = node.args[0]
            if not isinstance(code, ast.Constant) or not isinstance(code.value, str):
                continue
            if node.func.id == "Finding" and isinstance(node.args[1], ast.Attribute):
                found[code.value].add(node.args[1].attr.lower())
            elif node.func.id == "_shortened":
                found[code.value].add("warning")
    return dict(found)


def listed() -> dict[str, set[str]]:
    table = (ROOT / "README.md").read_text().partition("## Findings")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return {row[0].strip("| `"): set(row[1].split(", ")) for row in rows}


def test_the_readme_lists_every_code_with_its_severities() -> None:
    assert made() == listed()
    assert len(listed()) > 20
