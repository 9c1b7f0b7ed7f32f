"""Real connections between hosts of a lab, all from one process: sockets are made inside the hosts' namespaces and kept here.

Servers answer with who they are, whom they saw, and what they were sent. A client sends twice, so that the second packet of a
conversation is judged too.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import json
import resource
import socket
import struct
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

from deployer.lab.namespace import inside
from deployer.wire.question import ANSWER, NOTHING, REFUSED, Outcome

IPPROTO_SCTP = 132
ROUNDS = (b"one", b"two")
"""What a client sends, one after the other on the same connection."""
_UDP_AGAIN_S = 0.25
_CHUNK = 4096
_BACKLOG = 512
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_REFUSALS = (errno.ECONNREFUSED, errno.ECONNRESET)
_LINGER_NONE = struct.pack("ii", 1, 0)


class Unjudged(Exception):
    """This machine cannot ask; the message says why."""


def why_not(protocol: str) -> str:
    """Why this kernel cannot speak a transport protocol; "" if it can."""
    try:
        _new_socket(protocol, False).close()
    except OSError as error:
        return f"this kernel has no {protocol.upper()}: {error.strerror}"
    return ""


def _new_socket(protocol: str, ipv6: bool) -> socket.socket:
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    if protocol == "udp":
        made = socket.socket(family, socket.SOCK_DGRAM)
    elif protocol == "sctp":
        made = socket.socket(family, socket.SOCK_STREAM, IPPROTO_SCTP)
    else:
        made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    return made


FIRST_PORT, LAST_PORT = 20000, 59999
"""Source ports of clients."""


class Traffic:
    """Servers and clients of one lab; used inside a running event loop.

    `namespaces` gives, for a host's name, the pid that holds its namespace. `next_port` is the source port to begin with, and
    after a while the one to go on with. No two connections share one until all were used: a backend that is behind two addresses
    cannot be reached through both from the same source address and port, as long as conntrack remembers the first.
    """

    def __init__(self, namespaces: Callable[[str], int], next_port: int = FIRST_PORT) -> None:
        self._pid_of = namespaces
        self.next_port = next_port
        self._servers: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._tokens = itertools.count(1)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    # -- servers ---------------------------------------------------------------------------------------------------

    def serve(self, hosts: Iterable[str], ports: Iterable[tuple[str, int]]) -> None:
        """Every host answers on every (protocol, port), IPv4 and IPv6."""
        listed = [(protocol, port) for protocol, port in sorted(ports) if not why_not(protocol)]
        loop = asyncio.get_running_loop()
        for host in hosts:
            with inside(self._pid_of(host)):
                for protocol, port in listed:
                    server = _new_socket(protocol, True)
                    self._servers.append(server)
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                    if protocol == "udp":
                        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                    server.bind(("::", port))
                    if protocol == "udp":
                        loop.add_reader(server, self._answer_datagrams, host, server)
                    else:
                        server.listen(_BACKLOG)
                        loop.add_reader(server, self._accept, host, server)

    def _accept(self, host: str, server: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection, peer = server.accept()
            task = asyncio.get_running_loop().create_task(self._talk(host, connection, peer[0]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _talk(self, host: str, connection: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        with connection, contextlib.suppress(OSError):
            while data := await loop.sock_recv(connection, _CHUNK):
                await loop.sock_sendall(connection, _identity(host, peer, data))

    def _answer_datagrams(self, host: str, server: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    data, ancillary, _, peer = server.recvmsg(_CHUNK, 256)
                    # Answer from the address that was called, whatever the host's routes would choose.
                    called = [
                        (level, kind, value[:16] + struct.pack("I", 0))
                        for level, kind, value in ancillary
                        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
                    ]
                    server.sendmsg([_identity(host, peer[0], data)], called, 0, peer)
                except BlockingIOError:
                    raise
                except OSError:  # an ICMP error about an earlier answer, or no route back: the client will hear nothing
                    continue

    # -- clients ---------------------------------------------------------------------------------------------------

    async def call(self, client: str, address: str, port: int, protocol: str, timeout_s: float) -> Outcome:
        """One connection from `client`; how it ends within `timeout_s`."""
        try:
            with inside(self._pid_of(client)):
                own = self._client_socket(protocol, ":" in address)
        except OSError as error:
            raise Unjudged(f"{protocol}: {error.strerror}") from error
        with own:
            try:
                async with asyncio.timeout(timeout_s):
                    if protocol == "udp":
                        return await self._call_udp(own, address, port)
                    return await self._call_stream(own, address, port)
            except TimeoutError:
                return Outcome(NOTHING)
            except OSError as error:
                return Outcome(REFUSED if error.errno in _REFUSALS else NOTHING)
            finally:
                asyncio.get_running_loop().remove_reader(own)

    def _client_socket(self, protocol: str, ipv6: bool) -> socket.socket:
        made = _new_socket(protocol, ipv6)
        while True:
            port = self.next_port
            self.next_port = port + 1 if port < LAST_PORT else FIRST_PORT
            try:
                made.bind(("::" if ipv6 else "0.0.0.0", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:  # a server's
                    made.close()
                    raise
            else:
                return made

    async def _call_stream(self, own: socket.socket, address: str, port: int) -> Outcome:
        # Gone at once when closed: thousands of connections must not stand in TIME_WAIT.
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(own, (address, port))
        answers = []
        for data in ROUNDS:
            await loop.sock_sendall(own, data)
            answers.append(json.loads(await loop.sock_recv(own, _CHUNK)))
        return _outcome(answers, own.getpeername()[0])

    async def _call_udp(self, own: socket.socket, address: str, port: int) -> Outcome:
        # Not connected, so that an answer from a wrong address is seen too; errors by ICMP are asked for explicitly.
        if own.family == socket.AF_INET6:
            own.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            own.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        loop = asyncio.get_running_loop()
        answers, source = [], ""
        for data in ROUNDS:
            token = b"%s-%d" % (data, next(self._tokens))
            while True:
                own.sendto(token, (address, port))
                try:
                    async with asyncio.timeout(_UDP_AGAIN_S):
                        while True:
                            text, peer = await loop.sock_recvfrom(own, _CHUNK)
                            answer = json.loads(text)
                            if answer["data"] == token.decode():
                                break
                except TimeoutError:
                    continue
                break
            answers.append(answer)
            source = peer[0]
        return _outcome(answers, source)

    async def close(self) -> None:
        """End all servers."""
        loop = asyncio.get_running_loop()
        for server in self._servers:
            loop.remove_reader(server)
            server.close()
        self._servers.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _identity(host: str, peer: str, data: bytes) -> bytes:
    return json.dumps({"host": host, "seen": plain(peer), "data": data.decode(errors="replace")}).encode()


def _outcome(answers: list[Any], source: str) -> Outcome:
    first, *others = [(answer["host"], answer["seen"]) for answer in answers]
    backend = first[0]
    for other in others:
        if other != first:
            backend = f"{first[0]}, then {other[0]}"
    return Outcome(ANSWER, backend, first[1], plain(source))


def plain(address: str) -> str:
    """An address in its shortest form, an IPv4 address in IPv6 clothes as IPv4."""
    parsed = ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
