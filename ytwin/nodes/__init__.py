"""The ycloud-cni: what each node must be told, as a value. Pure."""

from ytwin.nodes.compile import bridge_of, host_routes, node_configs
from ytwin.nodes.config import Attachment, HostRoute, NodeConfig

__all__ = ["Attachment", "HostRoute", "NodeConfig", "bridge_of", "host_routes", "node_configs"]
