"""Studies and proofs that use the public API only; each is run with `python -m experiments.NAME`."""
