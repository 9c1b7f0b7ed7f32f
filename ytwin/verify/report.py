"""What `check` finds: one Cell per client and address, Findings, and the Report of both. Values that print themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ytwin.core.tables import format_table
from ytwin.datapath import Overrun

REACHABLE = "reachable"
UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class BackendResult:
    """One backend that the load balancer could choose; `forward` and `reply` are verdicts ("" when not reached)."""

    name: str
    forward: str
    reply: str
    client_seen_as: str
    """Source that the backend saw, "IP:PORT"."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One question of the matrix: may `client` reach `address:port`, and does it?"""

    client: str
    service: str
    """"namespace/name", or "isolation:SUBNET" for a direct packet to a workload of another VPC."""
    address: str
    port: int
    protocol: str
    expected: str
    """"reachable" or "unreachable", from the scenario alone."""
    verdict: str
    """A value of `ytwin.trace.types.Verdict`."""
    backends: tuple[BackendResult, ...]
    reason: str
    """Why it is expected so when it holds; which flow and row are to blame when it does not."""
    holds: bool
    overruns: tuple[Overrun, ...] = ()
    """Walks that the flows would deliver and a node's datapath drops, because they pass through it too often."""

    def to_json(self) -> dict[str, Any]:
        """The documented JSON form."""
        return {
            "client": self.client,
            "service": self.service,
            "address": self.address,
            "port": self.port,
            "protocol": self.protocol,
            "expected": self.expected,
            "verdict": self.verdict,
            "backends": [
                {"name": b.name, "forward": b.forward, "reply": b.reply, "client_seen_as": b.client_seen_as}
                for b in self.backends
            ],
            "reason": self.reason,
            "holds": self.holds,
        }


class Severity(StrEnum):
    """`error` makes the check fail; `warning` and `info` do not."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One lint's result. `object` is a Kubernetes object ("YusurService/default/web") or a Northbound row."""

    code: str
    severity: Severity
    object: str
    message: str

    def to_json(self) -> dict[str, str]:
        """The documented JSON form."""
        return {"code": self.code, "severity": self.severity.value, "object": self.object, "message": self.message}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a Report is about, in numbers, and what nobody was asked about."""

    clients: int = 0
    services: int = 0
    addresses: int = 0
    """Address, port and protocol of Services."""
    backends: int = 0
    """Different ones that were tried."""
    isolation_pairs: int = 0
    """Client and address of another VPC."""
    left_out: tuple[str, ...] = ()
    """Sentences for people."""

    def to_json(self) -> dict[str, Any]:
        """The documented JSON form."""
        return {
            "clients": self.clients,
            "services": self.services,
            "addresses": self.addresses,
            "backends": self.backends,
            "isolation_pairs": self.isolation_pairs,
            "left_out": list(self.left_out),
        }

    def __str__(self) -> str:
        numbers = (
            f"asked: {self.clients} clients, {self.services} Services with {self.addresses} addresses and ports, "
            f"{self.backends} backends, {self.isolation_pairs} pairs for isolation"
        )
        return "\n".join((numbers, *(f"left out: {what}" for what in self.left_out)))


@dataclass(frozen=True)
class Report:
    """The whole answer of `check`."""

    cells: tuple[Cell, ...]
    findings: tuple[Finding, ...]
    asked: Asked = Asked()

    @property
    def failures(self) -> tuple[Cell, ...]:
        """Cells where expected and traced differ."""
        return tuple(cell for cell in self.cells if not cell.holds)

    @property
    def holds(self) -> bool:
        """Every cell is as expected and no finding is an error."""
        return not self.failures and not any(f.severity is Severity.ERROR for f in self.findings)

    def to_json(self) -> Mapping[str, Any]:
        """`{"cells": [...], "findings": [...], "holds": bool, "asked": {...}}`."""
        return {
            "cells": [cell.to_json() for cell in self.cells],
            "findings": [finding.to_json() for finding in self.findings],
            "holds": self.holds,
            "asked": self.asked.to_json(),
        }

    def __str__(self) -> str:
        rows = [
            (c.client, c.service, f"{c.address}:{c.port}", c.protocol, c.expected, c.verdict, len(c.backends))
            for c in self.cells
        ]
        header = ("client", "service", "address", "protocol", "expected", "verdict", "backends")
        findings = [(f.severity.value, f.code, f.object, f.message) for f in self.findings]
        return format_table(header, rows) + "\n\n" + format_table(("severity", "code", "object", "message"), findings)
