"""Compares the twin's passes through the datapath with a running lab's: `python -m experiments.recirculation DIR...`.

Starts a lab for each topology, makes a connection for every delivered cell and backend, and reads the chain of recirc_ids that it
left in the datapath flows of each chassis. Exit code 1 if a count differs, or a predicted drop does not happen. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from deployer.lab import Lab, outside_configs
from deployer.lab.central import NB
from deployer.lab.ovs import transact
from deployer.ovsdb_json import encode_map, insert_all
from deployer.wire.recirc import PassesReport, compare_passes
from ytwin import pipeline
from ytwin.pipeline import Twin


def start_lab(twin: Twin, name: str) -> Lab:
    """A ready lab that carries the twin's topology. The caller destroys it."""
    lab = Lab.create(name, twin.nodes, outside_configs(twin))
    try:
        options = {
            "op": "update",
            "table": "NB_Global",
            "where": [],
            "row": {"options": encode_map(twin.northbound.options)},
        }
        with lab.central.database(NB) as nb:
            transact(nb, NB, [options, *insert_all(twin.northbound)])
        lab.wait_ready()
    except BaseException:
        lab.destroy()
        raise
    return lab


def compare(folder: Path) -> PassesReport:
    """The comparison for one topology, in a lab of its own that is gone afterwards."""
    twin = pipeline.build(pipeline.read({str(f): f.read_text() for f in sorted(folder.rglob("*.yaml"))}))
    lab = start_lab(twin, f"recirculation-{os.getpid()}")
    try:
        return compare_passes(lab, twin)
    finally:
        lab.destroy()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.recirculation", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the lab goes, too
    reports = {str(folder): compare(folder) for folder in arguments.folders}
    if arguments.json:
        print(json.dumps({name: report.to_json() for name, report in reports.items()}, indent=1))
    else:
        for name, report in reports.items():
            print(f"{name}\n{report}")
    return 0 if all(report.holds for report in reports.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
