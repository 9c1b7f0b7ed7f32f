"""Transactions on an OVSDB server through ovsdbapp.

ovsdbapp and the IDL below it bring the session: TLS, keep-alive, several members of a cluster, who leads it, losing it. The rows
are not replicated: an IDL keeps one Python object per column, and with ovsdbapp's own commands 2,000 Load_Balancers take twenty
times as long as the server needs for them (`python -m experiments.deploybench` measures what is left of that). Rows are read by
`select` and written by operations added to the IDL's transaction, so one plan is one request. And messages are decoded by
Python's JSON module, since the IDL's own decoder in Python, which PyPI's package falls back to, reads one character at a time.
"""

from __future__ import annotations

import codecs
import errno
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import ovs.db.idl
import ovs.jsonrpc
import ovs.poller
import ovs.stream
from ovsdbapp.backend.ovs_idl import connection as backend
from ovsdbapp.backend.ovs_idl import transaction as backend_transaction
from ovsdbapp.exceptions import TimeoutException
from ovsdbapp.schema.ovn_northbound.impl_idl import OvnNbApiIdlImpl

from deployer.northbound.server import ServerInfo, Tls
from deployer.ovsdb_json import Operation

_CHUNK_BYTES = 1 << 18
_LOST_WORDS = ("cluster error", "not leader", "lost leadership", "disconnected")


class Fate(StrEnum):
    """What became of a transaction."""

    DONE = "done"
    STALE = "stale"  # a `wait` operation did not hold: nothing was done
    REFUSED = "refused"  # an error: nothing was done
    UNSENT = "unsent"  # there was no session: nothing was done
    LOST = "lost"  # the session ended before the answer: done or not


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of a transaction; one result per operation if it was done, the server's words if it was refused."""

    fate: Fate
    results: tuple[dict[str, Any], ...] = ()
    error: str = ""
    details: str = ""


class Session:
    """A session with the database that `info` describes; raises ConnectionError if it does not come up in time."""

    def __init__(self, info: ServerInfo, tls: Tls, timeout_s: float) -> None:
        if tls.private_key:
            ovs.stream.Stream.ssl_set_private_key_file(tls.private_key)
            ovs.stream.Stream.ssl_set_certificate_file(tls.certificate)
            ovs.stream.Stream.ssl_set_ca_cert_file(tls.ca_cert)
        helper = ovs.db.idl.SchemaHelper(schema_json=info.schema)
        helper.register_columns(info.watched, ["name"])
        self._connection = backend.Connection(_Idl(info.remote, helper), timeout_s)
        try:
            self._api = _Api(self._connection, auto_index=False, start=False)
            self._connection.start()
        except TimeoutException as error:
            raise ConnectionError(f"no session within {timeout_s:g} s") from error

    def transact(self, operations: Sequence[Operation], timeout_s: float) -> Outcome:
        """Send `operations` as one transaction, once."""
        transaction = self._api.create_transaction(check_error=True, log_errors=False)
        transaction.operations = operations
        transaction.timeout = timeout_s
        try:
            outcome: Outcome = transaction.commit()
        except TimeoutException:
            return Outcome(Fate.LOST, error="timed out", details=f"no answer within {timeout_s:g} s")
        return outcome

    def close(self) -> None:
        """End the session; a second call does nothing."""
        self._connection.stop(timeout=1.0)


class _Api(OvnNbApiIdlImpl):
    """ovsdbapp's Northbound API keeps one connection per class; here each object has its own."""

    @property
    def ovsdb_connection(self) -> Any:
        return self.__dict__["_connection"]

    @ovsdb_connection.setter
    def ovsdb_connection(self, connection: Any) -> None:
        self.__dict__["_connection"] = connection

    def create_transaction(self, check_error: bool = False, log_errors: bool = True, **_: Any) -> _Transaction:
        connection = self.ovsdb_connection
        return _Transaction(self, connection, connection.timeout, check_error, log_errors)


