"""Which Northbound rows are behind a logical flow, also where the flow itself names none.

ovn-northd writes many flows once per datapath, whatever made it write them: one load balancer on a switch sends all of the
switch's IP traffic through conntrack, by flows that name no load balancer. `Rows` says which rows those are: the ones whose
removal would take the flow's stage out of use.
"""

from __future__ import annotations

from collections import defaultdict

from ytwin.logical.southbound import DatapathId, LogicalFlow, Southbound

_TABLE_OF = {"switch": "Logical_Switch", "router": "Logical_Router"}
_BALANCING = ("_lb", "pre_stateful", "stateful", "hairpin", "pre_acl", "_acl")
"""Parts of the names of switch stages that work for load balancers (and ACLs, which count as connections too)."""
_TRANSLATING = ("defrag", "dnat", "out_snat", "post_snat", "_lb_aff", "ecmp_stateful")
"""Parts of the names of router stages that work for load balancers and NAT rows. Where no NAT row is named, unsnat is for the
router's own `lb_force_snat_ip`, as are flows that match on force_snat."""
_CAUSES = ("Load_Balancer/", "ACL/", "NAT/")
_FORCED = "force_snat"


class Rows:
    """Looks rows up for the flows of one Southbound."""

    def __init__(self, southbound: Southbound) -> None:
        self._on: dict[DatapathId, dict[str, tuple[str, ...]]] = defaultdict(dict)
        """Datapath -> cause -> addresses it is for (VIPs as "ADDRESS:PORT")."""
        for balancer in southbound.load_balancers:
            for datapath in balancer.datapaths:
                self._on[datapath][f"Load_Balancer/{balancer.name}"] = tuple(balancer.vips)
        for flow in southbound.flows:
            if flow.source.startswith(_CAUSES):
                for datapath in flow.datapaths:
                    self._on[datapath].setdefault(flow.source, ())

    def behind(self, flow: LogicalFlow, datapath: str, destination: str = "") -> tuple[str, ...]:
        """Rows that make `flow` exist on the logical switch or router `datapath`; never empty.

        Its own row; else the load balancers, ACLs and NAT rows of a datapath for a stage that is there for them, the one that
        has `destination` ("ADDRESS:PORT") for a VIP first; else the datapath's own row, which makes all its flows.
        """
        if flow.source:
            return (flow.source,)
        kind = "router" if flow.stage.startswith("lr_") else "switch"
        parts = _TRANSLATING if kind == "router" else _BALANCING
        own = f"{_TABLE_OF[kind]}/{datapath}"
        if _FORCED in flow.match or not any(part in flow.stage for part in parts):
            return (own,)
        causes = self._on.get(DatapathId(kind, datapath), {})
        return tuple(sorted(causes, key=lambda row: (destination not in causes[row], row))) or (own,)
