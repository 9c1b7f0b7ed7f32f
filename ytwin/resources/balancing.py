"""What OVN can balance by, and what it cannot.

OVN turns backends into an OpenFlow `select` group with equal weights: by `dp_hash`, or by a hash over header fields when
`Load_Balancer.selection_fields` is set. It has nothing else.
"""

from __future__ import annotations

from ytwin.resources.model import Balancing

ALGORITHMS = ("hash", "dpHash")

SELECTION_FIELDS = {
    "ethSrc": "eth_src",
    "ethDst": "eth_dst",
    "ipSrc": "ip_src",
    "ipDst": "ip_dst",
    "tpSrc": "tp_src",
    "tpDst": "tp_dst",
}
"""Outside name -> OVN's; all that the Northbound schema of 23.03 allows."""

LACKING = {
    "roundRobin": "OVN keeps no count of connections per backend, so it cannot take turns",
    "leastConnections": "OVN keeps no count of connections per backend",
    "leastRequest": "OVN does not see requests, only connections",
    "weightedRoundRobin": "OVN gives every backend the same weight",
    "weightedLeastConnections": "OVN gives every backend the same weight and counts no connections",
    "random": "OVN's choice is a hash of the packet, never random",
    "sourceHash": "OVN's hash over the source is algorithm hash with selectionFields [ipSrc]",
    "maglev": "OVN's hash is not consistent: a backend that leaves moves clients of others too",
    "consistentHash": "OVN's hash is not consistent: a backend that leaves moves clients of others too",
    "shortestExpectedDelay": "OVN does not measure delays",
    "neverQueue": "OVN keeps no queues of backends",
}
"""Algorithms known from elsewhere (IPVS, Envoy, HAProxy) and why OVN lacks them."""

NEAREST = "hash"
"""What comes nearest to each of them: an even, deterministic spread over the backends."""

_SHORT = {"rr": "roundRobin", "lc": "leastConnections", "leastconn": "leastConnections", "wrr": "weightedRoundRobin"}
_SHORT |= {"wlc": "weightedLeastConnections", "sh": "sourceHash", "mh": "maglev", "sed": "shortestExpectedDelay"}
_SHORT |= {
    "leastconnection": "leastConnections",
    "nq": "neverQueue",
    "source": "sourceHash",
    "ringhash": "consistentHash",
}


def lacking(algorithm: str) -> str:
    """The canonical name of an algorithm that OVN lacks, whatever its spelling (round-robin, rr); "" if it is none of these."""
    flat = algorithm.lower().replace("-", "").replace("_", "").replace(" ", "")
    by_lower = {name.lower(): name for name in LACKING}
    return _SHORT.get(flat) or by_lower.get(flat, "")


def effective_algorithm(balancing: Balancing) -> str:
    """`hash` or `dpHash`: what OVN is told, after `onUnsupported: nearest`."""
    return balancing.algorithm if balancing.algorithm in ALGORITHMS else NEAREST
