"""Queues under load: what is simulated (`model`), its meaning in simpy (`reference`), the same compiled (`fast`), and
formulas (`analytic`).

Input: frozen values (Pipeline or Network, with distributions) and a seed. Output: frozen results; nothing is printed, and
chance comes from `streams` only, so a run is replayed by its seed. Bad values are InvalidInput with what, where and what to do.
Time is in whole picoseconds everywhere.
"""
