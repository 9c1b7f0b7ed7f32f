"""Random but valid topologies from a seed, for whatever must hold on all of them.

`generate` draws from everything that the resources can say; over many seeds every feature appears, alone and with others. The
same arguments give the same objects on every machine. With `plain` it makes what a benchmark wants instead: IPv4 ClusterIP
Services over Pods, each with exactly the number of backends asked for.
"""

from __future__ import annotations

from ytwin.generate.topology import generate

__all__ = ["generate"]
