"""The commands. Each reads, calls one function of the pipeline, prints; none decides anything about networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from ytwin import pipeline
from ytwin.cli import output
from ytwin.cli.clients import find_client, find_destination
from ytwin.cli.files import read_files, read_southbound_source, write_text
from ytwin.cli.kinds import KINDS, kind_of, table_of
from ytwin.controllers import remember
from ytwin.core.errors import Unsupported, YtwinError
from ytwin.datapath import limited, limits_of, passes_to_json, programs, programs_to_json, render_passes
from ytwin.generate import generate as generate_objects
from ytwin.logical.addresses import endpoint
from ytwin.logical.southbound import LogicalFlow
from ytwin.northbound.jsonform import to_json as northbound_to_json
from ytwin.northbound.nbctl import nbctl_script
from ytwin.northbound.review import review
from ytwin.resources.codec import dump, to_dict
from ytwin.resources.model import Node
from ytwin.resources.snapshot import ObjectId
from ytwin.trace.jsonform import conversation_to_json
from ytwin.trace.picture import picture as draw_picture
from ytwin.trace.render import render_conversation
from ytwin.trace.types import Conversation, Verdict, World
from ytwin.verify.report import Cell, Report, Severity

app = typer.Typer(
    name="ytwin",
    help="Will this Service work, for whom, by which row and which flow? A digital twin of Kubernetes Services on OVN.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Paths = Annotated[list[str], typer.Argument(metavar="PATH...", help="Files or folders of YAML; - for standard input.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
SouthboundOption = Annotated[
    str,
    typer.Option(
        "--southbound",
        metavar="SOURCE",
        help="Use the flows of a dump FILE, or live of unix:/tcp:/ssl:.",
    ),
]
DownOption = Annotated[
    list[str] | None, typer.Option("--down", metavar="NODE", help="Suppose this node is lost; repeatable.")
]


class TextForm(StrEnum):
    """`get -o`."""

    TABLE = "table"
    YAML = "yaml"
    JSON = "json"


class CompileForm(StrEnum):
    """`compile --format`."""

    TABLE = "table"
    NBCTL = "nbctl"
    JSON = "json"


def build_twin(paths: list[str], southbound: str = "", down: list[str] | None = None) -> pipeline.Twin:
    """The twin of what a user names on the command line."""
    source = read_southbound_source(southbound) if southbound else None
    snapshot = pipeline.read(read_files(paths))
    nodes = {node.name for node in snapshot.all(Node)}
    for name in down or ():
        if name not in nodes:
            raise YtwinError(f"--down {name}: no such node; there are {', '.join(sorted(nodes)) or 'none'}")
    return pipeline.build(snapshot, source, down or ())


@app.command()
def validate(paths: Paths, json: Json = False) -> int:
    """Say whether the input is valid; list every problem with file, line, field and what to do."""
    snapshot = pipeline.read(read_files(paths))
    pipeline.compile_rows(snapshot)  # it refuses what no row can say
    counts, ignored = _counts(snapshot.objects), _counts(snapshot.ignored)
    if json:
        output.print_json({"valid": True, "objects": counts, "ignored": ignored})
    else:
        output.print_text(f"valid: {_listed(counts) or 'no objects'}")
        if ignored:
            output.print_text(f"not read: {_listed(ignored)}")
    return 0


def _counts(keys: Iterable[ObjectId]) -> dict[str, int]:
    return dict(sorted(Counter(key.kind for key in keys).items()))


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in counts.items())


@app.command()
def get(
    kind: Annotated[
        str, typer.Argument(metavar="KIND[/NAME]", help="ysvc, svc, ep, probe, pod, vm, subnet, ...; or all.")
    ],
    paths: Paths,
    form: Annotated[TextForm, typer.Option("-o", "--output", help="How to print.")] = TextForm.TABLE,
    json: Json = False,
) -> int:
    """Show objects as they are after the controllers ran: Services, Endpoints, probes, allocated addresses.

    `get all -o yaml` prints the whole cluster, given addresses included: feed it back and nothing moves.
    """
    snapshot, _ = pipeline.compile_rows(pipeline.read(read_files(paths)))
    wanted, _, name = kind.partition("/")
    cls = kind_of(wanted)
    if cls is None and wanted != "all":
        raise YtwinError(f"no kind {wanted!r}; there are {', '.join(KINDS)} and all")
    objects = [r for r in snapshot.objects.values() if (cls is None or isinstance(r, cls)) and name in ("", r.name)]
    if name and not objects:
        raise YtwinError(f"{wanted} {name!r} not found")
    if json or form is TextForm.JSON:
        output.print_json({"apiVersion": "v1", "kind": "List", "items": [to_dict(r) for r in objects]})
    elif form is TextForm.YAML:
        output.print_text(dump(objects))
    else:
        for shown in [cls] if cls is not None else list(KINDS.values()):
            listed = [r for r in objects if isinstance(r, shown)]
            if listed or cls is not None:
                if cls is None:
                    output.print_text(f"# {shown.KIND}")
                output.print_table(*table_of(shown, snapshot, listed))
    return 0


@app.command("compile")
def compile_(
    paths: Paths,
    form: Annotated[CompileForm, typer.Option("--format", help="nbctl: a script for ovn-nbctl.")] = CompileForm.TABLE,
    json: Json = False,
) -> int:
    """Print the OVN Northbound rows, and what each node must be told."""
    twin = build_twin(paths)
    if json or form is CompileForm.JSON:
        output.print_json({"northbound": northbound_to_json(twin.northbound), "nodes": [asdict(n) for n in twin.nodes]})
    elif form is CompileForm.NBCTL:
        output.print_text(nbctl_script(twin.northbound))
    else:
        output.print_text(str(twin.northbound))
        output.print_text("\n" + "\n\n".join(str(n) for n in twin.nodes))
    return 0


def _flow_to_json(flow: LogicalFlow) -> dict[str, Any]:
    return {
        "datapaths": [{"type": d.kind, "name": d.name} for d in flow.datapaths],
        "pipeline": flow.pipeline,
        "table": flow.table,
        "stage": flow.stage,
        "priority": flow.priority,
        "match": flow.match,
        "actions": flow.actions,
        "source": flow.source,
    }


@app.command()
def flows(
    paths: Paths,
    datapath: Annotated[str, typer.Option(help="Only flows of this logical switch or router.")] = "",
    stage: Annotated[str, typer.Option(help="Only flows of this stage, e.g. ls_in_lb.")] = "",
    southbound: SouthboundOption = "",
    json: Json = False,
) -> int:
    """Print the logical flows as ovn-northd 23.03.1 would write them, each with the Northbound row it comes from."""
    found = build_twin(paths, southbound).southbound
    shown = found.flows
    if datapath and datapath not in {d.name for d in found.datapaths}:
        raise YtwinError(f"no datapath {datapath!r}; there are {', '.join(sorted({d.name for d in found.datapaths}))}")
    if stage and stage not in (stages := {flow.stage for flow in shown}):
        raise YtwinError(f"no stage {stage!r}; there are {', '.join(sorted(stages))}")
    if datapath:
        shown = tuple(f for f in shown if any(d.name == datapath for d in f.datapaths))
    if stage:
        shown = tuple(f for f in shown if f.stage == stage)
    shown = tuple(sorted(shown, key=lambda f: (f.datapaths, f.pipeline != "ingress", f.table, -f.priority, f.match)))
    if json:
        output.print_json({"flows": [_flow_to_json(f) for f in shown]})
    else:
        rows = [(_datapaths(f), f.stage, f.priority, f.match, f.actions, f.source) for f in shown]
        output.print_table(("datapath", "stage", "priority", "match", "actions", "row"), rows)
    return 0


def _datapaths(flow: LogicalFlow) -> str:
    first = flow.datapaths[0].name if flow.datapaths else ""
    return first if len(flow.datapaths) <= 1 else f"{first} +{len(flow.datapaths) - 1}"


@app.command()
def trace(
    paths: Paths,
    client: Annotated[
        str, typer.Option("--from", metavar="CLIENT", help="Pod/default/web-0, web-0, Node/node1, outside.")
    ],
    destination: Annotated[
        str, typer.Option("--to", metavar="DEST", help="ADDRESS[:PORT], SERVICE[:PORT], pod/NAME[:PORT].")
    ],
    protocol: Annotated[str, typer.Option(help="tcp, udp or sctp.")] = "",
    ipv6: Annotated[bool, typer.Option("--ipv6", "-6", help="The Service's IPv6 address.")] = False,
    picture: Annotated[str, typer.Option(metavar="FILE", help="Draw the walk into this HTML file.")] = "",
    southbound: SouthboundOption = "",
    down: DownOption = None,
    json: Json = False,
) -> int:
    """Follow a packet to every backend that could be chosen, the reply back, and the second packet."""
    if protocol not in ("", "tcp", "udp", "sctp"):
        raise YtwinError(f"--protocol {protocol!r}: tcp, udp or sctp")
    twin = build_twin(paths, southbound, down)
    host = find_client(twin, client)
    to = find_destination(twin, host, destination, protocol, ipv6)
    limits = limits_of(twin.nodes)
    traced = pipeline.converse(twin, host, to.address, to.port, to.protocol)
    conversation = limited(traced, limits)
    if picture:
        write_text(picture, draw_picture(conversation))
    if json:
        told = {**conversation_to_json(conversation), "datapath": passes_to_json(traced, limits)}
        output.print_json({**told, **_programs(conversation, twin.world)})
    else:
        output.print_text(f"{render_conversation(conversation)}\n\n{render_passes(traced, limits)}")
    return 0 if conversation.verdict is Verdict.DELIVERED else 1


def _programs(conversation: Conversation, world: World) -> dict[str, object]:
    """A Southbound that was read may have flows in the packet's tables that the packet never meets, and that nobody can read."""
    try:
        return {"programs": programs_to_json(programs(conversation, world)), "programs_unsupported": ""}
    except Unsupported as error:
        return {"programs": [], "programs_unsupported": str(error)}


