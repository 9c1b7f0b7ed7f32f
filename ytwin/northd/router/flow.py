"""A router's flow before it is known which routers share it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ytwin.logical.southbound import LogicalFlow
from ytwin.northd.addresses import Net
from ytwin.northd.collect import Flows, Group
from ytwin.northd.stages import Stage

DROP = "drop;"


class Flow(NamedTuple):
    """One logical flow; `source` is the Northbound row's key as text."""

    stage: Stage
    priority: int
    match: str
    actions: str
    source: str = ""


def default_drop(stage: Stage) -> Flow:
    """The flow that drops what nothing else of the stage matched."""
    return Flow(stage, 0, "1", DROP)


def is_link_local(version: int, net: Net) -> bool:
    """Whether a network lies in fe80::/64, the only link-local one that northd knows."""
    return version == 6 and net.network_value >> 64 == 0xFE80 << 48


def rows(where: Group, flows: Iterable[Flow]) -> tuple[LogicalFlow, ...]:
    """The flows as rows of the datapaths `where`."""
    made = Flows()
    for flow in flows:
        made.add(where, *flow)
    return made.done()
