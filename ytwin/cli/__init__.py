"""The command line: reads files, prints answers, sets the exit code. 0: it holds; 1: it does not; 2: the input is no good.

`main` is the entry point. Every command has `--json`; its documents are described in README.md and only grow.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib.metadata import entry_points

from typer import Abort, BadParameter, Exit, Typer

from ytwin.cli import capacity as capacity
from ytwin.cli import offload as offload
from ytwin.cli import predict as predict
from ytwin.cli import profiles as profiles
from ytwin.cli import reproduce as reproduce
from ytwin.cli import study as study
from ytwin.cli.commands import app
from ytwin.cli.output import decided, print_error
from ytwin.core.errors import YtwinError

EXIT_HOLDS, EXIT_INVALID, EXIT_INTERRUPTED = 0, 2, 130

COLLECTOR_THRESHOLDS = (200_000, 50, 100)
"""For `gc.set_threshold`: one command makes many values that live to its end, so looking for garbage often finds none."""

# Typer exports the leaf only, and which package its base comes from has changed between releases.
UsageError = BadParameter.__mro__[1]


for _command in entry_points(group="ytwin.commands"):
    # What has side effects lives outside the twin, which must not import it: `deploy` comes in by its name.
    _loaded = _command.load()
    if isinstance(_loaded, Typer):
        app.add_typer(_loaded, name=_command.name)
    else:
        app.command(_command.name)(_loaded)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; a user's error never shows a traceback."""
    args = sys.argv[1:] if arguments is None else arguments
    if sys.stdout is None:
        # Closed by the caller (`>&-`), who wants the exit code only.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - to the end of the program
    decided(EXIT_HOLDS)
    try:
        result = app(args, prog_name="ytwin", standalone_mode=False)
        sys.stdout.flush()
    except YtwinError as error:
        print_error(error, "--json" in args)
        return EXIT_INVALID
    except Exit as stop:
        return int(stop.exit_code)
    except (KeyboardInterrupt, Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has what it wanted; without this the interpreter would complain when it flushes at its end.
        _forget_output()
        return decided()
    except SystemExit as stop:
        # Click makes 1 of a closed pipe, which would say that a check fails.
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        _forget_output()
        return decided()
    except OSError as error:
        _forget_output()
        print_error(YtwinError(f"cannot write the answer: {error.strerror or error}"), as_json=False)
        return EXIT_INVALID
    except Exception as error:
        if isinstance(error, UsageError):
            # The class is known at run time only, see UsageError.
            if "--json" in args:
                print_error(YtwinError(error.format_message()), as_json=True)  # type: ignore[attr-defined]
            else:
                error.show()  # type: ignore[attr-defined]
            return EXIT_INVALID
        raise
    return result if isinstance(result, int) else EXIT_HOLDS


def _forget_output() -> None:
    """Send what is still to be written nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> None:
    """The console script."""
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    sys.exit(main())
