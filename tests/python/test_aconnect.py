"""`RpcBus.aconnect`, and `async with` on buses, servers and pools."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop

import tachyon
from proc import descriptors, mappings
from tachyon import Pool, RpcBus, RpcDispatcher, RpcServer, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from conftest import Peer

FACTORIES = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

echo, sleep, stop = (tachyon_rpc(number)(bytes) for number in (1, 3, 4))
process_id = tachyon_rpc(10)(bytes)


@pytest.fixture(params=FACTORIES)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[object, object, None]], None]:
    """Return a function that runs a coroutine on the event loop under test, and leaves no connection behind."""

    def run(main: Coroutine[object, object, None]) -> None:
        # A loop keeps what its first run opens for the process.
        with asyncio.Runner(loop_factory=FACTORIES[request.param]) as runner:
            runner.run(asyncio.sleep(0))
        gc.collect()
        before = opened(), mappings()
        with asyncio.Runner(loop_factory=FACTORIES[request.param]) as runner:
            runner.run(main)
        assert (opened(), mappings()) == before

    return run


def opened() -> list[str]:
    """Return the kinds of the open descriptors, without the pipes to children."""
    kinds = (re.sub("[0-9]", "", str(entry.readlink())) for entry in Path("/proc/self/fd").iterdir() if entry.exists())
    return sorted(kind for kind in kinds if not kind.startswith("pipe:"))


@asynccontextmanager
async def ticking(at_least: int) -> AsyncIterator[None]:
    """Check that the loop runs meanwhile: so many turns, a millisecond apart."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticker = asyncio.create_task(tick())
    yield
    ticker.cancel()
    assert ticks >= at_least


def test_it_is_awaited_or_entered(service: Callable[..., Peer], path: str, run: Callable[..., None]) -> None:
    service("basics", "server")

    async def main() -> None:
        bus = await RpcBus.aconnect(path)
        assert await echo.acall(bus, b"awaited") == b"awaited"
        bus.close()
        async with RpcBus.aconnect(Path(path)) as bus:
            assert await echo.acall(bus, b"entered") == b"entered"
        assert bus.closed
        async with await RpcBus.aconnect(path, ring_sizes=(4096, 1 << 20)) as bus:
            assert await echo.acall(bus, b"both") == b"both"
        assert bus.closed
        with pytest.raises(tachyon.BusClosedError):
            async with bus:
                pass
        # Any coroutine's ways work.
        three = await asyncio.gather(*(RpcBus.aconnect(path) for _ in range(3)))
        three.append(await asyncio.create_task(RpcBus.aconnect(path)))
        three.append(await asyncio.wait_for(RpcBus.aconnect(path), 60))
        assert await asyncio.gather(*(echo.acall(bus, b"x") for bus in three)) == [b"x"] * 5
        for bus in three:
            bus.close()

    run(main())


def test_a_block_that_raises_closes_the_bus(service: Callable[..., Peer], path: str, run: Callable[..., None]) -> None:
    service("basics", "server")

    async def main() -> None:
        with pytest.raises(KeyError):
            async with RpcBus.aconnect(path) as bus:
                raise KeyError
        assert bus.closed

    run(main())


def test_a_bus_of_a_loop_calls_from_threads_too(service: Callable[..., Peer], path: str) -> None:
    service("basics", "server")
    bus = asyncio.run(connect_in_loop(path))
    assert echo.call(bus, b"here") == b"here"
    bus.close()


async def connect_in_loop(path: str) -> RpcBus:
    return await RpcBus.aconnect(path)


def test_the_loop_runs_while_no_one_listens(peer: Callable[..., Peer], path: str, run: Callable[..., None]) -> None:
    async def main() -> None:
        async with ticking(20):
            with pytest.raises(tachyon.NoListenerError) as raised:
                await RpcBus.aconnect(path, timeout=0.3)
        assert "after 300ms" in str(raised.value)
        late = peer("""
            time.sleep(0.5)
            with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
                sys.stdin.read()
        """)
        async with ticking(20), RpcBus.aconnect(path, timeout=None) as bus:
            assert not bus.closed
        late.hang_up()
        await asyncio.to_thread(late.join)

    run(main())


def test_the_loop_runs_while_the_listener_is_silent(path: str, run: Callable[..., None]) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(path)
            listener.listen()
            async with ticking(20):
                with pytest.raises(tachyon.TimedOutError):
                    await RpcBus.aconnect(path, timeout=0.3)

    run(main())


def test_errors_are_those_of_connect(service: Callable[..., Peer], path: str, run: Callable[..., None]) -> None:
    service("basics", "server", max_callers=1)

    async def main() -> None:
        async with RpcBus.aconnect(path):
            with pytest.raises(tachyon.ServerBusyError):
                await RpcBus.aconnect(path, timeout=0.2)
        with pytest.raises(tachyon.TachyonError) as raised:
            await RpcBus.aconnect("")
        with pytest.raises(type(raised.value)):
            RpcBus.connect("")

    run(main())


