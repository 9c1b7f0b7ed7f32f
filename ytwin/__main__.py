"""`python -m ytwin`, and the console script. What is imported here is little, so that ctrl-C finds a handler from the start."""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from ytwin.cli import run as run_cli  # noqa: PLC0415 - half a second of imports, in which ctrl-C is no bug

        run_cli()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
