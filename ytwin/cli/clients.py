"""What a user types for a client and a destination; studies read it too, so it is resolved in `verify.naming`."""

from ytwin.verify.naming import Destination, find_client, find_destination, find_served, split_port

__all__ = ["Destination", "find_client", "find_destination", "find_served", "split_port"]
