"""Errors before a bus exists: each has an exception of its own, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer


@pytest.mark.parametrize("capacity", [0, -1, 3, 100, (1 << 16) - 1, 1 << 40, 1 << 70])
def test_capacities_are_powers_of_two(path: str, capacity: int) -> None:
    with pytest.raises(tachyon.errors.InvalidArgumentError, match=r"capacity|power"):
        tachyon.Bus.listen(path, capacity, timeout=1)
    with pytest.raises(ValueError, match=r"cap|power"):
        tachyon.RpcBus.listen(path, 4096, capacity, timeout=1)
    assert not os.path.lexists(path)


@pytest.mark.parametrize("bad", ["", "x" * 200, "nul\0byte"])
def test_impossible_paths(bad: str) -> None:
    with pytest.raises(ValueError, match=r"path|null|NUL|byte"):
        tachyon.Bus.listen(bad, 4096, timeout=1)
    with pytest.raises(ValueError, match=r"path|null|NUL|byte"):
        tachyon.Bus.connect(bad, timeout=0)


def test_paths_are_path_likes(path: str) -> None:
    with pytest.raises(tachyon.TimedOutError):
        tachyon.Bus.listen(Path(path), 4096, timeout=0.01)
    with pytest.raises(TypeError):
        tachyon.Bus.listen(7, 4096)  # type: ignore[arg-type]
    assert not os.path.lexists(path)


def test_a_file_is_never_unlinked(path: str) -> None:
    Path(path).write_text("precious")
    for refused in (
        lambda: tachyon.Bus.listen(path, 4096, timeout=1),
        lambda: tachyon.RpcBus.listen(path, 4096, 4096, timeout=1),
        lambda: tachyon.Bus.connect(path, timeout=1),
    ):
        with pytest.raises(tachyon.errors.NotASocketError) as caught:
            refused()
        assert caught.value.errno == errno.EEXIST
    assert Path(path).read_text() == "precious"


def test_a_live_listener_keeps_its_path(peer: Callable[[str], Peer], path: str) -> None:
    listener = peer("tachyon.Bus.listen(path, 4096).close()")
    while not os.path.lexists(path):
        pass
    with pytest.raises(tachyon.errors.AddressInUseError) as caught:
        tachyon.Bus.listen(path, 4096, timeout=1)
    assert caught.value.errno == errno.EADDRINUSE
    with tachyon.Bus.connect(path):
        pass
    listener.join()


def test_a_stale_socket_is_replaced(peer: Callable[[str], Peer], path: str) -> None:
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stale.bind(path)
    stale.close()
    listener = peer("tachyon.Bus.listen(path, 4096).close()")
    with tachyon.Bus.connect(path):
        pass
    listener.join()


def test_a_connect_without_a_listener_fails(path: str) -> None:
    with pytest.raises(ConnectionRefusedError) as caught:
        tachyon.Bus.connect(path, timeout=0.05)
    assert isinstance(caught.value, tachyon.NoListenerError)
    assert path in str(caught.value)
    with pytest.raises(tachyon.NoListenerError):
        tachyon.RpcBus.connect(path, timeout=0)


def test_a_listener_without_a_client_times_out(path: str) -> None:
    with pytest.raises(tachyon.TimedOutError):
        tachyon.Bus.listen(path, 4096, timeout=0.05)
    with pytest.raises(TimeoutError):
        tachyon.RpcBus.listen(path, 4096, 4096, timeout=0)
    assert not os.path.lexists(path)


def test_the_wrong_kind_is_turned_away_and_the_listener_goes_on(peer: Callable[[str], Peer], path: str) -> None:
    listener = peer("""
        with tachyon.Bus.listen(path, 4096) as bus:
            print(bus.recv().data)
    """)
    with pytest.raises(tachyon.errors.WrongKindError):
        tachyon.RpcBus.connect(path)
    with tachyon.Bus.connect(path) as bus:
        bus.send(b"right")
        assert listener.join() == "b'right'\n"


def test_both_sides_send(peer: Callable[[str], Peer], path: str) -> None:
    other = peer("""
        with tachyon.Bus.connect(path) as bus:
            bus.send(b"first")
            print("sent", flush=True)
            sys.stdin.readline()
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        other.line()
        with pytest.raises(tachyon.errors.WrongDirectionError, match="sender"):
            bus.send(b"x")
        assert bus.recv(timeout=10).data == b"first"


def test_a_timeout_is_a_number_of_seconds(path: str) -> None:
    for bad in (-1, float("nan")):
        with pytest.raises(tachyon.errors.InvalidArgumentError, match="timeout"):
            tachyon.Bus.listen(path, 4096, timeout=bad)
        with pytest.raises(tachyon.errors.InvalidArgumentError, match="timeout"):
            tachyon.Bus.connect(path, timeout=bad)


def test_listening_leaves_the_interpreter_alone(path: str) -> None:
    """Both ends in one process: neither call may hold the GIL while it waits."""
    received = []

    def receive() -> None:
        with tachyon.Bus.listen(path, 4096) as bus:
            received.extend(bus)

    thread = threading.Thread(target=receive)
    thread.start()
    with tachyon.Bus.connect(path) as bus:
        bus.send(b"hello")
    thread.join(10)
    assert [m.data for m in received] == [b"hello"]
