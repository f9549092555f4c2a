"""A forked child inherits connections that it may not use: each operation raises BusClosedError."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

import programs
import tachyon
from conftest import SENDER
from forks import in_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Peer


def refuses(*operations: Callable[[], object]) -> bool:
    for operation in operations:
        try:
            operation()
        except tachyon.BusClosedError as error:
            if "fork" not in str(error):
                return False
        else:
            return False
    return True


def test_every_operation_of_a_forked_child(receiving: tachyon.Bus, calling_pair: tuple[tachyon.RpcBus, Peer]) -> None:
    bus, _ = calling_pair
    endpoint = tachyon.tachyon_rpc(1)(len)
    cid = bus.call(b"before", 1)
    tx = bus.call_zero_copy(10, 1)
    assert receiving.recv().type_id == 0
    in_child(
        lambda: refuses(
            receiving.recv,
            receiving.recv_zero_copy,
            receiving.drain_batch,
            lambda: next(receiving),
            lambda: bus.wait(cid),
            lambda: tx.__exit__(None, None, None),
            lambda: bus.call(b"x", 1),
            lambda: bus.call_zero_copy(1, 1),
            lambda: endpoint.call(bus, b"x"),
        )
    )
    with tx, memoryview(tx) as view:
        view[:] = b"0123456789"
    for number, payload in ((cid, b"before"), (tx.out_cid, b"0123456789")):
        with bus.wait(number, timeout=10) as rx:
            assert bytes(rx) == payload
    assert receiving.recv(timeout=10).type_id == 1


def test_a_forked_child_that_ends_the_ordinary_way(peer: Callable[[str], Peer], service: Callable[..., Peer]) -> None:
    """The child collects its copies and runs its exit handlers; bus, guard and path of the parent stay as they are."""
    peer(SENDER)
    assert service("forking", "exit").join() == "whole\n"


@pytest.mark.parametrize("late", [False, True])
def test_a_child_forked_beside_a_loop_that_calls(
    peer: Callable[[str], Peer], service: Callable[..., Peer], late: bool
) -> None:
    """The child shares the epoll and the socket of the loop with its parent, and takes nothing from them.

    The call in flight ends for the child, even if the parent has taken the reply before the child looks.
    """
    peer("""
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            for _ in range(2):
                with bus.serve() as rx:
                    cid, payload = rx.correlation_id, bytes(rx)
                time.sleep(1.0)
                bus.reply(cid, payload, 1)
    """)
    parent = service("forking", "calling loop", "1.5" if late else "0")
    assert parent.join() == "b'slow' b'next'\n"


def test_a_child_forked_beside_a_loop_that_serves(service: Callable[..., Peer], path: str) -> None:
    parent = service("forking", "serving loop", "20")
    endpoint = tachyon.tachyon_rpc(1)(len)
    with tachyon.RpcBus.connect(path, timeout=20) as bus:
        # The forked child wakes for each call, too.
        for n in range(200):
            assert endpoint.call(bus, bytes([n]), timeout=20) == bytes([n])
            time.sleep(0.002)
        with tachyon.RpcBus.connect(path) as another:
            assert endpoint.call(another, b"another", timeout=20) == b"another"
    parent.tell("stop")
    assert parent.join() == "child ended with 0\nstopped\n"


def looked_at(path: str) -> dict[str, Any]:
    look: dict[str, Any] = json.loads(programs.tachyon("top", path, "--once", "--json", "--interval", "0.1"))
    return look


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
def test_a_caller_is_the_parents_whenever_it_forks(
    service: Callable[..., Peer], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """The child takes no caller that was just admitted, and frees none of its rows of statistics."""
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    endpoint = tachyon.tachyon_rpc(1)(len)
    parent = service("forking", "serving loop", str(turns))
    with tachyon.RpcBus.connect(path, timeout=20) as bus:
        # The child wakes for these calls as its parent does, and leaves them to the parent.
        for n in range(100):
            assert endpoint.call(bus, bytes([n]), timeout=20) == bytes([n])
            time.sleep(0.002)
        assert parent.line() == "child ended with 0"
        look = looked_at(path)
        assert (look["callers_now"], look["callers_ever"], look["calls"]) == (1, 1, 100)
        assert [line["pid"] for line in look["callers"]] == [os.getpid()]
        # Another caller has a row of its own.
        with tachyon.RpcBus.connect(path, timeout=20) as another:
            assert endpoint.call(another, b"another", timeout=20) == b"another"
            assert [line["id"] for line in looked_at(path)["callers"]] == [1, 2]
    parent.tell("stop")
    assert parent.join() == "stopped\n"


def test_a_child_of_a_blocking_server_frees_no_rows(
    service: Callable[..., Peer], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler forks, and the child leaves the server by an ordinary exit."""
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    endpoint = tachyon.tachyon_rpc(1)(len)
    service("forking", "handler")
    with tachyon.RpcBus.connect(path, timeout=20) as bus:
        for _ in range(2):
            assert endpoint.call(bus, b"", timeout=20) == b"0"
        look = looked_at(path)
        assert (look["callers_now"], len(look["callers"]), look["calls"]) == (1, 1, 2)
