"""The ycloud-controller: a reconciled Snapshot in, OVN Northbound rows out. Pure."""
