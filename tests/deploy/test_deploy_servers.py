"""Servers of every kind: what an OVN user meets, and what the errors say."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_places import topology, twin_of
from deploy_server import SCHEMA, Server, apply_goal, assert_sound, binary, children

from deployer.jsonrpc import Connection, RpcError
from deployer.northbound.server import NotNow, Tls, find_server
from deployer.sandbox import missing_binaries
from deployer.southbound import fetch_southbound
from deployer.target import Item, northbound_state
from deployer.targets import TargetOptions, open_target
from deployer.targets.ovsdb import OvsdbTarget
from ytwin.core.errors import YtwinError
from ytwin.core.plan import diff
from ytwin.northbound.rows import RowKey

pytestmark = [
    pytest.mark.ovn,
    pytest.mark.skipif(bool(missing_binaries()), reason=f"not installed: {', '.join(missing_binaries())}"),
]


@pytest.fixture(scope="module")
def goal() -> dict[RowKey, Item]:
    return northbound_state(twin_of(topology()).northbound)


@contextlib.contextmanager
def opened(
    remote: str, tls: Tls | None = None, timeout_s: float = 20.0, size: int | None = None
) -> Iterator[OvsdbTarget]:
    target = OvsdbTarget(remote, "default", tls, timeout_s, size)
    try:
        yield target
    finally:
        target.close()


def said(remote: str, tls: Tls | None = None, timeout_s: float = 0.2) -> str:
    """The error that a user gets."""
    with pytest.raises(YtwinError) as failure, opened(remote, tls, timeout_s) as target:
        target.snapshot()
    return str(failure.value)


def test_nobody_listens(tmp_path: Path) -> None:
    begin = time.monotonic()
    text = said(f"unix:{tmp_path}/no.sock", timeout_s=0.5)
    assert 0.1 < time.monotonic() - begin < 5
    assert "unreachable: No such file" in text
    assert "tried for 0.5 s" in text
    assert "unreachable: Connection refused" in said("tcp:127.0.0.1:1")


def test_a_server_that_starts_late_is_waited_for(goal: dict[RowKey, Item]) -> None:
    with Server() as server:
        server.kill()
        process = children().Process(target=apply_goal, args=(server.remote, goal, None))
        process.start()
        time.sleep(0.2)
        server.start()
        process.join()
        assert process.exitcode == 0
        assert_sound(server, goal)


@pytest.mark.parametrize("remote", ["", "nb.sock", "http:1.2.3.4:5"])
def test_not_a_remote(remote: str) -> None:
    assert "unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT" in said(remote)


def test_another_database() -> None:
    with Server(Path("/usr/share/ovn/ovn-sb.ovsschema")) as server:
        text = _examined(server.remote)
    assert "serves OVN_Southbound, not OVN_Northbound" in text


def _examined(remote: str) -> str:
    with pytest.raises(YtwinError) as failure:
        find_server(remote, Tls(), 5.0)
    assert not isinstance(failure.value, NotNow), "asking again does not help"
    return str(failure.value)


def test_a_schema_that_lacks_columns_is_named(tmp_path: Path) -> None:
    schema = json.loads(SCHEMA.read_text())
    del schema["tables"]["Load_Balancer_Group"]
    for table in ("Logical_Switch", "Logical_Router"):
        del schema["tables"][table]["columns"]["load_balancer_group"]
    del schema["tables"]["Logical_Router_Static_Route"]["columns"]["route_table"]
    schema["version"] = "5.31.0"
    del schema["cksum"]
    old = tmp_path / "old.ovsschema"
    old.write_text(json.dumps(schema))
    with Server(old) as server:
        text = said(server.remote)
    assert "schema 5.31.0 of OVN_Northbound lacks" in text
    for missing in (
        "Load_Balancer_Group",
        "Logical_Switch.load_balancer_group",
        "Logical_Router_Static_Route.route_table",
    ):
        assert missing in text
    assert "OVN 22.03 or newer" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_socket_of_another_user() -> None:
    with Server() as server:
        os.chmod(server.directory, 0o755)
        os.chmod(server.socket, 0o600)
        receive, send = children().Pipe(False)
        process = children().Process(target=_as_nobody, args=(server.remote, send))
        process.start()
        process.join()
        assert "permission denied" in receive.recv()


def _as_nobody(remote: str, send: Any) -> None:
    os.setuid(65534)
    try:
        find_server(remote, Tls(), 5.0)
    except YtwinError as error:
        send.send(str(error))


def test_a_server_that_only_lets_read(goal: dict[RowKey, Item]) -> None:
    """A backup that follows an active server."""
    with (
        Server() as active,
        Server(options=(f"--sync-from={active.remote}",)) as backup,
        opened(backup.remote) as target,
    ):
        assert target.snapshot() == {}
        with pytest.raises(YtwinError, match=r"permission denied: .*read only"):
            target.apply(diff({}, goal))
        assert target.snapshot() == {}


def test_tcp(goal: dict[RowKey, Item]) -> None:
    with Server(remotes=("ptcp:0:127.0.0.1",)) as server, opened(f"tcp:127.0.0.1:{_port(server)}") as target:
        target.apply(diff(target.snapshot(), goal))
        assert target.snapshot() == goal
        assert_sound(server, goal)


def _port(server: Server) -> int:
    log = (server.directory / "log").read_text()
    return int(log.split("listening on port ")[1].split()[0])


# -- TLS ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pki() -> Iterator[Path]:
    """Two authorities, and a key with a certificate of each; one key with a passphrase."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

        for ca in ("ca", "other"):
            subject = f"/CN={ca}"
            openssl(
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                f"{ca}.key",
                "-out",
                f"{ca}.pem",
                "-subj",
                subject,
            )
            openssl(
                "req",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                f"{ca}-peer.key",
                "-out",
                "r.csr",
                "-subj",
                f"/CN={ca}-peer",
            )
            signer = ("-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial")
            openssl("x509", "-req", "-in", "r.csr", *signer, "-out", f"{ca}-peer.pem", "-days", "2")
        openssl("rsa", "-aes256", "-passout", "pass:secret", "-in", "ca-peer.key", "-out", "locked.key")
        yield folder


