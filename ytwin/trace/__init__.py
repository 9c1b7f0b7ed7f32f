"""One packet through the logical flows, chassis by chassis, with conntrack; the reply; the second packet. Pure.

`build_world` puts a Southbound into a place; `Tracer(world).converse(client, address, port, protocol)` is the main question;
`Tracer.send` and `Tracer.walk` follow single packets with an explicit `Memory`. `ovntrace` mimics the ovn-trace program.
"""

from ytwin.trace.memory import Memory
from ytwin.trace.tracer import Outcome, Tracer
from ytwin.trace.types import Conversation, Hop, Host, Packet, Path, Route, Verdict, Walk, World

__all__ = [
    "Conversation",
    "Hop",
    "Host",
    "Memory",
    "Outcome",
    "Packet",
    "Path",
    "Route",
    "Tracer",
    "Verdict",
    "Walk",
    "World",
]
