"""The yusurService-controller: Snapshot in, Snapshot with Service, Endpoints and NetworkProbe objects out.

Pure and level-triggered: the same function creates, heals and cleans up. Owns the allocation of ClusterIPs, EIPs and workload
addresses, which never moves an address already given.
"""
