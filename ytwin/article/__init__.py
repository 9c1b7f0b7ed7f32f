"""The article's section 3.2 on the twin: its tables and claims as data, its testbed as a topology, and what the twin says.

`reproduce(...) -> Reproduction`: calibrates on the cells that the protocol names, predicts the others, prints errors and claims.
"""
