"""What a verification on the wire found: one WireCell per question, and the whole as text, JSON or JUnit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from deployer.wire.question import Outcome, Question
from ytwin.core.tables import format_table

AGREE, DIFFER, UNJUDGED = "agree", "differ", "not judged"


@dataclass(frozen=True, slots=True)
class WireCell:
    """One question and what connections on the wire did."""

    question: Question
    seen: Mapping[Outcome, int]
    """Outcome -> number of connections that ended so."""
    state: str
    """agree, differ or "not judged"."""
    reason: str
    """Where they differ, or why it was not judged."""
    seconds: float = 0.0
    evidence: str = ""
    """Folder with what was kept about a difference."""

    @property
    def connections(self) -> int:
        return sum(self.seen.values())

    def to_json(self) -> dict[str, Any]:
        """The documented JSON form."""
        return {
            "client": self.question.client,
            "service": self.question.service,
            "address": self.question.address,
            "port": self.question.port,
            "protocol": self.question.protocol,
            "state": self.state,
            "reason": self.reason,
            "twin": {
                "verdict": self.question.verdict,
                "outcomes": [_json(outcome) for outcome in sorted(self.question.forecast)],
                "reason": self.question.reason,
            },
            "wire": {
                "connections": self.connections,
                "outcomes": [{**_json(outcome), "connections": count} for outcome, count in sorted(self.seen.items())],
                "miss_probability": self.question.miss_probability(self.connections),
            },
            "evidence": self.evidence,
        }

    def explain(self) -> str:
        """Both answers, for people."""
        lines = [self.question.name, f"  twin: {self.question.verdict}"]
        lines += [f"    {outcome}" for outcome in sorted(self.question.forecast)]
        lines += [f"    because {self.question.reason}", f"  wire: {self.connections} connections"]
        lines += [f"    {count} x {outcome}" for outcome, count in sorted(self.seen.items())]
        lines.append(f"  {self.state}: {self.reason}" if self.reason else f"  {self.state}")
        if self.evidence:
            lines.append(f"  evidence: {self.evidence}")
        return "\n".join(lines)


@dataclass(frozen=True)
class WireReport:
    """All cells of one verification."""

    cells: tuple[WireCell, ...]
    seconds: float
    notes: tuple[str, ...] = field(default=())

    @property
    def mismatches(self) -> tuple[WireCell, ...]:
        return tuple(cell for cell in self.cells if cell.state == DIFFER)

    @property
    def holds(self) -> bool:
        """No cell differs."""
        return not self.mismatches

    @property
    def connections(self) -> int:
        return sum(cell.connections for cell in self.cells)

    @property
    def miss_probability(self) -> float:
        """Bound on the probability that any backend stayed unseen by chance in any cell that agrees."""
        return min(1.0, sum(c.question.miss_probability(c.connections) for c in self.cells if _incomplete(c)))

    def to_json(self) -> dict[str, Any]:
        """`{"cells": [...], "holds": bool, ...}`."""
        return {
            "cells": [cell.to_json() for cell in self.cells],
            "counts": dict(Counter(cell.state for cell in self.cells)),
            "connections": self.connections,
            "seconds": round(self.seconds, 3),
            "holds": self.holds,
            "notes": list(self.notes),
        }

    def to_junit(self) -> str:
        """JUnit XML: a testcase per cell."""
        counts = Counter(cell.state for cell in self.cells)
        suite = ElementTree.Element(
            "testsuite",
            name="ytwin wire",
            tests=str(len(self.cells)),
            failures=str(counts[DIFFER]),
            skipped=str(counts[UNJUDGED]),
            time=f"{self.seconds:.3f}",
        )
        for cell in self.cells:
            case = ElementTree.SubElement(
                suite, "testcase", classname=cell.question.service, name=cell.question.name, time=f"{cell.seconds:.3f}"
            )
            if cell.state == DIFFER:
                ElementTree.SubElement(case, "failure", message=cell.reason).text = cell.explain()
            elif cell.state == UNJUDGED:
                ElementTree.SubElement(case, "skipped", message=cell.reason)
        return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)

    def __str__(self) -> str:
        counts = Counter(cell.state for cell in self.cells)
        rows = [
            (
                c.question.client,
                c.question.service,
                f"{c.question.address} {c.question.port}/{c.question.protocol}",
                c.question.verdict,
                ", ".join(sorted({o.backend or o.kind for o in c.seen})) or "-",
                c.connections,
                c.state,
            )
            for c in self.cells
        ]
        table = format_table(("client", "service", "address", "twin", "wire", "connections", "state"), rows)
        differences = "".join(f"\n{cell.explain()}\n" for cell in self.mismatches)
        unjudged = Counter(cell.reason for cell in self.cells if cell.state == UNJUDGED)
        why = "".join(f"\nnot judged: {count} cells: {reason}" for reason, count in unjudged.items())
        notes = "".join(f"\n{note}" for note in self.notes)
        return (
            f"{table}\n{differences}\n{len(self.cells)} cells: {counts[AGREE]} agree, {counts[DIFFER]} differ, "
            f"{counts[UNJUDGED]} not judged; {self.connections} connections in {self.seconds:.1f} s{why}{notes}"
        )


def _incomplete(cell: WireCell) -> bool:
    return cell.state == AGREE and not cell.question.forecast <= cell.seen.keys()


def _json(outcome: Outcome) -> dict[str, str]:
    return {
        "kind": outcome.kind,
        "backend": outcome.backend,
        "client_seen_as": outcome.seen_as,
        "reply_source": outcome.source,
    }
