"""A real multi-node OVN on one machine, built with Mininet: every node is a chassis of its own in a network namespace.

`Lab.create(name, configs, outsides)` starts one, `Lab.open(name)` finds a running one again (from any process), `Lab.apply_node`
and `Lab.apply_outside` change it, `Lab.wait_ready` returns when packets may flow, `Lab.destroy` leaves nothing. What the lab
builds is what NodeConfig and OutsideConfig say; nothing about the topology is decided here. Needs root.

Nothing of a lab has a global name: namespaces are nameless (held by a process), links are born inside them, files are below the
lab's own directory. So labs neither see each other nor the host's networks.
"""

from deployer.lab.config import OutsideConfig, outside_configs
from deployer.lab.lab import Lab
from deployer.lab.requirements import why_no_lab
from deployer.lab.state import LabError, lab_names

__all__ = ["Lab", "LabError", "OutsideConfig", "lab_names", "outside_configs", "why_no_lab"]
