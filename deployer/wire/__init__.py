"""Holds the twin's answers against real traffic in a running lab.

`questions(twin, limits)` are the cells of `ytwin check`'s matrix, each with what the twin forecasts;
`verify_wire(lab, twin)` asks the wire the same and gives a WireReport.
A difference names the cell, both answers, and keeps evidence.
"""

from deployer.wire.question import Outcome, Question, questions
from deployer.wire.report import WireCell, WireReport
from deployer.wire.verify import Options, verify_wire

__all__ = ["Options", "Outcome", "Question", "WireCell", "WireReport", "questions", "verify_wire"]
