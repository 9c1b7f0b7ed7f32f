"""What-if studies: a grid of changes to topology, profile and load, a goal, many runs, one answer.

A study is a value read from YAML; `points` lists what to run, `evaluate` runs one point (pure), `runner` runs them all and may be
killed, `goals` turns results into an answer, `report` into a page.
"""
