"""Capacity of a whole cluster, flow by flow: what is full first as the load grows, and what a loss does.

No packet is simulated. Paths that cost the same are one `PathClass`, traced once; traffic is rates on (clients, Service,
backends); both together give the work of every resource of every node. `survey` makes a Cluster of a twin, `generated` one of
numbers (1,000 nodes, 10,000 Services); `offered` and `flows` make the traffic; `capacity` answers; `measures` is that answer as
numbers and texts by name, for studies. Pure; chance only through a seed.
"""

from ytwin.cluster.capacity import Capacity, capacity, measures
from ytwin.cluster.flows import Flow, decode_flows, without_clients
from ytwin.cluster.generated import Size, generated, generated_flows, sample_files
from ytwin.cluster.loss import lose, most_loaded, without_offload
from ytwin.cluster.survey import survey, surveyed_flows
from ytwin.cluster.traffic import Traffic, offered, parse_traffic, traffic_of
from ytwin.cluster.types import Cluster, Resource

__all__ = [
    "Capacity",
    "Cluster",
    "Flow",
    "Resource",
    "Size",
    "Traffic",
    "capacity",
    "decode_flows",
    "generated",
    "generated_flows",
    "lose",
    "measures",
    "most_loaded",
    "offered",
    "parse_traffic",
    "sample_files",
    "survey",
    "surveyed_flows",
    "traffic_of",
    "without_clients",
    "without_offload",
]
