"""Every real side effect: processes, sockets, databases. The only room that starts anything."""
