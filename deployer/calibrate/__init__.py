"""`ytwin calibrate`: measures a lab of this machine, fits the profile of its datapath, and predicts what was held out.

`paths` (what can be measured), `cells` (what is, drawn by a seed), `model` (what the twin predicts for it, and the fit) and
`report` are pure; `machine`, `tools` and `run` have the side effects.
"""
