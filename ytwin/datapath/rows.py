"""Which Northbound rows are behind a logical flow, also where the flow itself names none.

ovn-northd writes many flows once per datapath, whatever made it write them: one load balancer on a switch sends all of the
switch's IP traffic through conntrack, by flows that name no load balancer. `Rows` says which rows those are: the ones whose
removal would take the flow's stage out of use.
"""

from __future__ import annotations

import re
from collections import defaultdict

from ytwin.logical.addresses import endpoint
from ytwin.logical.southbound import DatapathId, LogicalFlow, Southbound

_TABLE_OF = {"switch": "Logical_Switch", "router": "Logical_Router"}
_BALANCING = ("_lb", "pre_stateful", "stateful", "hairpin", "pre_acl", "_acl")
"""Parts of the names of switch stages that work for load balancers (and ACLs, which count as connections too)."""
_TRANSLATING = ("defrag", "dnat", "out_snat", "post_snat", "_lb_aff", "ecmp_stateful")
"""Parts of the names of router stages that work for load balancers and NAT rows. Where no NAT row is named, unsnat is for the
router's own `lb_force_snat_ip`, as are flows that match on force_snat."""
_CAUSES = ("Load_Balancer/", "ACL/", "NAT/")
_FORCED = "force_snat"
_CALLED = re.compile(r"ip[46]\.dst == (\S+) && (tcp|udp|sctp) && \2\.dst == (\d+)")
"""In a router's flow for new connections to a VIP."""
_TAKEN = re.compile(r"ip[46]\.dst == (\S+)$")
"""The address that makes a router send packets through conntrack; of every protocol and port."""


class Rows:
    """Looks rows up for the flows of one Southbound."""

    def __init__(self, southbound: Southbound) -> None:
        self._on: dict[DatapathId, dict[str, tuple[str, ...]]] = defaultdict(dict)
        """Datapath -> cause -> what it is for (VIPs as "PROTOCOL ADDRESS:PORT")."""
        self._sharing: dict[tuple[DatapathId, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        """(router, address) -> load balancer -> its VIPs there, in the same form."""
        self._services: dict[str, set[str]] = defaultdict(set)
        """VIP, in the same form -> what the rows of its Services begin with."""
        for balancer in southbound.load_balancers:
            for datapath in balancer.datapaths:
                self._on[datapath][f"Load_Balancer/{balancer.name}"] = tuple(
                    f"{balancer.protocol} {vip}" for vip in balancer.vips
                )
            for vip in balancer.vips:
                self._services[f"{balancer.protocol} {vip}"].add(_service(f"Load_Balancer/{balancer.name}"))
        for flow in southbound.flows:
            if flow.source.startswith(_CAUSES):
                for datapath in flow.datapaths:
                    self._on[datapath].setdefault(flow.source, ())
            if flow.stage == "lr_in_dnat" and (called := _CALLED.search(flow.match)):
                address, protocol, port = called.groups()
                vip = f"{protocol} {endpoint(address, int(port))}"
                self._services[vip].add(_service(flow.source))
                for datapath in flow.datapaths:
                    self._sharing[datapath, address][flow.source].add(vip)

    def behind(self, flow: LogicalFlow, datapath: str, destination: str = "", protocol: str = "tcp") -> tuple[str, ...]:
        """Rows that make `flow` exist on the logical switch or router `datapath`; never empty.

        Its own row, and where others ask for the same flow (a router sends all packets to an address through conntrack, whichever
        of its load balancers has it) those too; else the load balancers, ACLs and NAT rows of a datapath for a stage that is
        there for them; else the datapath's own row, which makes all its flows. First the one that has `destination`
        ("ADDRESS:PORT") of this protocol for a VIP, then others of its Service, then others of the protocol.
        """
        called = f"{protocol} {destination}"
        if flow.source:
            taken = _TAKEN.search(flow.match) if flow.stage == "lr_in_defrag" else None
            there = self._sharing.get((DatapathId("router", datapath), taken[1]), {}) if taken else {}
            own_first = (flow.source, *sorted(there.keys() - {flow.source}))
            return tuple(sorted(own_first, key=lambda row: called not in there.get(row, ())))
        kind = "router" if flow.stage.startswith("lr_") else "switch"
        parts = _TRANSLATING if kind == "router" else _BALANCING
        own = f"{_TABLE_OF[kind]}/{datapath}"
        if _FORCED in flow.match or not any(part in flow.stage for part in parts):
            return (own,)
        causes = self._on.get(DatapathId(kind, datapath), {})
        services = self._services.get(called, set())

        def nearness(row: str) -> tuple[bool, bool, bool, str]:
            return called not in causes[row], _service(row) not in services, protocol not in row.split("/"), row

        return tuple(sorted(causes, key=nearness)) or (own,)


def _service(row: str) -> str:
    """All rows of a Service have this in common: table, namespace, name."""
    return "/".join(row.split("/")[:3])
