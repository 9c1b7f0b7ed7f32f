"""OVN's own northd, for the tables these topologies use: Northbound in, Southbound (logical flows) out. Pure.

Its output is identical to stock ovn-northd 23.03.1's; `experiments.conformance` proves it against the real one.
"""
