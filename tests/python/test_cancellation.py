"""The end of a call ends its handler: in a loop, in a thread, and for a caller of either language."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

import tachyon
from tachyon import ErrorKind, RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

patient = tachyon_rpc(1)(bytes)


@pytest.mark.parametrize("way", ["loop", "server", "bus"])
@pytest.mark.parametrize("by", ["task", "forget", "deadline", "wait", "close", "death"])
def test_the_end_of_a_call_ends_its_handler(
    peer: Callable[[str], Peer], service: Callable[..., Peer], path: str, way: str, by: str
) -> None:
    callee = service("cancelled", way)
    if by == "death":
        caller = peer("""
            with tachyon.RpcBus.connect(path) as bus:
                bus.call(b"", 1)
                sys.stdin.readline()
        """)
        assert callee.line() == "begun"
        caller.kill()
    else:
        with RpcBus.connect(path) as bus:
            if by == "task":
                asyncio.run(_cancel(bus, callee))
            elif by == "deadline":
                with pytest.raises((tachyon.TimedOutError, tachyon.RpcError)) as timed:
                    patient.call(bus, b"", timeout=0.3)
                assert timed.value.safe_to_retry is False
                assert callee.line() == "begun"
            else:
                call = bus.call(b"", 1)
                assert callee.line() == "begun"
                if by == "forget":
                    bus.forget(call)
                if by == "wait":
                    with pytest.raises(tachyon.TimedOutError):
                        bus.wait(call, timeout=0.05)
                    with pytest.raises(tachyon.errors.InvalidArgumentError) as unknown:
                        bus.wait(call, timeout=0.05)
                    assert unknown.value.safe_to_retry is False
            if by != "close":
                assert callee.line() == "cancelled True"
    if by in ("close", "death"):
        assert callee.line() == "cancelled True"


async def _cancel(bus: RpcBus, callee: Peer) -> None:
    task = asyncio.create_task(patient.acall(bus, b""))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(callee.line) == "begun"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_serving_that_is_cancelled_again_and_again_ends_once_and_answers_all_callers(
    service: Callable[..., Peer], path: str
) -> None:
    callee = service("cancelled", "cancel", stop_timeout=0.3)
    with RpcBus.connect(path) as bus, RpcBus.connect(path) as other:
        calls = [bus.call(b"", 1), other.call(b"", 1)]
        assert [callee.line(), callee.line()] == ["begun", "begun"]
        callee.tell("go")
        for each, call in zip((bus, other), calls, strict=True):
            with each.wait(call, timeout=10) as reply:
                assert reply.error_kind == ErrorKind.CANCELLED
        lines = [callee.line() for _ in range(3)]
    assert lines == ["cancelled True", "cancelled True", "ended 1"]


def test_a_stop_leaves_a_task_that_does_not_end_and_says_so(service: Callable[..., Peer], path: str) -> None:
    callee = service("cancelled", "stop", stop_timeout=0.2)
    with RpcBus.connect(path) as bus:
        call = bus.call(b"", 2)
        assert callee.line() == "begun"
        callee.tell("go")
        with bus.wait(call, timeout=10) as reply:
            assert reply.error_kind == ErrorKind.CANCELLED
        assert callee.line() == "left 1"


def test_a_cancellation_during_a_stop_is_not_lost(path: str) -> None:
    """A cancellation cuts a stop short that waits for its handlers, and the canceller sees CancelledError."""
    begun = asyncio.Event()
    dispatcher = tachyon.RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    async def slow(payload: memoryview) -> None:
        begun.set()
        await asyncio.sleep(60)

    async def main() -> float:
        with tachyon.RpcServer(path, stop_timeout=30) as server:
            serving = asyncio.create_task(dispatcher.aserve(server))
            bus = await asyncio.to_thread(RpcBus.connect, path)
            asking = asyncio.create_task(patient.acall(bus, b""))
            await begun.wait()
            server.stop()
            await asyncio.sleep(0.05)
            cancelled = time.monotonic()
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            took = time.monotonic() - cancelled
            with pytest.raises(tachyon.RpcError) as told:
                await asking
            assert told.value.kind == ErrorKind.CANCELLED
            bus.close()
        return took

    assert asyncio.run(main()) < 10


def test_a_traceback_begins_at_the_handler(service: Callable[..., Peer], path: str) -> None:
    callee = service("tracebacks", "loop")
    with RpcBus.connect(path) as bus:
        for number, name in ((1, "later"), (2, "now")):
            with pytest.raises(tachyon.RpcError) as raised:
                tachyon_rpc(number)(bytes).call(bus, b"")
            assert "tachyon" not in str(raised.value)
            assert callee.line() == f"['{name}']"
