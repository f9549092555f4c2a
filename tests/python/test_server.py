"""One server, many callers: serving, sizes, limits, stopping, deadlines and reports."""

from __future__ import annotations

import functools
import json
import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from tachyon import ErrorKind, RpcBus, RpcDispatcher, RpcServer, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer


def endpoint(msg_type: int) -> tachyon.RpcEndpoint:
    """Return the caller's side of an endpoint."""
    return tachyon_rpc(msg_type)(bytes)


echo, introduce, sleep, stop, callers = (endpoint(number) for number in range(1, 6))


@pytest.fixture
def serve(service: Callable[..., Peer]) -> Callable[..., Peer]:
    """Return a function that starts the server of `basics`."""
    return functools.partial(service, "basics", "server")


def facts(bus: RpcBus, timeout: float | None = None) -> dict[str, object]:
    facts = json.loads(introduce.call(bus, b"", timeout=timeout))
    assert isinstance(facts, dict)
    return facts


@pytest.mark.parametrize("workers", [1, 3])
def test_callers_come_and_go_beside_each_other(
    serve: Callable[..., Peer], peer: Callable[..., Peer], path: str, workers: int
) -> None:
    server = serve(workers=workers)
    others = [
        peer("""
            echo = tachyon.tachyon_rpc(1)(bytes)
            with tachyon.RpcBus.connect(path) as bus:
                for n in range(500):
                    text = b"%d" % n * (n % 40)
                    assert echo.call(bus, text, timeout=20) == text
        """)
        for _ in range(4)
    ]
    with RpcBus.connect(path) as bus:
        seen = facts(bus)
        assert (seen["name"], seen["msg_type"], seen["pid"], seen["uid"]) == ("introduce", 2, os.getpid(), os.getuid())
        assert (seen["cid"], seen["remaining"], seen["deadline"]) == (1, None, None)
        for other in others:
            other.join()
        assert echo.call(bus, b"still here") == b"still here"
        deadline = time.monotonic() + 5
        while callers.call(bus, b"") != b"1":
            assert time.monotonic() < deadline
        assert stop.call(bus, b"") == b"stopping"
    assert server.join() == "served\n"
    assert not Path(path).exists()


def test_workers_are_threads_that_last(serve: Callable[..., Peer], path: str) -> None:
    server = serve(workers=2)
    buses = [RpcBus.connect(path) for _ in range(4)]
    threads: dict[object, int] = {}
    for _ in range(5):
        for bus in buses:
            seen = facts(bus)
            threads[seen["thread"]] = threads.get(seen["thread"], 0) + 1
            # `threading.local` of a handler lasts until the next call on the same thread.
            assert seen["calls"] == threads[seen["thread"]]
    assert len(threads) <= 2  # an idle worker takes any caller, so one worker may have served all
    # Calls that share a worker wait for each other, calls of two workers do not.
    started = time.monotonic()
    outcomes: list[bytes] = []
    sleepers = [
        threading.Thread(target=lambda bus=bus: outcomes.append(sleep.call(bus, b"1", timeout=20))) for bus in buses
    ]
    for sleeper in sleepers:
        sleeper.start()
    for sleeper in sleepers:
        sleeper.join(20)
    assert outcomes == [b"slept"] * 4
    assert 1.9 < time.monotonic() - started < 3.8
    stop.call(buses[0], b"")
    for _ in range(4):
        assert server.line() == "sleeps"
    assert server.join() == "served\n"
    for bus in buses:
        bus.close()


def test_the_timeout_travels(serve: Callable[..., Peer], path: str) -> None:
    server = serve()
    with RpcBus.connect(path) as bus, RpcBus.connect(path) as other:
        seen = facts(bus, timeout=5)
        assert isinstance(seen["remaining"], float)
        assert isinstance(seen["deadline"], float)
        assert isinstance(seen["now"], float)
        # A deadline travels in units of 65,536 ns, rounded up.
        assert 4 < seen["remaining"] <= 5 + 65.536e-6
        assert seen["deadline"] - seen["now"] == pytest.approx(seen["remaining"], abs=0.1)
        # A worker does not handle a request whose deadline has passed.
        first = other.call(b"0.3", 3)
        assert server.line() == "sleeps"
        late = bus.call(b"", 3, timeout=0.05)
        with other.wait(first, timeout=5) as reply:
            assert bytes(reply) == b"slept"
        with bus.wait(late, timeout=5) as reply:
            assert reply.error_kind == ErrorKind.DEADLINE_PASSED
        assert echo.call(bus, b"fine", timeout=5) == b"fine"
        # A caller that gives up while the handler works drops the late reply.
        with pytest.raises(tachyon.TimedOutError):
            sleep.call(bus, b"0.2", timeout=0.05)
        assert echo.call(bus, b"fine again", timeout=5) == b"fine again"
        call = bus.call(b"forgotten", 1)
        assert bus.forget(call)
        assert not bus.forget(call)
        stop.call(bus, b"")
    assert server.line() == "sleeps"
    assert server.join() == "served\n"


