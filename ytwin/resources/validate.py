"""What objects mean together: every cross-object problem at once."""

from __future__ import annotations

from collections.abc import Mapping

from ytwin.core.errors import Problem
from ytwin.resources.rules import attachments, gateways, names, network, services, vips
from ytwin.resources.rules.report import CONSEQUENCES, Locator, Report
from ytwin.resources.snapshot import ObjectId, Snapshot

RULES = (
    names.check,
    names.check_references,
    network.check,  # parses the Subnets; what follows uses them
    gateways.check,
    attachments.check,
    services.check,
    vips.check,
)

__all__ = ["CONSEQUENCES", "Locator", "validate"]


def validate(snapshot: Snapshot, where: Mapping[ObjectId, Locator]) -> list[Problem]:
    """Problems of a Snapshot, in the order of their places.

    `where` tells the place of each object of the input, also of those that were refused for problems of their own: a reference to
    such an object is not dangling. Objects without a place (made by code) are named instead.
    """
    report = Report(snapshot, where)
    for rule in RULES:
        rule(report)
    return sorted(set(report.problems))
