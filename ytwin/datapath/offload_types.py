"""What an offload verdict is. Made by `datapath.offload.judge_offload`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from frozendict import frozendict

from ytwin.datapath.program import Direction, Phase, Program
from ytwin.hardware.model import OffloadRule
from ytwin.logical.southbound import LogicalFlow


class Outcome(StrEnum):
    """From best to worst."""

    OFFLOADED = "offloaded"
    """Also the first packet."""
    FIRST_SOFTWARE = "first packet only in software"
    """Those before the connection is established, and those that end it."""
    SOFTWARE = "software"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something stays in software: the rule of the card, and what in the path meets it."""

    code: str
    rule: OffloadRule
    chassis: str
    phase: Phase
    what: str
    """One sentence: operation or field, with its values."""
    stage: str
    datapath: str
    """Logical switch or router; "" if no flow is the cause."""
    flow: LogicalFlow | None
    """The flow that asks for it; None: the datapath itself, or the card does nothing at all."""
    outcome: Outcome = Outcome.SOFTWARE
    """What this reason alone makes of the path on its chassis."""
    rows: tuple[str, ...] = ()
    """Northbound rows that make the flow exist: its `source`, or, where it has none, what makes its stage do something; see
    `datapath.rows`; without a flow, that of the port. Empty where neither is the cause, or nobody looked."""

    @property
    def source(self) -> str:
        """Northbound row, "" if there is none."""
        return self.flow.source if self.flow is not None else ""


@dataclass(frozen=True, slots=True)
class OffloadVerdict:
    """One path, one direction, on the cards of the chassis that it visits."""

    client: str
    destination: str
    backend: str
    protocol: str
    direction: Direction
    outcome: Outcome
    """The worst of `by_chassis`."""
    by_chassis: frozendict[str, Outcome]
    cards: frozendict[str, str]
    """Chassis -> name of its hardware profile."""
    reasons: tuple[Reason, ...]
    """All of them, worst effect first; empty only if `outcome` is OFFLOADED."""
    programs: tuple[Program, ...]
    """Of this direction, by phase."""
