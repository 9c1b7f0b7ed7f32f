"""`ytwin calibrate`: measure on a lab, fit the profile of its datapath, predict what was held out."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from typing import Annotated

import typer


class TargetName(StrEnum):
    """`--target`: what can be measured."""

    MININET = "mininet"


def calibrate(
    target: Annotated[
        TargetName, typer.Option("--target", help="Where: a lab on this machine, for this purpose only.")
    ],
    topology: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPOLOGY]", help="Files or folders of YAML; one comes with it.")
    ] = None,
    cells: Annotated[int, typer.Option(help="Cells to draw: a path and a metric each.")] = 24,
    calibrate_on: Annotated[int, typer.Option("--calibrate-on", help="How many of them the fit may see.")] = 10,
    repeat: Annotated[int, typer.Option(help="How often every cell is measured.")] = 5,
    seed: Annotated[int, typer.Option(help="The same seed draws the same cells, in the same order.")] = 0,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Write the fitted profile here.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Measure cells on a real lab, fit the datapath's profile to some of them, and predict the others.

    Exit code 1 if the median error of the held-out cells is above 15 %.
    """
    del target  # there is one
    from deployer.calibrate.run import TOPOLOGY, Options, run  # noqa: PLC0415 - `ytwin --help` stays quick
    from ytwin import pipeline  # noqa: PLC0415 - see above
    from ytwin.cli import output  # noqa: PLC0415 - it loads this module
    from ytwin.cli.files import read_files, write_text  # noqa: PLC0415 - see above

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the lab goes, too
    try:
        snapshot = pipeline.read(read_files(topology or [str(TOPOLOGY)]))
        with output.progress("measurements") as progress:
            found = run(snapshot, Options(cells, calibrate_on, repeat, seed), progress)
    finally:
        signal.signal(signal.SIGTERM, before)
    if out:
        write_text(out, found.to_yaml())
    code = 0 if found.holds else 1
    output.decided(code)
    if json:
        output.print_json(found.to_json())
    else:
        output.print_text(str(found))
    return code
