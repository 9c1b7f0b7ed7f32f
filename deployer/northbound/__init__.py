"""One real OVN_Northbound: the connection, what it holds of ours as a State, and a Plan as its transactions."""