@app.command()
def check(
    paths: Paths,
    all_clients: Annotated[
        bool, typer.Option("--all-clients", help="Every host, not one per kind, VPC, Subnet and node.")
    ] = False,
    southbound: SouthboundOption = "",
    down: DownOption = None,
    json: Json = False,
) -> int:
    """Every kind of client against every Service, isolation between VPCs, and lints. Exit code 1 if something does not hold."""
    twin = build_twin(paths, southbound, down)
    with output.progress("cells") as report_progress:
        report = pipeline.verify(twin, all_clients, report_progress)
    code = 0 if report.holds else 1
    output.decided(code)
    if json:
        output.print_json(report.to_json())
    else:
        _print_report(report)
    return code


def _print_report(report: Report) -> None:
    header = ("", "client", "service", "address", "expected", "verdict", "backends", "reason")
    rows = [_cell_row(cell) for cell in report.cells]
    output.print_table(header, rows, [output.NEUTRAL if cell.holds else output.BAD for cell in report.cells])
    if report.findings:
        output.print_text("")
        styles = [output.BAD if f.severity is Severity.ERROR else output.NEUTRAL for f in report.findings]
        table = [(f.severity.value, f.code, f.object, f.message) for f in report.findings]
        output.print_table(("severity", "code", "object", "finding"), table, styles)
    errors = sum(f.severity is Severity.ERROR for f in report.findings)
    verdict = "holds" if report.holds else "FAILS"
    output.print_text(
        f"\n{verdict}: {len(report.cells)} cells, {len(report.failures)} not as expected; "
        f"{len(report.findings)} findings, {errors} errors\n{report.asked}"
    )


