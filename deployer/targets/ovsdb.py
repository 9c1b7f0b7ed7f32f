"""Any OVN_Northbound: `--db unix:PATH`, `tcp:HOST:PORT`, `ssl:HOST:PORT`, or a cluster's members joined by commas."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from deployer.northbound.ledger import check_deployment
from deployer.northbound.reader import Live, read_live
from deployer.northbound.server import DATABASE, NotNow, ServerInfo, Tls, find_server
from deployer.northbound.session import Fate, Outcome, Session
from deployer.northbound.writer import Writer, find_foreign, notes, ordered
from deployer.ovsdb_json import Operation
from deployer.target import Changes, Item, State, destroy_by_plan
from deployer.targets import TargetOptions
from ytwin.core.errors import StalePlan, YtwinError
from ytwin.core.plan import Change, Plan
from ytwin.northbound.rows import RowKey

T = TypeVar("T")

CHANGES_ALONE = 200_000
"""Changes of one transaction on a server that stands alone: about 200 MB of JSON."""
CHANGES_CLUSTERED = 5_000
"""Of one transaction on a cluster, whose leader must not be busy for as long as the election timer, 1 s by default."""
_SESSION_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0


class OvsdbTarget:
    """A deployment in a Northbound. It connects when it is first used, and again when the connection is lost."""

    name = "ovsdb"
    owns_nodes = False

    def __init__(
        self,
        db: str,
        deployment: str,
        tls: Tls | None = None,
        timeout_s: float = 60.0,
        changes_per_transaction: int | None = None,
    ) -> None:
        self._db = db
        self._deployment = check_deployment(deployment)
        self._tls = tls or Tls()
        self._timeout_s = timeout_s
        self._limit = changes_per_transaction
        self._info: ServerInfo | None = None
        self._session: Session | None = None
        self._live: Live | None = None
        self.transactions: list[int] = []
        """Number of operations of each transaction that was committed, for reports and measurements."""

    @classmethod
    def open(cls, options: TargetOptions) -> OvsdbTarget:
        """For the command line; nothing is connected yet."""
        if not options.db:
            raise YtwinError("target ovsdb needs --db unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT (or OVN_NB_DB)")
        tls = Tls(options.private_key, options.certificate, options.ca_cert)
        return cls(options.db, options.deployment, tls, options.timeout_s)

    @property
    def place(self) -> str:
        """The database and the deployment."""
        return f"{self._db} deployment {self._deployment}"

    def close(self) -> None:
        """End the session."""
        session, self._session, self._live = self._session, None, None
        if session is not None:
            session.close()

    def snapshot(self) -> State:
        """Read the deployment's rows, all in one transaction."""
        self._live = self._read()
        return dict(self._live.state)

    def notes(self, plan: Changes) -> tuple[str, ...]:
        """What others' rows make different from the plan's words; YtwinError if they are in the way."""
        live = self._live or self._read()
        foreign = self._patiently(lambda: find_foreign(self._ask, live, plan))
        return tuple(notes(live, plan, foreign))

    def apply(self, plan: Changes) -> None:
        """One transaction, or as few as the server's limits allow.

        If the answer is lost, what is there says what was done, and the rest is done then.
        """
        live, self._live = self._live, None
        begun = False
        deadline = time.monotonic() + self._timeout_s
        while True:
            live = live or self._read()
            pending = _pending(live, plan, begun)
            if not pending:
                return
            limit = self._limit or (CHANGES_CLUSTERED if self._server().clustered else CHANGES_ALONE)
            outcome = self._commit(live, pending[:limit], len(pending) <= limit and _is_all(live, pending))
            if outcome.fate is Fate.DONE and len(pending) <= limit:
                return
            begun = begun or outcome.fate in (Fate.DONE, Fate.LOST)
            if outcome.fate is not Fate.DONE:
                self._explain(outcome, deadline)
            live = None

    def destroy(self) -> None:
        """Everything of the deployment goes, its marks in NB_Global too."""
        destroy_by_plan(self)

    # -- the session -------------------------------------------------------------------------------------------------------

    def _commit(self, live: Live, changes: Sequence[Change[RowKey, Item]], finish: bool) -> Outcome:
        part: Changes = Plan(tuple(changes))
        foreign = self._patiently(lambda: find_foreign(self._ask, live, part))
        operations = Writer(live, foreign, uuid.uuid4().hex).operations(changes, finish)
        outcome = self._send(operations)
        if outcome.fate is Fate.DONE:
            self.transactions.append(len(operations))
        return outcome

    def _explain(self, outcome: Outcome, deadline: float) -> None:
        """Return if another attempt may succeed; else raise what is wrong."""
        words = f"{outcome.error}: {outcome.details}" if outcome.details else outcome.error
        if outcome.fate is Fate.REFUSED:
            if outcome.error in ("permission error", "not allowed"):
                raise YtwinError(f"{self._db}: permission denied: {outcome.details or outcome.error}")
            raise YtwinError(f"{self._db} refused the transaction, nothing of it was done: {words}")
        if time.monotonic() > deadline:
            if outcome.fate is Fate.STALE:
                raise StalePlan("the rows keep changing while the plan is applied; plan again")
            raise YtwinError(
                f"{self._db}: gave up after {self._timeout_s:g} s ({words}); apply again to go on where it stopped"
            )
        if outcome.fate is not Fate.STALE:
            self.close()

    def _read(self) -> Live:
        return self._patiently(lambda: read_live(self._ask, self._deployment, self._server().schema))

    def _ask(self, operations: Sequence[Operation]) -> Sequence[Mapping[str, Any]]:
        outcome = self._send(operations)
        if outcome.fate is Fate.DONE:
            return outcome.results
        words = f"{outcome.error}: {outcome.details}" if outcome.details else outcome.error
        if outcome.fate is Fate.REFUSED:
            raise YtwinError(f"{self._db}: {DATABASE} cannot be read: {words}")
        self.close()
        raise NotNow(f"{self._db}: {words}")

    def _send(self, operations: Sequence[Operation]) -> Outcome:
        if self._session is None:
            self._patiently(self._server)
            try:
                # Not long: a server that has just gone may be found at another place.
                self._session = Session(self._server(), self._tls, min(self._timeout_s, _SESSION_S))
            except ConnectionError as error:
                return Outcome(Fate.UNSENT, error=str(error))
        return self._session.transact(operations, self._timeout_s)

    def _server(self) -> ServerInfo:
        """The server, examined anew for every session: another may lead by now, or another release run."""
        if self._info is None or self._session is None:
            self._info = find_server(self._db, self._tls, min(self._timeout_s, 10.0))
        return self._info

    def _patiently(self, action: Callable[[], T]) -> T:
        """`action`, again and again with growing pauses while it says NotNow: it only reads, so that is safe."""
        deadline = time.monotonic() + self._timeout_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return action()
            except NotNow as error:
                if time.monotonic() + pause_s > deadline:
                    raise YtwinError(f"{error} (tried for {self._timeout_s:g} s)") from error
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _pending(live: Live, plan: Changes, begun: bool) -> list[Change[RowKey, Item]]:
    """The changes that are still to be made. Once some may have been made, those count as done whose end is there."""
    pending: list[Change[RowKey, Item]] = []
    for change in ordered(plan):
        now = live.state.get(change.key)
        if now == change.before:
            pending.append(change)
        elif not begun or now != change.after:
            raise StalePlan(f"{change.key} has changed since the plan was made; plan again")
    return pending


def _is_all(live: Live, pending: Sequence[Change[RowKey, Item]]) -> bool:
    """Whether nothing of the deployment is left after these changes."""
    return all(change.after is None for change in pending) and {c.key for c in pending} == live.state.keys()