class _Transaction(backend_transaction.Transaction):
    """Operations as they are. ovsdbapp's own repeats when an answer is lost; only the caller can know whether that is right."""

    operations: Sequence[Operation] = ()

    def do_commit(self) -> Outcome:
        transaction = _IdlTransaction(self.api.idl)
        for operation in self.operations:
            transaction.add_op(operation)
        return _outcome(transaction, self._wait(transaction))

    def _wait(self, transaction: _IdlTransaction) -> str:
        """As the IDL's `commit_block`, which does not return before the connection is up again: that may be never."""
        idl = self.api.idl
        connection = idl._session.get_seqno()
        while True:
            status: str = transaction.commit()
            if status != transaction.INCOMPLETE or idl._session.get_seqno() != connection:
                return status
            idl.run()
            poller = ovs.poller.Poller()
            idl.wait(poller)
            transaction.wait(poller)
            if idl._session.get_seqno() != connection:
                poller.immediate_wake()
            poller.block()


class _IdlTransaction(ovs.db.idl.Transaction):
    """Keeps the server's answer."""

    answer: Any = None

    def _process_reply(self, message: Any) -> None:
        self.answer = message.result if message.error is None else [message.error]
        super()._process_reply(message)


def _outcome(transaction: _IdlTransaction, status: str) -> Outcome:
    if status == transaction.UNCHANGED:
        return Outcome(Fate.DONE)
    if transaction.answer is None:
        return Outcome(Fate.UNSENT if transaction._request_id is None else Fate.LOST, error="the connection was cut")
    if status == transaction.SUCCESS:
        return Outcome(Fate.DONE, tuple(transaction.answer))
    errors = [item for item in transaction.answer if isinstance(item, dict) and item.get("error")]
    error, details = (errors[0]["error"], errors[0].get("details", "")) if errors else (str(transaction.answer), "")
    if error == "timed out":
        return Outcome(Fate.STALE)
    lost = any(word in f"{error} {details}" for word in _LOST_WORDS)
    return Outcome(Fate.LOST if lost else Fate.REFUSED, (), error, details)


# -- the wire -----------------------------------------------------------------------------------------------------------


class _Idl(backend.OvsdbIdl):
    def __init__(self, remote: str, helper: Any) -> None:
        super().__init__(remote, helper)
        self._session.__class__ = _RpcSession  # the IDL has no way to say which


class _RpcSession(ovs.jsonrpc.Session):
    """A session whose connections are `_Rpc`."""

    rpc: Any

    def run(self) -> None:
        super().run()
        if self.rpc is not None and not isinstance(self.rpc, _Rpc):
            self.rpc = _Rpc(self.rpc.stream)  # it has just been connected: nothing was sent or read yet


class _Rpc(ovs.jsonrpc.Connection):
    """One connection: reads large chunks, decodes whole messages."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._text = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._readable = False
        self._output = b""
        self._sent = 0

    def send(self, message: Any) -> int:
        if not self.status:
            text = json.dumps(message.to_json(), separators=(",", ":")).encode()
            self._output, self._sent = self._output[self._sent :] + text, 0
            self.run()
        return int(self.status)

    def run(self) -> None:
        view = memoryview(self._output)
        while not self.status and self._sent < len(view):
            sent = self.stream.send(view[self._sent :])
            if sent < 0:
                if sent != -errno.EAGAIN:
                    self.error(-sent)
                break
            self._sent += sent

    def get_backlog(self) -> int:
        return 0 if self.status else len(self._output) - self._sent

    def wait(self, poller: Any) -> None:
        if not self.status:
            self.stream.run_wait(poller)
            if self.get_backlog():
                self.stream.send_wait(poller)

    def recv(self) -> tuple[int, Any]:
        while not self.status:
            message = self._message()
            if message is not None:
                self._readable = True
                return 0, message
            error, data = self.stream.recv(_CHUNK_BYTES)
            if error == errno.EAGAIN:
                self._readable = False
                return error, None
            if error or not data:
                self.error(error or ovs.jsonrpc.EOF)
            else:
                self.received_bytes += len(data)
                self._text += self._decode(data)
        return self.status, None

    def recv_wait(self, poller: Any) -> None:
        if self.status or self._readable:
            poller.immediate_wake()
        else:
            self.stream.recv_wait(poller)

    def _message(self) -> Any:
        # Answers may be many megabytes: decode only when the text can be complete.
        if not self._text.endswith("}"):
            return None
        try:
            value, end = _DECODER.raw_decode(self._text)
        except ValueError:
            return None
        self._text = self._text[end:].lstrip()
        message = ovs.jsonrpc.Message.from_json(value)
        if not isinstance(message, ovs.jsonrpc.Message):
            self.error(errno.EPROTO)
            return None
        return message


_DECODER = json.JSONDecoder()