@pytest.fixture
def tls_server(pki: Path) -> Iterator[Server]:
    files = {"--private-key": "ca-peer.key", "--certificate": "ca-peer.pem", "--ca-cert": "ca.pem"}
    with Server(remotes=("pssl:0:127.0.0.1",), options=tuple(f"{k}={pki / v}" for k, v in files.items())) as server:
        yield server


def test_tls(tls_server: Server, pki: Path, goal: dict[RowKey, Item]) -> None:
    tls = Tls(str(pki / "ca-peer.key"), str(pki / "ca-peer.pem"), str(pki / "ca.pem"))
    with opened(f"ssl:127.0.0.1:{_port(tls_server)}", tls) as target:
        target.apply(diff(target.snapshot(), goal))
        assert target.snapshot() == goal
        target.destroy()
    assert_sound(tls_server, {})


def test_the_southbound_is_read_over_tls_too(tls_server: Server, pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is that of the server, so the handshake and the first call went through."""
    remote = f"ssl:127.0.0.1:{_port(tls_server)}"
    with pytest.raises(YtwinError, match="--private-key"):
        fetch_southbound(remote)
    for name, file in (("PRIVATE_KEY", "ca-peer.key"), ("CERTIFICATE", "ca-peer.pem"), ("CA_CERT", "ca.pem")):
        monkeypatch.setenv(f"YTWIN_{name}", str(pki / file))
    with pytest.raises(YtwinError, match="does not serve OVN_Southbound"):
        fetch_southbound(remote)


def test_tls_errors_say_what_to_do_and_show_no_key(tls_server: Server, pki: Path, tmp_path: Path) -> None:
    remote = f"ssl:127.0.0.1:{_port(tls_server)}"
    key, certificate, ca = (str(pki / name) for name in ("ca-peer.key", "ca-peer.pem", "ca.pem"))
    text = [
        said(remote),
        said(remote, Tls(key, "", ca)),
        said(remote, Tls(key, str(tmp_path / "none.pem"), ca)),
        said(remote, Tls(certificate, certificate, ca)),
        said(remote, Tls(str(pki / "locked.key"), certificate, ca)),
        said(remote, Tls(key, certificate, key)),
        said(remote, Tls(key, certificate, str(pki / "other.pem"))),
        said(remote, Tls(str(pki / "other-peer.key"), str(pki / "other-peer.pem"), ca)),
        said(f"ssl:{remote.removeprefix('ssl:')}".replace("ssl:", "tcp:")),
    ]
    expected = [
        "--private-key",
        "--certificate",
        "none.pem: No such file",
        "not a PEM certificate and its key",
        "passphrase",
    ]
    expected += ["--ca-cert", "TLS", "TLS|closed|reset|EOF", ""]
    for said_, words in zip(text, expected, strict=True):
        assert any(word in said_ for word in words.split("|")), (words, said_)
    secret = Path(key).read_text().splitlines()[1]
    everything = "\n".join(text) + repr(Tls(key, certificate, ca)) + repr(TargetOptions(private_key=key))
    assert secret not in everything
    assert "PRIVATE KEY" not in everything


def test_command_line_options_reach_the_target(pki: Path, tls_server: Server) -> None:
    files = {"private_key": "ca-peer.key", "certificate": "ca-peer.pem", "ca_cert": "ca.pem"}
    options = TargetOptions(db=f"ssl:127.0.0.1:{_port(tls_server)}", **{k: str(pki / v) for k, v in files.items()})
    target = open_target("ovsdb", options)
    assert target.snapshot() == {}
    target.close()


# -- clusters -------------------------------------------------------------------------------------------------------------


class Cluster:
    """Three members on Unix sockets."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ytwin-raft-"))
        self.members: list[subprocess.Popen[bytes] | None] = [None, None, None]
        try:
            self._form()
        except BaseException:
            self.__exit__()
            raise

    def _form(self) -> None:
        tool, first = binary("ovsdb-tool"), f"unix:{self.directory}/0.raft"
        subprocess.run([tool, "create-cluster", f"{self.directory}/0.db", str(SCHEMA), first], check=True)
        self.start(0)
        for i in (1, 2):
            joining = [f"{self.directory}/{i}.db", "OVN_Northbound", f"unix:{self.directory}/{i}.raft", first]
            subprocess.run([tool, "join-cluster", *joining], check=True)
            self.start(i)
        self.leader()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for i in range(3):
            self.kill(i)
        subprocess.run(["rm", "-rf", str(self.directory)], check=True)

    def start(self, i: int) -> None:
        quiet = subprocess.DEVNULL
        options = [
            f"--remote=punix:{self.directory}/{i}.sock",
            f"--unixctl={self.directory}/{i}.ctl",
            f"{self.directory}/{i}.db",
        ]
        command = [binary("ovsdb-server"), "--no-chdir", "-vconsole:off", "-vsyslog:off", *options]
        self.members[i] = subprocess.Popen(command, stdout=quiet, stderr=quiet)

    def kill(self, i: int) -> None:
        process, self.members[i] = self.members[i], None
        if process is not None:
            process.kill()
            process.wait()

    def remote(self, i: int) -> str:
        return f"unix:{self.directory}/{i}.sock"

    @property
    def remotes(self) -> str:
        return ",".join(self.remote(i) for i in range(3))

    def leader(self) -> int:
        """Which member leads, once one does and the others follow it."""
        select = {"op": "select", "table": "Database", "where": [["name", "==", "OVN_Northbound"]]}
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            leads = []
            for i in range(3):
                with contextlib.suppress(RpcError), Connection(f"{self.directory}/{i}.sock", 5.0) as connection:
                    rows = connection.call("transact", ["_Server", select])[0]["rows"]
                    leads += [(row["leader"], i) for row in rows if row["connected"]]
            if len(leads) == sum(m is not None for m in self.members) and any(lead for lead, _ in leads):
                return max(leads)[1]
            time.sleep(0.05)
        raise AssertionError("no leader")

    def hand_over(self, i: int) -> None:
        """Make a member give up the lead."""
        with Connection(f"{self.directory}/{i}.ctl") as control:
            control.call("cluster/failure-test", ["transfer-leadership"])


def test_a_follower_is_refused_and_the_leader_found(goal: dict[RowKey, Item]) -> None:
    with Cluster() as cluster:
        leader = cluster.leader()
        assert "not the leader" in said(cluster.remote((leader + 1) % 3))
        with opened(cluster.remotes) as target:
            target.apply(diff(target.snapshot(), goal))
            assert target.snapshot() == goal
        assert find_server(cluster.remotes, Tls(), 5.0).clustered


def test_the_leader_changes_in_the_middle(goal: dict[RowKey, Item]) -> None:
    """Killed, or handing over: the apply finds the new leader, sees what was done, and does the rest."""
    with Cluster() as cluster:
        for kill in (True, False):
            leader = cluster.leader()
            process = children().Process(target=apply_goal, args=(cluster.remotes, goal if kill else {}, 3))
            process.start()
            time.sleep(0.03)
            if kill:
                cluster.kill(leader)
            else:
                cluster.hand_over(leader)
            process.join(60)
            assert process.exitcode == 0
            with opened(cluster.remotes) as target:
                assert target.snapshot() == (goal if kill else {})
            if kill:
                cluster.start(leader)