def test_ring_sizes_that_a_caller_asks_for(serve: Callable[..., Peer], path: str) -> None:
    server = serve(forward=4096, reverse=4096, max_forward=1 << 20, max_reverse=1 << 20)
    with RpcBus.connect(path) as small, RpcBus.connect(path, ring_sizes=(1 << 20, 1 << 20)) as large:
        payload = os.urandom(1 << 19)
        assert echo.call(large, payload, timeout=10) == payload
        with pytest.raises(tachyon.errors.TooLargeError):
            echo.call(small, payload)
        for sizes, error, words in (
            ((1 << 21, 4096), tachyon.errors.HandshakeError, "1048576"),
            ((5000, 4096), tachyon.errors.InvalidArgumentError, "power of two"),
        ):
            with pytest.raises(error, match=words):
                RpcBus.connect(path, ring_sizes=sizes)
        assert stop.call(small, b"") == b"stopping"
    # The server warns of a client that asked for too large rings.
    out, err = server.process.communicate(timeout=10)
    assert (out, server.process.returncode) == ("served\n", 0)
    assert "rejected" in err


def test_one_caller_too_many(serve: Callable[..., Peer], path: str) -> None:
    server = serve(max_callers=2)
    with RpcBus.connect(path) as one, RpcBus.connect(path) as two:
        with pytest.raises(tachyon.ServerBusyError):
            RpcBus.connect(path)
        assert echo.call(one, b"1", timeout=5) + echo.call(two, b"2", timeout=5) == b"12"
        two.close()
        deadline = time.monotonic() + 5
        while callers.call(one, b"") != b"1":
            assert time.monotonic() < deadline
        with RpcBus.connect(path) as three:
            stop.call(three, b"")
    assert "as many callers as are allowed" in server.process.communicate(timeout=10)[1]


