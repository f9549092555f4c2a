"""Callers that may connect, and callers that a listener turns away: other users, other time namespaces."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from listeners import LISTENERS
from tachyon import RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

echo = tachyon_rpc(1)(len)


def serve(service: Callable[..., Peer], **options: object) -> None:
    service("basics", "server", quiet=True, **options)


@pytest.fixture
def as_other_user(service: Callable[..., Peer], path: str) -> Callable[..., list[str]]:
    """Return a function that tries operations as another user, and returns their outcomes."""

    def attempt(*operations: str) -> list[str]:
        Path(path).parent.chmod(0o755)
        return service("other_user", operations=operations).join().splitlines()

    return attempt


@needs_root
def test_the_file_keeps_another_user_out(service: Callable[..., Peer], as_other_user: Callable[..., list[str]]) -> None:
    serve(service)
    (told,) = as_other_user("RpcBus.connect(path, any_uid=True)")
    assert told.startswith(f"SystemCallError {errno.EACCES} "), told


@needs_root
def test_a_server_turns_another_user_away(
    service: Callable[..., Peer], as_other_user: Callable[..., list[str]], path: str
) -> None:
    """The mode of the file does not decide: the server asks the kernel for the user of the peer."""
    serve(service)
    Path(path).chmod(0o666)
    told = as_other_user("RpcBus.connect(path, any_uid=True)", "RpcBus.connect(path)")
    assert told[0].startswith("HandshakeError "), told
    assert "does not admit this user" in told[0]
    # The connecting side refuses, too: the listener runs as another user.
    assert told[1].startswith("HandshakeError "), told
    assert "runs as user 0" in told[1]
    with RpcBus.connect(path) as bus:
        assert echo.call(bus, b"ours", timeout=10) == b"ours"


@needs_root
@pytest.mark.parametrize("kind", ["Bus", "RpcBus"])
def test_a_listener_turns_another_user_away_and_listens_on(
    peer: Callable[[str], Peer], as_other_user: Callable[..., list[str]], path: str, kind: str
) -> None:
    capacities = "4096" if kind == "Bus" else "4096, 4096"
    waiting = peer(f"""
        with tachyon.{kind}.listen(path, {capacities}) as bus:
            print("connected")
    """)
    while not os.path.lexists(path):
        pass
    Path(path).chmod(0o666)
    (told,) = as_other_user(f"{kind}.connect(path, any_uid=True)")
    assert told.startswith("HandshakeError "), told
    getattr(tachyon, kind).connect(path).close()
    assert waiting.join() == "connected\n"


@needs_root
def test_both_sides_may_allow_other_users(
    service: Callable[..., Peer], as_other_user: Callable[..., list[str]], path: str
) -> None:
    serve(service, any_uid=True)
    Path(path).chmod(0o666)
    told = as_other_user('echo.call(RpcBus.connect(path, any_uid=True), b"hello", timeout=10)')
    assert told == ["b'hello'"]


@needs_root
def test_a_directory_that_may_not_be_written(as_other_user: Callable[..., list[str]], path: str) -> None:
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stale.bind(path)
    stale.close()
    told = as_other_user(
        *(one.replace("path", where) for where in ("path", "path + '2'") for one in LISTENERS.values())
    )
    assert len(told) == 6
    assert all(line.startswith(f"SystemCallError {errno.EACCES} ") for line in told), told
    assert stat.S_ISSOCK(os.lstat(path).st_mode), "a socket that may not be replaced stays"


def test_a_caller_with_another_clock(service: Callable[..., Peer], path: str) -> None:
    """Deadlines of the caller would mean other moments to the server: the caller gets an error, the server goes on."""
    ahead = ["unshare", "--user", "--map-root-user", "--time", "--monotonic", "100000", "--fork", "--kill-child"]
    try:
        tried = subprocess.run([*ahead, "true"], capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("no program `unshare`")
    if tried.returncode != 0:
        pytest.skip(f"no time namespaces: {tried.stderr}")
    serve(service)
    told = service("connecting", through=ahead, timeout=5).join().splitlines()
    reason = "runs in another time namespace: run both sides in one, so that deadlines mean the same"
    assert told[0] == f'the listener at "{path}" {reason}'
    with RpcBus.connect(path) as bus:
        assert echo.call(bus, b"after", timeout=10) == b"after"