def _cell_row(cell: Cell) -> tuple[object, ...]:
    at = endpoint(cell.address, cell.port)
    backends = ",".join(b.name for b in cell.backends)
    mark = "ok" if cell.holds else "FAIL"
    return mark, cell.client, cell.service, f"{cell.protocol}/{at}", cell.expected, cell.verdict, backends, cell.reason


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="File or folder.")],
    after: Annotated[str, typer.Argument(metavar="B", help="File or folder.")],
    json: Json = False,
) -> int:
    """What going from A to B does to the Northbound rows. Exit code 1 if it does anything.

    Addresses that A's controllers gave are kept in B, as they are in a running cluster.
    """
    if before == after == "-":
        raise YtwinError("standard input can be A or B, not both")
    old, old_rows = pipeline.compile_rows(pipeline.read(read_files([before])))
    _, new_rows = pipeline.compile_rows(remember(old, pipeline.read(read_files([after]))))
    change = review(old_rows, new_rows)
    if json:
        output.print_json(change.to_json())
    else:
        output.print_text(str(change))
    return 1 if len(change) else 0


@app.command()
def generate(
    nodes: Annotated[int, typer.Option(min=1, max=1000)] = 3,
    vpcs: Annotated[int, typer.Option(min=1, max=1000)] = 3,
    subnets: Annotated[int, typer.Option(min=1, max=1000, help="In all; at least one per VPC.")] = 5,
    services: Annotated[int, typer.Option(min=0, max=100_000)] = 8,
    backends: Annotated[int, typer.Option(min=0, max=1000, help="Per Service.")] = 3,
    seed: Annotated[int, typer.Option(help="The same seed gives the same topology.")] = 0,
) -> int:
    """Print a random valid topology; the seed is in its first line."""
    objects = generate_objects(nodes=nodes, vpcs=vpcs, subnets=subnets, services=services, backends=backends, seed=seed)
    options = (
        f"--nodes {nodes} --vpcs {vpcs} --subnets {subnets} --services {services} --backends {backends} --seed {seed}"
    )
    output.print_text(f"# ytwin generate {options}\n{dump(objects)}")
    return 0
