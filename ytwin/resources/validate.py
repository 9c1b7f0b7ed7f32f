"""What objects mean together: every cross-object problem at once."""

from __future__ import annotations

from collections.abc import Mapping

from ytwin.core.errors import Problem
from ytwin.resources.rules.report import CONSEQUENCES, Locator, Report
from ytwin.resources.snapshot import ObjectId, Snapshot

__all__ = ["CONSEQUENCES", "Locator", "validate"]


def validate(snapshot: Snapshot, where: Mapping[ObjectId, Locator]) -> list[Problem]:
    """Problems of a Snapshot, in the order of their places.

    `where` tells the place of each object of the input, also of those that were refused for problems of their own: a reference to
    such an object is not dangling. Objects without a place (made by code) are named instead.
    """
    report = Report(snapshot, where)
    return sorted(set(report.problems))