def test_a_silent_client_is_dropped(serve: Callable[..., Peer], path: str) -> None:
    server = serve(handshake_timeout=0.1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client, RpcBus.connect(path) as bus:
        client.connect(path)
        client.settimeout(5)
        started = time.monotonic()
        assert echo.call(bus, b"meanwhile", timeout=5) == b"meanwhile"
        # The server sends the reason, and then hangs up.
        while client.recv(4096):
            pass
        assert time.monotonic() - started < 2
        stop.call(bus, b"")
    assert "did not finish the handshake" in server.process.communicate(timeout=10)[1]


def test_stop_answers_calls_under_way_and_refuses_the_rest(serve: Callable[..., Peer], path: str) -> None:
    server = serve()
    with RpcBus.connect(path) as bus:
        first = bus.call(b"0.3", 3)
        assert server.line() == "sleeps"
        stopping = bus.call(b"", 4)
        queued = bus.call(b"queued", 1)
        with bus.wait(first, timeout=5) as reply:
            assert bytes(reply) == b"slept"
        with bus.wait(stopping, timeout=5) as reply:
            assert bytes(reply) == b"stopping"
        with bus.wait(queued, timeout=5) as reply:
            assert reply.error_kind == ErrorKind.STOPPING
        # The server refuses requests until it has closed.
        with pytest.raises(tachyon.PeerClosedError):
            while True:
                with pytest.raises(tachyon.RpcError, match="stopping"):
                    echo.call(bus, b"", timeout=5)
    assert server.join() == "served\n"


def test_a_handler_that_closes_the_server(serve: Callable[..., Peer], path: str) -> None:
    server = serve(workers=2)
    with RpcBus.connect(path) as one, RpcBus.connect(path) as two:
        assert echo.call(two, b"here", timeout=5) == b"here"
        assert endpoint(6).call(one, b"", timeout=5) == b"closing"
        with pytest.raises((tachyon.PeerClosedError, tachyon.RpcError)):
            echo.call(two, b"", timeout=5)
    assert server.join() == "served\n"


def test_a_handler_that_exits_ends_the_server(serve: Callable[..., Peer], path: str) -> None:
    server = serve(workers=2)
    with RpcBus.connect(path) as bus:
        with pytest.raises(tachyon.RpcError):
            endpoint(7).call(bus, b"", timeout=5)
        assert server.process.wait(10) == 3
        with pytest.raises(tachyon.PeerClosedError):
            echo.call(bus, b"")
    assert not Path(path).exists()


@pytest.mark.parametrize("idle", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_in_good_order(serve: Callable[..., Peer], path: str, workers: int, idle: bool) -> None:
    server = serve(workers=workers)
    with RpcBus.connect(path) as bus:
        assert echo.call(bus, b"", timeout=5) == b""
        busy = threading.Event()

        def flood() -> None:
            with pytest.raises((tachyon.PeerClosedError, tachyon.RpcError)):
                while True:
                    echo.call(bus, b"flood", timeout=5)
                    busy.set()

        caller = threading.Thread(target=flood)
        if not idle:
            caller.start()
            assert busy.wait(5)
        else:
            time.sleep(0.1)
        sent = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        interrupted = float(server.join())
        if not idle:
            caller.join(5)
        with pytest.raises(tachyon.PeerClosedError):
            echo.call(bus, b"")
    assert interrupted - sent < 5
    assert not Path(path).exists()


def test_a_server_in_a_thread(path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tachyon")
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def fails(payload: memoryview) -> bytes:
        raise ValueError("on purpose")

    with RpcServer(Path(path)) as server:
        assert (server.path, server.callers, server.closed) == (Path(path), 0, False)
        thread = threading.Thread(target=dispatcher.serve_forever, args=(server,))
        thread.start()
        with RpcBus.connect(path) as bus:
            with pytest.raises(tachyon.RpcError):
                echo.call(bus, b"", timeout=5)
            assert server.callers == 1
            for serve in (dispatcher.serve_forever, RpcDispatcher().serve_forever):
                with pytest.raises(tachyon.errors.BusyError):
                    serve(server)
        started = time.monotonic()
    # The end of the block has stopped the server and waited until its path is free.
    assert server.closed
    assert not Path(path).exists()
    assert time.monotonic() - started < 5
    thread.join(5)
    assert not thread.is_alive()
    texts = [record.getMessage() for record in caplog.records]
    assert texts[0] == f"{path}: caller 1 (process {os.getpid()}) connected"
    assert texts[1] == "endpoint `fails` (msg_type 1) failed: ValueError: on purpose"
    assert caplog.records[1].exc_info is not None
    assert texts[2] == f"{path}: caller 1 (process {os.getpid()}) closed"
    for use in (lambda: dispatcher.serve_forever(server), server.__enter__):
        with pytest.raises(tachyon.BusClosedError):
            use()
    server.close()
    server.stop()


def test_a_server_that_never_served(path: str) -> None:
    server = RpcServer(path)
    with pytest.raises(tachyon.errors.AddressInUseError):
        RpcServer(path)
    server.close()
    assert not Path(path).exists()
    # A server that is stopped first serves nothing.
    server = RpcServer(path)
    server.stop()
    RpcDispatcher().serve_forever(server)
    assert server.closed
    del server
    with RpcServer(path) as server:
        assert repr(server) == f"<tachyon.RpcServer path='{path}' ready callers=0>"


def test_arguments(path: str) -> None:
    for options in ({"forward": 5000}, {"max_callers": 0}, {"handshake_timeout": -1.0}, {"stop_timeout": float("nan")}):
        with pytest.raises(tachyon.errors.InvalidArgumentError):
            RpcServer(path, **options)
    with RpcServer(path) as server:
        with pytest.raises(tachyon.errors.InvalidArgumentError):
            RpcDispatcher().serve_forever(server, workers=0)
        with pytest.raises(TypeError, match="RpcServer"):
            RpcDispatcher().serve_forever(path)  # type: ignore[arg-type]
    with pytest.raises(LookupError):
        tachyon.current_call()


def test_a_bus_has_one_worker(peer: Callable[..., Peer], path: str) -> None:
    peer("bus = tachyon.RpcBus.connect(path); bus.call(b'', 1); sys.stdin.readline()")
    with RpcBus.listen(path, 4096, 4096) as bus:
        with pytest.raises(tachyon.errors.InvalidArgumentError):
            RpcDispatcher().serve_forever(bus, workers=2)

        dispatcher = RpcDispatcher()
        calls = []

        @dispatcher.handler(msg_type=1)
        def keep(payload: memoryview) -> bytes:
            calls.append(tachyon.current_call())
            return b""

        dispatcher.serve_once(bus, timeout=5)
    # The facts of a call outlive the call.
    assert (calls[0].name, calls[0].caller_id, calls[0].remaining) == ("keep", 1, None)
    assert repr(calls[0]) == "<tachyon.CurrentCall keep msg_type=1 caller_id=1>"


def test_a_view_that_a_handler_of_a_server_keeps(path: str) -> None:
    dispatcher = RpcDispatcher()
    kept: list[memoryview] = []

    @dispatcher.handler(msg_type=1)
    def keeps(payload: memoryview) -> bytes:
        kept.append(payload[1:])
        return b""

    with RpcServer(path) as server:
        thread = threading.Thread(target=dispatcher.serve_forever, args=(server,))
        thread.start()
        logging.getLogger("tachyon").disabled = True
        try:
            with RpcBus.connect(path) as bus, pytest.raises(tachyon.RpcError):
                echo.call(bus, b"seen", timeout=5)
        finally:
            logging.getLogger("tachyon").disabled = False
    thread.join(5)
    # The bytes are unspecified, but mapped.
    assert len(bytes(kept[0])) == 3
