"""Threads: one for each direction, a clear error for a second thread, never a deadlock."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer


def waiting(operation: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Start a thread in a blocking operation, and return once the operation blocks."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(operation())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.1)
    return thread, outcome


def test_a_second_receiver_is_refused_at_once(peer: Callable[[str], Peer], path: str) -> None:
    sender = peer("""
        with tachyon.Bus.connect(path) as bus:
            sys.stdin.readline()
            bus.send(b"for the first")
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        thread, outcome = waiting(bus.recv)
        for operation in (bus.recv, bus.recv_zero_copy, bus.drain_batch, lambda: next(bus)):
            started = time.monotonic()
            with pytest.raises(tachyon.errors.BusyError, match="thread"):
                operation()
            assert time.monotonic() - started < 5
        sender.tell("now")
        thread.join(10)
        assert outcome == [tachyon.Message(0, 13, b"for the first")]


def test_a_callee_may_reply_while_it_serves(peer: Callable[[str], Peer], path: str) -> None:
    caller = peer(
        """
        with tachyon.RpcBus.connect(path) as bus:
            cids = [bus.call(bytes([n]), 1) for n in range(500)]
            for n, cid in enumerate(cids):
                with bus.wait(cid) as rx:
                    assert bytes(rx) == bytes([n & 0xFF]) * 2
    """.replace("bytes([n])", "bytes([n & 0xFF])")
    )
    with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
        requests: list[tuple[int, bytes]] = []
        arrived = threading.Semaphore(0)

        def serve() -> None:
            while True:
                try:
                    with bus.serve() as rx:
                        requests.append((rx.correlation_id, bytes(rx)))
                except tachyon.PeerClosedError:
                    return
                arrived.release()

        server = threading.Thread(target=serve)
        server.start()
        for n in range(500):
            assert arrived.acquire(timeout=10)
            cid, request = requests[n]
            bus.reply(cid, request * 2, 1)
        caller.join()
        server.join(10)
        assert not server.is_alive()


def test_a_second_caller_is_refused(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer("""
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            with bus.serve() as rx:
                cid = rx.correlation_id
            sys.stdin.readline()
            bus.reply(cid, b"late", 1)
    """)
    endpoint = tachyon.tachyon_rpc(1)(len)
    with tachyon.RpcBus.connect(path) as bus:
        thread, outcome = waiting(lambda: endpoint.call(bus, b""))
        for operation in (lambda: endpoint.call(bus, b""), lambda: bus.call(b"", 1), lambda: bus.wait(1)):
            with pytest.raises(tachyon.errors.BusyError):
                operation()
        callee.tell("now")
        thread.join(10)
        assert outcome == [b"late"]
    callee.join()


def test_a_dispatcher_serves_in_one_thread(peer: Callable[[str], Peer], path: str) -> None:
    peer("""
        with tachyon.RpcBus.connect(path) as bus:
            sys.stdin.readline()
    """)
    dispatcher = tachyon.RpcDispatcher()
    bus = tachyon.RpcBus.listen(path, 4096, 4096)
    thread, outcome = waiting(lambda: dispatcher.serve_forever(bus))
    with pytest.raises(tachyon.errors.BusyError, match="dispatcher"):
        dispatcher.serve_once(bus)
    with pytest.raises(tachyon.errors.BusyError):
        tachyon.RpcDispatcher().serve_once(bus)
    with pytest.raises(tachyon.errors.BusyError):
        bus.reply(1, b"", 1)
    bus.close()
    thread.join(10)
    assert isinstance(outcome[0], tachyon.BusClosedError)


def test_a_guard_collected_by_another_thread(peer: Callable[[str], Peer], path: str) -> None:
    peer("""
        with tachyon.Bus.connect(path) as bus:
            for n in range(300):
                bus.send(bytes(1000), n)
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        for n in range(300):
            guards = [bus.recv_zero_copy(timeout=10)]
            assert guards[0].type_id == n
            thread = threading.Thread(target=guards.clear)
            thread.start()
            thread.join()


def test_both_ends_in_one_process(path: str) -> None:
    """Two threads that talk to each other through the bus, and both need the GIL."""

    def serve() -> None:
        dispatcher = tachyon.RpcDispatcher()
        dispatcher.handler(1)(lambda view: view.tobytes())
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            dispatcher.serve_forever(bus)

    thread = threading.Thread(target=serve)
    thread.start()
    endpoint = tachyon.tachyon_rpc(1)(len)
    with tachyon.RpcBus.connect(path) as bus:
        for n in range(200):
            assert endpoint.call(bus, bytes([n]) * n * 10, timeout=10) == bytes([n]) * n * 10
    thread.join(10)
    assert not thread.is_alive()


def test_threads_that_serve_for_the_first_time_at_once(service: Callable[..., Peer]) -> None:
    """The extension imports its Python modules when they are needed first."""
    assert service("first_at_once").join().count("served") == 4
