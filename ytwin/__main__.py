"""`python -m ytwin`."""

from ytwin.cli import run

run()
