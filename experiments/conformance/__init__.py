"""Proof that the twin's northd and trace agree with OVN's own, on generated topologies and random packets.

Run `python -m experiments.conformance --topologies 500 --packets 20000 --seed N`; it needs OVN 23.03's ovn-northd and ovn-trace.
"""
