"""What the tests of labs share: topologies, deploying one into a lab, and a list of everything that a lab may leave."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from deployer.lab.requirements import kernel_datapath
from deployer.lab.state import MARK, start_time
from deployer.target import desired
from deployer.targets.mininet import MininetTarget
from ytwin import pipeline
from ytwin.core.plan import diff
from ytwin.generate import generate
from ytwin.pipeline import Twin
from ytwin.resources.codec import dump

TOPOLOGIES = Path(__file__).parent.parent / "topologies"


def shipped(name: str, down: tuple[str, ...] = ()) -> Twin:
    """The twin of a shipped topology, on the datapath that this machine has."""
    files = {path.name: _here(path.read_text()) for path in sorted((TOPOLOGIES / name).glob("*.yaml"))}
    return pipeline.build(pipeline.read(files), None, down)


def _here(text: str) -> str:
    documents = list(yaml.safe_load_all(text))
    for document in documents:
        if document and document["kind"] == "ClusterNetwork":
            document["spec"]["datapath"] = "system" if kernel_datapath() else "netdev"
    return yaml.safe_dump_all(documents)


def generated(seed: int, nodes: int) -> Twin:
    """The twin of a generated topology."""
    return pipeline.build(pipeline.read({"generated.yaml": _here(dump(generate(nodes=nodes, seed=seed)))}))


def deploy(twin: Twin, lab: str) -> MininetTarget:
    """Make `lab` be what `twin` says, whether it exists or not."""
    target = MininetTarget(lab, "default")
    target.apply(diff(target.snapshot(), desired(twin, target)))
    return target


def leftovers(root: Path) -> dict[str, object]:
    """Everything on this machine that a lab below `root` could leave: its processes, namespaces, devices of the host, files."""
    marked = {}
    namespaces = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or not start_time(int(entry.name)):
            continue
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"YTWIN_LAB_ROOT={root}".encode() in environment and f"{MARK}=".encode() in environment:
            marked[int(entry.name)] = command
            namespaces.add(str((entry / "ns" / "net").readlink()))
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
    named = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    return {
        "processes": marked,
        "namespaces": namespaces,
        "links": sorted(link["ifname"] for link in links),
        "named namespaces": named,
        "files": sorted(str(path) for path in root.rglob("*")) if root.exists() else [],
        "root": root.exists(),
    }
