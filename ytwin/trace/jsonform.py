"""JSON of walks and conversations. Stable: fields are only ever added.

conversation: {client, destination, protocol, verdict, reason, paths: [path]}
path: {backend, address, verdict, client_seen_as, reason, forward: walk, reply: walk|null, second: walk|null}
walk: {verdict, reason, sent: packet, received: packet|null, receiver, port, hops: [hop]}
hop: {chassis, datapath: {kind, name}, pipeline, table, stage, flow: flow|null, packet, note}
flow: {priority, match, actions, source}; packet: {eth_src, eth_dst, ip_src, ip_dst, protocol, src_port, dst_port, ttl}

Verdicts are the values of `types.Verdict`.
"""

from __future__ import annotations

from typing import Any

from ytwin.trace.types import Conversation, Hop, Packet, Path, Walk

Json = dict[str, Any]


def packet_to_json(packet: Packet) -> Json:
    return {
        "eth_src": packet.eth_src,
        "eth_dst": packet.eth_dst,
        "ip_src": packet.ip_src,
        "ip_dst": packet.ip_dst,
        "protocol": packet.protocol,
        "src_port": packet.src_port,
        "dst_port": packet.dst_port,
        "ttl": packet.ttl,
    }


def hop_to_json(hop: Hop) -> Json:
    flow = hop.flow
    return {
        "chassis": hop.chassis,
        "datapath": {"kind": hop.datapath.kind, "name": hop.datapath.name},
        "pipeline": hop.pipeline,
        "table": hop.table,
        "stage": hop.stage,
        "flow": None
        if flow is None
        else {"priority": flow.priority, "match": flow.match, "actions": flow.actions, "source": flow.source},
        "packet": packet_to_json(hop.packet),
        "note": hop.note,
    }


def walk_to_json(walk: Walk) -> Json:
    """See the module's text for the shape."""
    return {
        "verdict": walk.verdict.value,
        "reason": walk.reason,
        "sent": packet_to_json(walk.sent),
        "received": None if walk.received is None else packet_to_json(walk.received),
        "receiver": walk.receiver,
        "port": walk.port,
        "hops": [hop_to_json(hop) for hop in walk.hops],
    }


def path_to_json(path: Path) -> Json:
    return {
        "backend": path.backend,
        "address": path.address,
        "verdict": path.verdict.value,
        "client_seen_as": path.client_seen_as,
        "reason": path.reason,
        "forward": walk_to_json(path.forward),
        "reply": None if path.reply is None else walk_to_json(path.reply),
        "second": None if path.second is None else walk_to_json(path.second),
    }


def conversation_to_json(conversation: Conversation) -> Json:
    """See the module's text for the shape."""
    return {
        "client": conversation.client,
        "destination": conversation.destination,
        "protocol": conversation.protocol,
        "verdict": conversation.verdict.value,
        "reason": conversation.reason,
        "paths": [path_to_json(path) for path in conversation.paths],
    }
