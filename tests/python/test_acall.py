"""Calls from coroutines: many in flight, in any order, on either event loop, and their errors."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest
import uvloop

import tachyon
from proc import descriptors
from services import sums
from tachyon import RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from conftest import Peer

echo, sleep, fails, remaining, missing = (tachyon_rpc(number)(bytes) for number in (1, 3, 8, 9, 99))


@pytest.fixture
def serve(service: Callable[..., Peer]) -> Callable[[], Peer]:
    """Return a function that starts the callee of `basics` with small rings."""
    return lambda: service("basics", "bus", rings=(4096, 4096), quiet=True)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[object, object, object]], object]:
    """Return a function that runs a coroutine to its end on the event loop under test."""

    def run(main: Coroutine[object, object, object]) -> object:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(main)

    return run


def test_a_thousand_calls_in_flight(run: Callable, serve: Callable[[], Peer], path: str) -> None:
    callee = serve()

    async def call(bus: RpcBus, number: int) -> None:
        payload = b"%d " % number * (number % 60)
        assert await echo.acall(bus, payload, timeout=20) == payload

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            # The rings hold far fewer calls: most calls wait for room.
            await asyncio.gather(*(call(bus, number) for number in range(1000)))
            for number in range(50):
                await call(bus, number)

    run(main())
    callee.join()


def test_replies_in_any_order(run: Callable, peer: Callable[[str], Peer], path: str) -> None:
    callee = peer("""
        with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
            taken = []
            for _ in range(200):
                with bus.serve() as request:
                    taken.append((request.correlation_id, bytes(request)))
            for cid, payload in taken[::-1]:
                bus.reply(cid, payload, 1)
            try:
                bus.serve()
            except tachyon.PeerClosedError:
                pass
    """)

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            calls = [asyncio.create_task(echo.acall(bus, b"%d" % number)) for number in range(200)]
            done: list[int] = []
            for number, call in enumerate(calls):
                call.add_done_callback(lambda _, number=number: done.append(number))
            assert await asyncio.gather(*calls) == [b"%d" % number for number in range(200)]
            assert done == list(range(200))[::-1]

    run(main())
    callee.join()


def test_a_call_sends_the_bytes_at_the_time_of_the_call(run: Callable, service: Callable[..., Peer], path: str) -> None:
    callee = service("sums", "bus", rings=(4096, 4096))

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            for endpoint, more, ones in ((sums.lone, (), 100.0), (sums.two, (1,), 100.0), (sums.raw, (), b"100.0")):
                values = np.ones(100)
                # The ring takes four calls; the others are queued.
                calls = [endpoint.acall(bus, values, *more)]
                calls += [asyncio.ensure_future(endpoint.acall(bus, values, *more)) for _ in range(20)]
                values[:] = 2.0
                await asyncio.sleep(0)
                values[:] = 3.0
                assert await asyncio.gather(*calls) == [ones] * 21
            # A bytearray may grow meanwhile.
            grown = bytearray(np.ones(100))
            call = sums.raw.acall(bus, grown)
            grown.extend(grown)
            assert await call == b"100.0"

    run(main())
    callee.join()


def test_acall_raises_the_errors_of_call(run: Callable, serve: Callable[[], Peer], path: str) -> None:
    callee = serve()

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            with pytest.raises(tachyon.RpcError, match=r"its handler failed$"):
                await fails.acall(bus, b"")
            with pytest.raises(KeyError):
                await missing.acall(bus, b"")
            with pytest.raises(tachyon.errors.TooLargeError):
                await echo.acall(bus, bytes(5000))
            with pytest.raises(TypeError, match="encode"):
                await echo.acall(bus, "text")  # type: ignore[arg-type]
            with pytest.raises(tachyon.errors.InvalidArgumentError):
                await echo.acall(bus, b"", timeout=-1)
            assert await echo.acall(bus, b"fine") == b"fine"
            # A deadline travels in units of 65,536 ns, rounded up.
            assert 1 < float(await remaining.acall(bus, b"", timeout=2)) <= 2 + 65.536e-6
            assert await remaining.acall(bus, b"") == b"None"

    run(main())
    callee.join()


def test_a_call_that_is_given_up_is_forgotten(run: Callable, serve: Callable[[], Peer], path: str) -> None:
    callee = serve()

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            started = time.monotonic()
            with pytest.raises(tachyon.TimedOutError):
                await sleep.acall(bus, b"0.1", timeout=0.02)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sleep.acall(bus, b"0.1"), 0.02)
            task = asyncio.create_task(sleep.acall(bus, b"0.1"))
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # This call waits behind the three others; then the bus is as before.
            assert await echo.acall(bus, b"late", timeout=5) == b"late"
            assert time.monotonic() - started > 0.2
            # Calls that were never sent, for lack of room, are forgotten, too.
            block = asyncio.create_task(sleep.acall(bus, b"1.5"))
            await asyncio.sleep(0.02)
            calls = [asyncio.create_task(echo.acall(bus, bytes(1000))) for _ in range(50)]
            await asyncio.sleep(0.02)
            for call in calls[::2]:
                call.cancel()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, bytes] * 25
            assert await block == b"slept"
            with pytest.raises(tachyon.TimedOutError):
                await asyncio.gather(
                    sleep.acall(bus, b"0.2"), *(echo.acall(bus, bytes(2000), timeout=0.1) for _ in range(9))
                )
            assert await echo.acall(bus, b"still", timeout=5) == b"still"

    run(main())
    callee.join()


@pytest.mark.parametrize("orderly", [True, False])
def test_the_end_of_the_peer_wakes_all_calls(
    run: Callable, peer: Callable[[str], Peer], path: str, orderly: bool
) -> None:
    callee = peer("""
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            with bus.serve() as request:
                cid = request.correlation_id
            bus.reply(cid, b"the last one", 1)
            sys.stdin.readline()
    """)

    async def main() -> float:
        with RpcBus.connect(path) as bus:
            assert await echo.acall(bus, b"") == b"the last one"
            calls = [asyncio.create_task(echo.acall(bus, bytes(100))) for _ in range(100)]
            await asyncio.sleep(0.05)
            started = time.monotonic()
            if orderly:
                callee.tell("close")
            else:
                callee.kill()
            error = tachyon.PeerClosedError if orderly else tachyon.PeerDeadError
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            ended = time.monotonic()
            assert {type(outcome) for outcome in outcomes} == {error}
            with pytest.raises(error):
                await echo.acall(bus, b"")
        return ended - started

    assert run(main()) < 2


def test_close_wakes_all_calls(run: Callable, serve: Callable[[], Peer], path: str) -> None:
    callee = serve()

    async def main() -> None:
        bus = RpcBus.connect(path)
        calls = [asyncio.create_task(sleep.acall(bus, b"3")) for _ in range(100)]
        await asyncio.sleep(0.05)
        started = time.monotonic()
        bus.close()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {tachyon.BusClosedError}
        assert time.monotonic() - started < 2
        with pytest.raises(tachyon.BusClosedError):
            await echo.acall(bus, b"")

    run(main())
    # The callee would sleep for half a minute more.
    callee.kill()


def test_a_bus_belongs_to_its_loop(run: Callable, serve: Callable[[], Peer], path: str) -> None:
    callee = serve()
    bus = RpcBus.connect(path)

    async def main() -> None:
        assert await echo.acall(bus, b"here") == b"here"
        for use in (lambda: echo.call(bus, b""), lambda: bus.call(b"", 1), bus.serve, lambda: bus.forget(1)):
            with pytest.raises(tachyon.errors.BusyError, match="event loop"):
                use()
        outcome: list[object] = []

        def elsewhere() -> None:
            try:
                asyncio.run(echo.acall(bus, b""))
            except tachyon.errors.BusyError as error:
                outcome.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert len(outcome) == 1
        assert await echo.acall(bus, b"still here") == b"still here"

    async def again() -> bytes:
        return await echo.acall(bus, b"another loop")

    run(main())
    # A closed loop frees the bus.
    assert run(again()) == b"another loop"
    bus.close()
    callee.join()


def test_calls_made_before_come_first(run: Callable, serve: Callable[[], Peer], path: str) -> None:
    callee = serve()

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            call = bus.call(b"by hand", 1)
            with pytest.raises(tachyon.errors.BusyError, match="in flight"):
                await echo.acall(bus, b"")
            with bus.wait(call, timeout=5) as reply:
                assert bytes(reply) == b"by hand"
                with pytest.raises(tachyon.errors.BusyError, match="guard"):
                    await echo.acall(bus, b"")
            assert await echo.acall(bus, b"by the loop") == b"by the loop"

    run(main())
    callee.join()


def test_a_bus_without_references_is_closed(run: Callable, serve: Callable[[], Peer], path: str) -> None:
    callee = serve()

    async def main() -> None:
        gc.collect()
        before = descriptors()
        bus = RpcBus.connect(path)
        assert await echo.acall(bus, b"") == b""
        del bus
        gc.collect()
        await asyncio.sleep(0)
        # An earlier loop may have closed descriptors of its own.
        assert descriptors() <= before

    run(main())
    callee.join()


def test_a_bus_that_ended_in_the_hands_of_a_loop(run: Callable, peer: Callable[[str], Peer], path: str) -> None:
    async def lose(callee: Peer) -> weakref.ref[RpcBus]:
        with RpcBus.connect(path) as bus:
            call = asyncio.create_task(echo.acall(bus, b""))
            await asyncio.to_thread(callee.line)
            callee.kill()
            # If the exception was raised here, it would keep this frame, and with it the bus.
            await asyncio.wait([call])
            assert type(call.exception()) is tachyon.PeerDeadError
            return weakref.ref(bus)

    async def main() -> None:
        gc.disable()
        before = None
        for _ in range(4):
            callee = peer("""
                with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
                    with bus.serve():
                        print("asked", flush=True)
                        sys.stdin.readline()
            """)
            gone = await lose(callee)
            assert gone() is None, "the bus is in a cycle that only the collector finds"
            callee.discard()
            before = before or descriptors()
            assert descriptors() == before

    try:
        run(main())
    finally:
        gc.enable()


def test_interrupt_while_calls_are_under_way(
    peer: Callable[[str], Peer], service: Callable[..., Peer], path: str
) -> None:
    callee = service("basics", "bus", quiet=True)
    child = peer("""
        import asyncio, signal
        echo = tachyon.tachyon_rpc(1)(bytes)

        async def main():
            with tachyon.RpcBus.connect(path) as bus:
                print("ready", flush=True)
                while True:
                    await asyncio.gather(*(echo.acall(bus, b"%d" % n) for n in range(100)))

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print(time.monotonic())
    """)
    assert child.line() == "ready"
    time.sleep(0.3)
    sent = time.monotonic()
    child.process.send_signal(2)
    assert float(child.join()) - sent < 5
    callee.join()
