"""The matrix: every kind of client against every address of every Service, and against the other VPCs directly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ytwin.datapath import Limit
from ytwin.resources.addresses import version_of
from ytwin.resources.snapshot import Snapshot
from ytwin.trace.types import Host, Verdict, World
from ytwin.verify.answers import Answer, Answers
from ytwin.verify.expect import Expectation, Target, expectation, targets
from ytwin.verify.report import REACHABLE, UNREACHABLE, Cell

ISOLATION_PORT = 80
Progress = Callable[[int, int], None]
NO_LIMITS: Mapping[str, Limit] = {}


def representatives(hosts: Iterable[Host]) -> tuple[Host, ...]:
    """One client per kind, VPC, Subnet and chassis: what differs between two hosts that agree in these is their name only."""
    chosen: dict[tuple[str, str, str, str], Host] = {}
    for host in sorted(hosts, key=lambda h: h.name):
        identity = (host.kind, host.vpc, host.subnet, host.name if host.kind == "outside" else host.chassis)
        chosen.setdefault(identity, host)
    return tuple(chosen.values())


def service_questions(snapshot: Snapshot, clients: Iterable[Host]) -> Iterator[tuple[Host, Target]]:
    """Every client with every Service address."""
    listed = tuple(clients)
    return ((client, target) for target in targets(snapshot) for client in listed)


def service_cell(snapshot: Snapshot, answers: Answers, client: Host, target: Target) -> Cell:
    """Ask one question, and hold the answer against what the scenario promises."""
    promise = expectation(snapshot, client, target)
    answer = answers.ask(client, target.address, target.port, target.protocol)
    holds = promise.reachable == (answer.verdict is Verdict.DELIVERED)
    return Cell(
        client=client.name,
        service=target.service,
        address=target.address,
        port=target.port,
        protocol=target.protocol,
        expected=REACHABLE if promise.reachable else UNREACHABLE,
        verdict=answer.verdict.value,
        backends=answer.backends,
        reason=_reason(promise, answer, holds),
        holds=holds,
        overruns=answer.overruns,
    )


def _reason(promise: Expectation, answer: Answer, holds: bool) -> str:
    if holds:
        return promise.why if promise.reachable else f"{promise.why}; {answer.reason}"
    if promise.reachable:
        return answer.reason
    return f"reachable although {promise.why}"


def isolation_questions(world: World) -> Iterator[tuple[Host, Host, str]]:
    """(client, victim, address) for every ordered pair of Subnets of different VPCs, and every family both have."""
    by_subnet: dict[tuple[str, str], Host] = {}
    for host in sorted(world.hosts, key=lambda h: h.name):
        if host.subnet and host.kind != "Node":
            by_subnet.setdefault((host.vpc, host.subnet), host)
    for (vpc, _), client in by_subnet.items():
        families = {version_of(address) for address in client.addresses}
        for (other, _), victim in by_subnet.items():
            if vpc != other:
                for address in victim.addresses:
                    if version_of(address) in families:
                        yield client, victim, address.split("/")[0]


def isolation_cell(answers: Answers, client: Host, victim: Host, address: str) -> Cell:
    """A direct packet into another VPC; it holds if no host of that VPC gets it, whether or not an answer comes back.

    Where VPCs use the same addresses, the packet may rightly end at the client's own neighbour.
    """
    answer = answers.ask(client, address, ISOLATION_PORT, "tcp")
    leaked = [name for name in answer.receivers if answers.vpc_of.get(name, "") == victim.vpc]
    own = [name for name in answer.receivers if answers.vpc_of.get(name, "") == client.vpc and client.vpc]
    if leaked:
        reason = f"packet from VPC {client.vpc} reached {leaked[0]} in VPC {victim.vpc}"
    elif own:
        reason = f"the address exists in VPC {client.vpc} too; the packet stayed there"
    else:
        reason = f"VPC {client.vpc} is isolated from {victim.vpc}; {answer.reason}"
    return Cell(
        client=client.name,
        service=f"isolation:{victim.subnet}",
        address=address,
        port=ISOLATION_PORT,
        protocol="tcp",
        expected=UNREACHABLE,
        verdict=answer.verdict.value,
        backends=(),
        reason=reason,
        holds=not leaked,
    )


def matrix(
    snapshot: Snapshot,
    world: World,
    exhaustive: bool = False,
    progress: Progress | None = None,
    limits: Mapping[str, Limit] = NO_LIMITS,
) -> tuple[Cell, ...]:
    """All cells; `exhaustive` asks for every host instead of representatives; `progress(done, total)` after each cell.

    Clients on lost nodes are no hosts of the World, and are not asked. What a Service promises to the others stays promised, so
    a Service that lost all its backends, or its gateway, fails.
    """
    answers = Answers(world, limits, share=not exhaustive)
    hosts = world.hosts if exhaustive else representatives(world.hosts)
    services = list(service_questions(snapshot, hosts))
    isolation = list(isolation_questions(world))
    total = len(services) + len(isolation)
    cells: list[Cell] = []

    def done(cell: Cell) -> None:
        cells.append(cell)
        if progress is not None:
            progress(len(cells), total)

    for client, target in services:
        done(service_cell(snapshot, answers, client, target))
    for client, victim, address in isolation:
        done(isolation_cell(answers, client, victim, address))
    return tuple(cells)
