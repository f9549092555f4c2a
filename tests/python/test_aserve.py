"""Servers and buses served by an event loop, with coroutine functions as handlers."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from proc import descriptors
from tachyon import ErrorKind, RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

LOOPS = ("asyncio", "uvloop")

echo, sleep, fails, introduce, buffers, gives_up, stop, echo_later, introduce_now, missing = (
    tachyon_rpc(number)(bytes) for number in range(1, 11)
)


@pytest.fixture(params=LOOPS)
def serve(request: pytest.FixtureRequest, service: Callable[..., Peer]) -> Callable[..., Peer]:
    """Return a function that starts the server of `event_loop` on the event loop under test."""
    return functools.partial(service, "event_loop", "server", request.param)


def test_handlers_wait_side_by_side(serve: Callable[..., Peer], path: str) -> None:
    server = serve(concurrency=200)

    async def main() -> None:
        with RpcBus.connect(path) as one, RpcBus.connect(path) as two:
            started = time.monotonic()
            slept = [sleep.acall(bus, b"2", timeout=60) for bus in (one, two) for _ in range(50)]
            assert set(await asyncio.gather(*slept)) == {b"slept"}
            assert time.monotonic() - started < 50  # one after the other would take 200
            # The loop serves plain handlers in between, and tells callers apart.
            waiting = asyncio.create_task(sleep.acall(one, b"2"))
            assert await echo.acall(two, b"meanwhile") == b"meanwhile"
            assert not waiting.done()
            seen = [json.loads(await introduce.acall(bus, b"", timeout=60)) for bus in (one, two)]
            assert [fact[:3] for fact in seen] == [["introduce", number, os.getpid()] for number in (1, 2)]
            assert all(50 < fact[4] <= 60 for fact in seen)
            assert await introduce_now.acall(two, b"") == b"2"
            assert await waiting == b"slept"
            # The most handlers at a time are more than one caller's 50, and all 100 on an idle machine.
            assert 50 < int(await stop.acall(one, b"")) <= 100

    asyncio.run(main())
    assert server.join() == "served 1 0\n"
    assert not Path(path).exists()


def test_a_thousand_requests_in_flight(serve: Callable[..., Peer], path: str) -> None:
    server = serve()

    async def main() -> None:
        with RpcBus.connect(path, ring_sizes=(4096, 4096)) as bus:
            payloads = [b"%d " % number * (number % 60) for number in range(1000)]
            calls = [(echo_later, echo)[number % 3 == 0].acall(bus, payload) for number, payload in enumerate(payloads)]
            assert await asyncio.gather(*calls) == payloads
            await stop.acall(bus, b"")

    asyncio.run(main())
    assert server.join() == "served 1 0\n"


def test_concurrency_is_limited(serve: Callable[..., Peer], path: str) -> None:
    server = serve(concurrency=3)

    async def main() -> None:
        with RpcBus.connect(path) as one, RpcBus.connect(path) as two:
            slept = [asyncio.create_task(sleep.acall(bus, b"0.02")) for bus in (one, two) for _ in range(12)]
            # A request whose deadline has passed is not begun.
            late = asyncio.create_task(sleep.acall(two, b"0", timeout=0.05))
            assert set(await asyncio.gather(*slept)) == {b"slept"}
            with pytest.raises(tachyon.TimedOutError):
                await late
            assert await stop.acall(one, b"") == b"3"

    asyncio.run(main())
    assert server.join() == "served 1 0\n"


def test_failures_are_answered(serve: Callable[..., Peer], path: str) -> None:
    server = serve()
    with RpcBus.connect(path) as bus:
        for endpoint, payload, kind in (
            (fails, b"", ErrorKind.HANDLER_FAILED),
            (gives_up, b"", ErrorKind.HANDLER_FAILED),
            (buffers, b"\x04", ErrorKind.BAD_REPLY),
            (buffers, b"\x05", ErrorKind.REPLY_TOO_LARGE),
            (buffers, b"\x09", ErrorKind.HANDLER_FAILED),
            (missing, b"", ErrorKind.NO_HANDLER),
        ):
            with pytest.raises(tachyon.RpcError) as caught:
                endpoint.call(bus, payload, timeout=5)
            # Callers of bytes get the kind alone.
            assert (caught.value.kind, caught.value.text) == (kind, "")
        replies = [buffers.call(bus, bytes([number]) + b"rest", timeout=5) for number in range(4)]
        assert replies == [b"b", b"ba", b"\x02rest", b"rest"]
        # The timeout passes before the handler is done; the late reply is dropped.
        with pytest.raises(tachyon.TimedOutError):
            sleep.call(bus, b"0.1", timeout=0.02)
        assert echo.call(bus, b"fine", timeout=5) == b"fine"
        stop.call(bus, b"", timeout=5)
    assert server.join() == "served 1 0\n"


def test_a_caller_that_takes_no_replies(serve: Callable[..., Peer], path: str) -> None:
    server = serve()
    with RpcBus.connect(path, ring_sizes=(1 << 16, 4096)) as slow, RpcBus.connect(path) as other:
        calls = [slow.call(bytes([number]) * 1000, 8) for number in range(40)]
        for _ in range(20):
            assert echo_later.call(other, b"not in the way", timeout=5) == b"not in the way"
        for number, call in enumerate(calls):
            with slow.wait(call, timeout=5) as reply:
                assert bytes(reply) == bytes([number]) * 1000
        stop.call(other, b"", timeout=5)
    assert server.join() == "served 1 0\n"


def test_callers_that_die(serve: Callable[..., Peer], peer: Callable[[str], Peer], path: str) -> None:
    server = serve()
    with RpcBus.connect(path) as bus:
        assert echo.call(bus, b"", timeout=5) == b""
        before = descriptors(server.process.pid)
        for _ in range(3):
            doomed = peer("""
                bus = tachyon.RpcBus.connect(path)
                for n in range(30):
                    bus.call(b"0.1", 2)
                print("sent", flush=True)
                sys.stdin.readline()
            """)
            assert doomed.line() == "sent"
            doomed.kill()
            assert sleep.call(bus, b"0.05", timeout=5) == b"slept"
        deadline = time.monotonic() + 5
        while descriptors(server.process.pid) != before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        stop.call(bus, b"", timeout=5)
    assert server.join() == "served 1 0\n"


def test_stop_lets_handlers_finish(serve: Callable[..., Peer], path: str) -> None:
    server = serve()
    with RpcBus.connect(path) as bus:
        running = bus.call(b"0.3", 2)
        stopping = bus.call(b"", 7)
        with bus.wait(stopping, timeout=5):
            pass
        refused = bus.call(b"", 1)
        with bus.wait(refused, timeout=5) as reply:
            assert reply.error_kind == ErrorKind.STOPPING
        with bus.wait(running, timeout=5) as reply:
            assert bytes(reply) == b"slept"
        with pytest.raises(tachyon.PeerClosedError):
            while True:
                with pytest.raises(tachyon.RpcError, match="stopping"):
                    echo.call(bus, b"", timeout=5)
    assert server.join() == "served 1 0\n"


def test_ctrl_c_cancels_handlers_and_answers_their_callers(serve: Callable[..., Peer], path: str) -> None:
    server = serve()
    with RpcBus.connect(path) as bus:
        running = bus.call(b"10", 2)
        assert echo.call(bus, b"", timeout=5) == b""
        sent = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        with bus.wait(running, timeout=5) as reply:
            assert reply.error_kind == ErrorKind.CANCELLED
        ended, left = server.join().split()
    assert float(ended) - sent < 2
    assert left == "0"
    assert not Path(path).exists()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("killed", [False, True])
def test_a_bus(peer: Callable[[str], Peer], service: Callable[..., Peer], loop: str, killed: bool) -> None:
    callee = service("event_loop", "bus", loop)
    caller = peer("""
        import asyncio
        sleep = tachyon.tachyon_rpc(2)(bytes)

        async def main():
            with tachyon.RpcBus.connect(path) as bus:
                started = time.monotonic()
                await asyncio.gather(*(sleep.acall(bus, b"0.5", timeout=30) for _ in range(60)))
                assert time.monotonic() - started < 15
                print("ready", flush=True)
                sys.stdin.readline()

        asyncio.run(main())
    """)
    assert caller.line() == "ready"
    if killed:
        caller.kill()
    else:
        caller.tell("go")
        caller.join()
    assert callee.join() == ("dead\n" if killed else "") + "done\n"


def test_coroutine_functions_are_for_loops_only(path: str) -> None:
    dispatcher = tachyon.RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    async def later(payload: memoryview) -> bytes:
        return payload.tobytes()

    # The endpoint is still the coroutine function.
    assert asyncio.run(later(b"here")) == b"here"
    with tachyon.RpcServer(path) as server, pytest.raises(tachyon.errors.InvalidArgumentError, match="aserve"):
        dispatcher.serve_forever(server)

    async def wrong() -> None:
        with pytest.raises(TypeError, match="RpcServer"):
            await dispatcher.aserve(path)  # type: ignore[arg-type]
        with pytest.raises(tachyon.BusClosedError):
            await dispatcher.aserve(server)
        with pytest.raises(tachyon.errors.InvalidArgumentError):
            await dispatcher.aserve(server, concurrency=0)

    asyncio.run(wrong())
