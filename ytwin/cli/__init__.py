"""The command line: reads files, prints answers, sets the exit code. 0: it holds; 1: it does not; 2: the input is no good.

`main` is the entry point. Every command has `--json`; its documents are described in README.md and only grow.
"""

from __future__ import annotations

import sys

import click

from ytwin.cli.commands import app
from ytwin.cli.output import print_error
from ytwin.core.errors import YtwinError

EXIT_HOLDS, EXIT_FAILS, EXIT_INVALID, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; a user's error never shows a traceback."""
    args = sys.argv[1:] if arguments is None else arguments
    try:
        result = app(args, prog_name="ytwin", standalone_mode=False)
    except YtwinError as error:
        print_error(error, "--json" in args)
        return EXIT_INVALID
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_INVALID
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_HOLDS
    return result if isinstance(result, int) else EXIT_HOLDS


def run() -> None:
    """The console script."""
    sys.exit(main())