def test_a_wrong_argument_is_an_error_before_the_await(path: str) -> None:
    with pytest.raises(ValueError, match="a number of seconds from 0 up"):
        RpcBus.aconnect(path, timeout=-1)
    with pytest.raises(ValueError, match="ring_sizes"):
        RpcBus.aconnect(path, ring_sizes=(-1, 64))
    with pytest.raises(TypeError, match="retries"):
        RpcBus.aconnect(path, retries=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        RpcBus.aconnect()  # type: ignore[call-arg]


def test_the_timeout_begins_with_the_await(service: Callable[..., Peer], path: str) -> None:
    async def main() -> None:
        early = RpcBus.aconnect(path, timeout=0.2)
        await asyncio.sleep(0.4)
        service("basics", "server")
        async with early:
            pass

    asyncio.run(main())


def test_a_cancellation_leaves_nothing_behind(path: str, run: Callable[..., None]) -> None:
    async def main() -> None:
        before = descriptors()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(path)
            listener.listen(100)
            for enter in (False, True):
                tasks = [asyncio.create_task(hold(path, enter=enter)) for _ in range(10)]
                await asyncio.sleep(0.1)
                assert descriptors() > before + 1
                for task in tasks:
                    task.cancel()
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
                gc.collect()
                # The listener's own descriptor stays.
                assert descriptors() == before + 1
        assert len(asyncio.all_tasks()) == 1

    run(main())


async def hold(path: str, *, enter: bool) -> None:
    """Connect and hold the bus for ever."""
    if enter:
        async with RpcBus.aconnect(path, timeout=None):
            await asyncio.sleep(60)
    else:
        await RpcBus.aconnect(path, timeout=None)
        await asyncio.sleep(60)


def test_a_cancelled_block_closes_its_bus(service: Callable[..., Peer], path: str, run: Callable[..., None]) -> None:
    service("basics", "server")
    callers = tachyon_rpc(5)(bytes)

    async def main() -> None:
        async with RpcBus.aconnect(path) as bus:
            tasks = [asyncio.create_task(hold(path, enter=True)) for _ in range(5)]
            while await callers.acall(bus, b"") != b"6":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while await callers.acall(bus, b"") != b"1":  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    run(main())


def test_an_await_that_is_missing_is_reported(path: str) -> None:
    with pytest.warns(RuntimeWarning, match="never awaited"):
        forget_to_await(path)


def forget_to_await(path: str) -> None:
    RpcBus.aconnect(path)
    gc.collect()


def test_it_reconnects(service: Callable[..., Peer], path: str, run: Callable[..., None]) -> None:
    first = service("basics", "server")

    async def main() -> None:
        async with RpcBus.aconnect(path, reconnect=True) as bus:
            before = int(await process_id.acall(bus, b""))
            assert before == first.process.pid
            first.kill()
            second = await asyncio.to_thread(service, "basics", "server")
            assert int(await process_id.acall(bus, b"", timeout=60)) == second.process.pid

    run(main())


def test_a_probe_leaves_a_listener_its_place(peer: Callable[..., Peer], path: str, run: Callable[..., None]) -> None:
    async def main() -> None:
        listener = peer("""
            print("listens", flush=True)
            with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
                sys.stdin.read()
        """)
        assert listener.line() == "listens"
        with pytest.raises(tachyon.errors.OnePeerError):
            await RpcBus.aconnect(path, probe=True)
        async with RpcBus.aconnect(path):
            listener.hang_up()
            await asyncio.to_thread(listener.join)

    run(main())


def exists(path: str) -> bool:
    return Path(path).exists()


def dispatcher() -> RpcDispatcher:
    made = RpcDispatcher()

    @made.handler(1)
    async def reply(payload: memoryview) -> bytes:
        await asyncio.sleep(float(bytes(payload)))
        return b"done"

    return made


def test_a_server_ends_with_its_block(path: str, run: Callable[..., None]) -> None:
    async def main() -> None:
        async with RpcServer(path, stop_timeout=30.0) as server:
            serving = asyncio.create_task(dispatcher().aserve(server))
            async with RpcBus.aconnect(path) as bus:
                call = asyncio.create_task(echo.acall(bus, b"0.2"))
                while not server.callers or call.done():  # noqa: ASYNC110
                    await asyncio.sleep(0)
                await asyncio.sleep(0.05)
                # The end of the block lets the handler end, and its caller run.
                server.stop()
                assert await call == b"done"
        assert server.closed
        assert not exists(path)
        await serving
        # The path is free.
        async with RpcServer(path):
            assert exists(path)
        assert not exists(path)
        with pytest.raises(tachyon.BusClosedError):
            async with server:
                pass

    run(main())


def test_a_server_of_a_thread_does_not_block_the_loop_at_its_end(path: str, run: Callable[..., None]) -> None:
    made = RpcDispatcher()

    @made.handler(1)
    def wait(payload: memoryview) -> bytes:
        time.sleep(0.3)
        return b"done"

    async def main() -> None:
        async with RpcServer(path, stop_timeout=30.0) as server:
            thread = threading.Thread(target=made.serve_forever, args=[server])
            thread.start()
            async with ticking(20), RpcBus.aconnect(path) as bus:
                call = asyncio.create_task(echo.acall(bus, b""))
                await asyncio.sleep(0.1)
                await server.__aexit__(None, None, None)
                assert server.closed
                assert await call == b"done"
        thread.join()

    run(main())


def test_a_handler_that_leaves_the_block_of_its_server_does_not_wait_for_itself(
    path: str, run: Callable[..., None]
) -> None:
    made = RpcDispatcher()

    @made.handler(1)
    async def end(payload: memoryview) -> bytes:
        async with serving[0]:
            pass
        return b"ended"

    serving: list[RpcServer] = []

    async def main() -> None:
        with RpcServer(path) as server:
            serving.append(server)
            task = asyncio.create_task(made.aserve(server))
            async with RpcBus.aconnect(path) as bus:
                assert await echo.acall(bus, b"", timeout=60) == b"ended"
            await task

    run(main())


def test_a_pool_ends_with_its_block(service: Callable[..., Peer], path: str, run: Callable[..., None]) -> None:
    service("basics", "server")

    async def main() -> None:
        async with Pool(path, 3) as pool:
            assert await asyncio.gather(*(pool.acall(echo, b"x") for _ in range(9))) == [b"x"] * 9
        assert pool.closed
        with pytest.raises(tachyon.BusClosedError):
            await pool.acall(echo, b"x")

    run(main())
