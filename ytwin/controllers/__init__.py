"""The yusurService-controller: Snapshot in, Snapshot with Service, Endpoints and NetworkProbe objects out.

Pure and level-triggered: the same function creates, heals and cleans up. Owns the allocation of ClusterIPs, EIPs and workload
addresses, which never moves an address already given.
"""

from ytwin.controllers.children import probe_name
from ytwin.controllers.memory import remember
from ytwin.controllers.yusurservice import reconcile
from ytwin.resources.model import OWNER

__all__ = ["OWNER", "probe_name", "reconcile", "remember"]
