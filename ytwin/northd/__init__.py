"""OVN's own northd, for the tables these topologies use: Northbound in, Southbound (logical flows) out. Pure.

Its output is identical to stock ovn-northd 23.03.1's; `experiments.conformance` proves it against the real one. Chassis are
unbound (`PortBinding.chassis == ""`), all chassis are taken to have the features of 23.03, and the order of flows carries no
meaning. What northd knows and this room does not is refused with Unsupported, never left out.
"""

from __future__ import annotations

from ytwin.core.memo import Memo
from ytwin.logical.southbound import Southbound
from ytwin.northbound.rows import Northbound
from ytwin.northd.collect import Collector
from ytwin.northd.model import resolve
from ytwin.northd.router import router_flows
from ytwin.northd.southbound import assemble
from ytwin.northd.switch import switch_flows

__all__ = ["northd"]


def northd(nb: Northbound, memo: Memo | None = None) -> Southbound:
    """The Southbound of a Northbound; with a memo, what did not change since its last generation is not computed again."""
    model = resolve(nb, Memo() if memo is None else memo)
    collector = Collector()
    switch_flows(model, collector)
    router_flows(model, collector)
    return assemble(model, collector.done())
