"""What-if studies: a grid of changes to topology, profile and load, a goal, many points, one answer. Pure.

A study is a value read from YAML (`definition`, `model`); `designs` lists its variants; `goals.answer` asks for samples, and what
is missing in `points.Asking` is what must be run; `evaluate` computes one point; `words`, `charts` and `page` tell the answer.
Running points, files and clusters are the room `runs`.
"""
