"""OVN's logical level: Southbound rows, and the expression and action language in which logical flows are written."""
