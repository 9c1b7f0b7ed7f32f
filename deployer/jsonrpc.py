"""A blocking JSON-RPC 1.0 client: what OVSDB servers (RFC 7047) and every OVS/OVN daemon's control socket speak.

The Python IDL of Open vSwitch keeps a replica and polls; here one request gets one answer, thousands of times per second.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ytwin.core.errors import YtwinError

_DECODER = json.JSONDecoder()
_CHUNK_BYTES = 1 << 20


class RpcError(YtwinError):
    """The peer answered with an error, or went away."""


class Connection:
    """One connection to `remote`: "unix:PATH", "tcp:HOST:PORT" ("tcp:[IPV6]:PORT"), or the path of a Unix socket.

    "ssl:HOST:PORT" needs `tls`, which also decides whom to trust. Not thread-safe.
    """

    def __init__(self, remote: Path | str, timeout_s: float = 60.0, tls: ssl.SSLContext | None = None) -> None:
        self._buffer = ""
        self._pending = b""
        self._next_id = 0
        try:
            self._socket = _connect(str(remote), timeout_s, tls)
        except ssl.SSLError as error:
            raise RpcError(f"cannot connect to {remote}: TLS: {error.reason or error}") from error
        except OSError as error:
            raise RpcError(f"cannot connect to {remote}: {error.strerror or error}") from error

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._socket.close()

    def call(self, method: str, params: Sequence[Any] = ()) -> Any:
        """The result of one request; raises RpcError with the peer's own words."""
        return self.call_many(method, [params])[0]

    def call_many(self, method: str, requests: Iterable[Sequence[Any]]) -> list[Any]:
        """The results of several requests that are all sent before the first answer is read, in order.

        Meant for short requests: both sides' socket buffers must hold what the other has not read yet.
        """
        ids = []
        text = []
        for params in requests:
            text.append(
                json.dumps({"method": method, "params": list(params), "id": self._next_id}, separators=(",", ":"))
            )
            ids.append(self._next_id)
            self._next_id += 1
        try:
            self._socket.sendall("".join(text).encode())
            return [self._answer(id_, method) for id_ in ids]
        except OSError as error:
            raise RpcError(f"{method}: {error.strerror or error}") from error

    def _answer(self, id_: int, method: str) -> Any:
        while True:
            message = self._receive(method)
            if message.get("method") == "echo":  # keep-alive of an OVSDB server
                reply = {"result": message["params"], "error": None, "id": message["id"]}
                self._socket.sendall(json.dumps(reply).encode())
            elif message.get("id") == id_ and "method" not in message:
                if message.get("error") is not None:
                    raise RpcError(f"{method}: {_words(message['error'])}")
                return message.get("result")

    def _receive(self, method: str) -> dict[str, Any]:
        while True:
            # Answers may be many megabytes: decode only when the text can be complete.
            if self._buffer.rstrip().endswith("}"):
                try:
                    message, end = _DECODER.raw_decode(self._buffer)
                except ValueError:
                    pass
                else:
                    self._buffer = self._buffer[end:].lstrip()
                    return dict(message)
            data = self._pending + self._socket.recv(_CHUNK_BYTES)
            if data == self._pending:
                raise RpcError(f"{method}: the peer closed the connection")
            cut = _whole_characters(data)
            self._buffer += data[:cut].decode()
            self._pending = data[cut:]


def _connect(remote: str, timeout_s: float, tls: ssl.SSLContext | None) -> socket.socket:
    scheme, colon, address = remote.partition(":")
    if colon and scheme in ("tcp", "ssl"):
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise RpcError(f"{remote}: expected {scheme}:HOST:PORT")
        plain = socket.create_connection((host.strip("[]"), int(port)), timeout_s)
        if scheme == "tcp":
            return plain
        try:
            if tls is None:
                raise RpcError(f"{remote}: no certificates given")
            return tls.wrap_socket(plain)
        except BaseException:
            plain.close()
            raise
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect(remote.removeprefix("unix:"))
    except OSError:
        connection.close()
        raise
    return connection


def _whole_characters(data: bytes) -> int:
    """Length of the part of `data` that does not end inside a UTF-8 character."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return len(data)
        if byte >= 0xC0:
            width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) if back >= width else len(data) - back
    return len(data)


def _words(error: Any) -> str:
    if isinstance(error, dict):
        return ": ".join(str(error[k]) for k in ("error", "details") if error.get(k))
    return str(error).strip()
