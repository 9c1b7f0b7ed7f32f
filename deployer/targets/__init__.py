"""Targets: one module and one line here each. A module is imported when its target is asked for, not before."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import cast

from deployer.target import DEFAULT_DEPLOYMENT, Target
from ytwin.core.errors import YtwinError

TARGETS = {
    "fake": "deployer.targets.fake:FakeTarget",
    "mininet": "deployer.targets.mininet:MininetTarget",
    "ovsdb": "deployer.targets.ovsdb:OvsdbTarget",
}
"""Name on the command line -> class with `open(options) -> Target`."""


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """What the command line says about a target; each takes what it needs. Paths of keys are names of files, never keys."""

    deployment: str = DEFAULT_DEPLOYMENT
    db: str = ""
    private_key: str = field(default="", repr=False)
    certificate: str = ""
    ca_cert: str = ""
    lab: str = ""
    file: str = ""
    timeout_s: float = 60.0


def open_target(name: str, options: TargetOptions) -> Target:
    """The target of that name; YtwinError if there is none or if it cannot be reached."""
    if name not in TARGETS:
        raise YtwinError(f"no target {name!r}; there are {', '.join(TARGETS)}")
    module, _, attribute = TARGETS[name].partition(":")
    return cast(Target, getattr(import_module(module), attribute).open(options))
