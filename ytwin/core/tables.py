"""Plain text tables: the golden file, the `get` command and the debug dump are this text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def format_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Left-aligned columns two spaces apart, header in capitals, no trailing blanks; ends without a newline."""
    text = [[str(cell) for cell in row] for row in rows]
    head = [name.upper() for name in header]
    widths = [max(len(r[i]) for r in [head, *text]) for i in range(len(head))]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *text])
    return "\n".join(lines)
