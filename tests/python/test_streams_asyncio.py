"""Streams of coroutines, by number, on either event loop: items in order, every end, and calls beside them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

import tachyon
from tachyon import ErrorKind, RpcBus, _calls, errors, tachyon_rpc
from test_streams import (
    CHAT,
    COUNT,
    DIE_AFTER,
    ECHO,
    FAIL_AFTER,
    FOREVER,
    LARGE,
    LIMIT,
    PANIC_AFTER,
    SLOW,
    STOP,
    UPLOAD,
    UPLOAD_SOME,
    StreamPeer,
    echo,
    numbers,
    packed,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[object, object, object]], object]:
    """Return a function that runs a coroutine to its end on the event loop under test."""

    def run(main: Coroutine[object, object, object]) -> object:
        async def within_limit() -> object:
            async with asyncio.timeout(LIMIT):
                return await main

        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(within_limit())

    return run


@pytest.fixture
def start(path: str) -> Iterator[Callable[[str], StreamPeer]]:
    """Return a function that starts the program in a role."""
    with contextlib.ExitStack() as stack:

        def start(role: str) -> StreamPeer:
            peer = StreamPeer(role, path)
            stack.callback(peer.end)
            return peer

        yield start


@pytest.fixture
def callee(start: Callable[[str], StreamPeer]) -> StreamPeer:
    """Return the program in the role of a server."""
    return start("server")


async def collected(items: AsyncIterator[bytes]) -> list[bytes]:
    """Return the items of an iterator."""
    return [item async for item in items]


@pytest.mark.parametrize("role", ["callee", "server", "workers", "tokio"])
def test_all_items_come_in_order(run: Callable, start: Callable[[str], StreamPeer], role: str, path: str) -> None:
    start(role)

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            for count in (0, 1, 31, 32, 33, 1000):
                async with bus.astream(COUNT, packed(count), item_timeout=LIMIT) as stream:
                    assert not stream.closed
                    assert await collected(stream) == numbers(count)
                    assert stream.closed
                    assert await collected(stream) == []
                assert await collected(bus.astream(COUNT, packed(count))) == numbers(count)

    run(main())


def test_a_thousand_calls_beside_thirty_two_streams(run: Callable, callee: StreamPeer, path: str) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            async with bus.astream(FOREVER) as unread:
                streams = [bus.astream(COUNT, packed(500)) for _ in range(31)]
                calls = [echo.acall(bus, packed(number), timeout=LIMIT) for number in range(1000)]
                found, replies = await asyncio.gather(
                    asyncio.gather(*(collected(stream) for stream in streams)), asyncio.gather(*calls)
                )
                assert found == [numbers(500)] * 31
                assert replies == numbers(1000)
                assert [await anext(unread) for _ in range(100)] == numbers(100, 1)
            assert await echo.acall(bus, b"after") == b"after"

    run(main())
    callee.dropped()


def test_leaving_the_block_cancels_at_once(run: Callable, callee: StreamPeer, path: str) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            async with bus.astream(FOREVER) as stream:
                async for item in stream:
                    if item == packed(50):
                        break
            assert stream.closed
            callee.dropped()
            assert await collected(stream) == []
            with pytest.raises(errors.InvalidArgumentError, match="closed"):
                await stream.send(b"late")
            with pytest.raises(errors.InvalidArgumentError, match="closed"):
                async with stream:
                    pass
            await stream.close()
            assert repr(stream) == "<tachyon.AsyncStream msg_type=3 closed>"
            assert await echo.acall(bus, b"after") == b"after"

    run(main())


def test_a_dropped_stream_is_cancelled_with_a_warning(run: Callable, callee: StreamPeer, path: str) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            stream = bus.astream(FOREVER)
            await anext(stream)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                del stream
                gc.collect()
            assert [warning.category for warning in caught] == [ResourceWarning]
            await asyncio.sleep(0)
            await asyncio.to_thread(callee.dropped)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                bus.astream(FOREVER)
                await collected(bus.astream(COUNT, packed(3)))
                gc.collect()
            assert await echo.acall(bus, b"after") == b"after"

    run(main())


def test_a_cancelled_task_loses_no_item(run: Callable, callee: StreamPeer, path: str) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            async with bus.astream(SLOW, packed(100)) as stream:
                found: list[bytes] = []
                while not stream.closed:
                    with contextlib.suppress(TimeoutError, StopAsyncIteration):
                        async with asyncio.timeout(0.01):
                            found.append(await anext(stream))
                assert found == numbers(3)
            async with bus.astream(COUNT, packed(3000)) as stream:
                found = []
                while not stream.closed:
                    task = asyncio.ensure_future(anext(stream, None))
                    await asyncio.sleep(0)
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        found.extend([item] if (item := await task) is not None else [])
                assert found == numbers(3000)

    run(main())


@pytest.mark.parametrize("endpoint", [FAIL_AFTER, PANIC_AFTER])
def test_an_error_ends_a_stream_after_its_items(run: Callable, callee: StreamPeer, path: str, endpoint: int) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            async with bus.astream(endpoint, packed(40)) as stream:
                assert [await anext(stream) for _ in range(40)] == numbers(40)
                with pytest.raises(errors.HandlerError) as raised:
                    await anext(stream)
                assert await collected(stream) == []
            is_last = endpoint == FAIL_AFTER
            assert raised.value.kind is (ErrorKind.NOT_FOUND if is_last else ErrorKind.HANDLER_FAILED)
            with pytest.raises(errors.RpcError) as raised:
                await collected(bus.astream(ECHO, b"x"))
            assert raised.value.kind is ErrorKind.BAD_REQUEST
            with pytest.raises(errors.NoHandlerError):
                await collected(bus.astream(99))
            assert await echo.acall(bus, b"after") == b"after"

    run(main())


def test_an_items_time_leaves_the_stream_open_and_the_whole_time_ends_it(
    run: Callable, callee: StreamPeer, path: str
) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            async with bus.astream(SLOW, packed(300), item_timeout=0.05) as stream:
                got, timeouts = [], 0
                while not stream.closed:
                    try:
                        got.extend([item] if (item := await anext(stream, None)) is not None else [])
                    except TimeoutError:
                        timeouts += 1
                assert got == numbers(3)
                assert timeouts > 0
            for opened in (bus.astream(FOREVER, timeout=0.2), bus.within(0.2).astream(FOREVER, timeout=50.0)):
                async with opened as stream:
                    with pytest.raises(TimeoutError):
                        async for _ in stream:
                            await asyncio.sleep(0.001)
                    assert stream.closed
            # No item comes, and the callee does not look at its clock.
            async with bus.astream(SLOW, packed(1000), timeout=0.1) as stream:
                with pytest.raises(TimeoutError):
                    await anext(stream)
                assert stream.closed
            assert await echo.acall(bus, b"after") == b"after"

    run(main())


def test_the_33rd_stream_is_refused_and_closed_ones_make_room(run: Callable, callee: StreamPeer, path: str) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            async with contextlib.AsyncExitStack() as stack:
                streams = [await stack.enter_async_context(bus.astream(FOREVER)) for _ in range(32)]
                with pytest.raises(errors.BusyError, match="32"):
                    async with bus.astream(FOREVER):
                        pass
                for number in range(1, 40):
                    assert {await anext(stream) for stream in streams} == {packed(number)}
            for _ in range(100):
                assert await collected(bus.astream(COUNT, packed(3))) == numbers(3)

    run(main())


def test_large_items_and_small_windows(run: Callable, callee: StreamPeer, path: str) -> None:
    expected = [bytes([number % 251]) * 3000 for number in range(300)]

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            for window in (None, 1, 2, 7, 1 << 30):
                assert await collected(bus.astream(LARGE, packed(300), window=window)) == expected

    run(main())


def test_items_that_were_published_come_before_the_death(
    run: Callable, start: Callable[[str], StreamPeer], path: str
) -> None:
    start("server")

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            async with bus.astream(DIE_AFTER, packed(20)) as stream, bus.astream(COUNT, packed(10)) as other:
                # The loop sees the end before this task takes an item.
                await asyncio.sleep(0.3)
                assert [await anext(stream) for _ in range(20)] == numbers(20)
                with pytest.raises(errors.PeerDeadError):
                    await anext(stream)
                assert stream.closed
                assert await collected(stream) == []
                found = []
                with contextlib.suppress(errors.PeerDeadError):
                    async for item in other:
                        found.append(item)  # noqa: PERF401  # the items before the error
                assert found == numbers(len(found))

    run(main())


def test_a_server_that_stops_ends_its_streams(run: Callable, callee: StreamPeer, path: str) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus, RpcBus.connect(path) as other:
            async with bus.astream(FOREVER) as stream:
                assert await anext(stream) == packed(1)
                with contextlib.suppress(errors.TachyonError):
                    await tachyon_rpc(STOP)(bytes).acall(other, b"")
                with pytest.raises((errors.RpcError, ConnectionError)):
                    await collected(stream)
                assert stream.closed

    run(main())
    callee.dropped()
    assert callee.process.wait(LIMIT) == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_upload_to_a_callee_that_is_gone_takes_nothing_and_has_its_outcome(
    run: Callable, callee: StreamPeer, path: str, end: str
) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus, RpcBus.connect(path) as other:
            async with bus.astream(UPLOAD, b"") as upload:
                assert await upload.send(packed(1))
                if end == "kill":
                    callee.process.kill()
                else:
                    with contextlib.suppress(errors.TachyonError):
                        await tachyon_rpc(STOP)(bytes).acall(other, b"")
                callee.process.wait(LIMIT)
                left = 0
                while await upload.send(packed(left)):
                    left += 1
                # A death is noticed with the first wait, a stop at once.
                assert left <= (1000 if end == "kill" else 0)
                with pytest.raises(errors.PeerDeadError if end == "kill" else errors.RpcError) as raised:
                    await upload.finish()
                assert not raised.value.safe_to_retry

    run(main())


def test_a_closed_bus_ends_the_stream(run: Callable, callee: StreamPeer, path: str) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            slow = bus.astream(SLOW, packed(10_000))
            waiting = asyncio.ensure_future(anext(slow))
            await asyncio.sleep(0.05)
            bus.close()
            with pytest.raises(errors.BusClosedError):
                await waiting
            await slow.close()

    run(main())


def test_a_reconnect_resumes_no_stream(run: Callable, start: Callable[[str], StreamPeer], path: str) -> None:
    async def main() -> None:
        first = start("server")
        with RpcBus.connect(path, reconnect=True) as bus:
            async with bus.astream(FOREVER) as stream:
                assert await anext(stream) == packed(1)
                first.end()
                start("server")
                found = []
                with pytest.raises(ConnectionError):
                    async for item in stream:
                        found.append(item)  # noqa: PERF401  # the items before the error
                assert found == numbers(len(found), 2)
                assert await echo.acall(bus, b"again") == b"again"
            assert await collected(bus.astream(COUNT, packed(3))) == numbers(3)

    run(main())


def test_a_sender_without_credit_keeps_no_other_waiting(run: Callable, callee: StreamPeer, path: str) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            async with bus.astream(FOREVER) as stream, bus.astream(FOREVER, item_timeout=0.1) as other:
                sending = asyncio.ensure_future(stream.send(b"an item without credit"))
                with pytest.raises(TimeoutError):
                    await other.send(b"an item without credit")
                before = os.times()
                await asyncio.sleep(0.5)
                after = os.times()
                assert after.user + after.system - before.user - before.system < 0.25, "a sender that waits spins"
                replies = await asyncio.gather(*(echo.acall(bus, bytes(1000)) for _ in range(1000)))
                assert replies == [bytes(1000)] * 1000
                assert await collected(bus.astream(COUNT, packed(500))) == numbers(500)
                assert [await anext(stream) for _ in range(100)] == numbers(100, 1)
                assert not sending.done()
                with pytest.raises(TypeError, match="str"):
                    await stream.send("text")
                with pytest.raises(errors.TooLargeError):
                    await stream.send(bytes(1 << 20))
            # The callee of a stream that was closed takes nothing more.
            assert await sending is False
            async with bus.astream(COUNT, packed(2)) as stream:
                assert await collected(stream) == numbers(2)
                assert await stream.send(b"late") is False
                await stream.end()
                with pytest.raises(errors.InvalidArgumentError, match="follows"):
                    await stream.send(b"later")
                with pytest.raises(errors.InvalidArgumentError, match="outcome"):
                    await stream.finish()

    run(main())


def test_layers_see_a_stream_as_one_call(run: Callable, callee: StreamPeer, path: str) -> None:
    seen: list[Any] = []

    class Log(tachyon.layers.CallerLayer):
        def before(self, call: tachyon.layers.OutgoingCall, /) -> None:
            seen.append((call.msg_type, call.request_size))

        def after(self, _: tachyon.layers.OutgoingCall, outcome: tachyon.layers.CallOutcome, seconds: float, /) -> None:
            assert seconds >= 0
            seen.append(type(outcome).__name__)

    async def main() -> None:
        with RpcBus.connect(path).layer(Log()) as bus:
            assert await collected(bus.astream(COUNT, packed(3))) == numbers(3)
            with pytest.raises(LookupError):
                await collected(bus.astream(FAIL_AFTER, packed(3)))
            async with bus.astream(FOREVER):
                pass

    run(main())
    assert seen == [(COUNT, 4), "Replied", (FAIL_AFTER, 4), "CallFailed", (FOREVER, 0), "GivenUp"]


def test_a_bus_with_streams_is_freed_without_the_collector(run: Callable, callee: StreamPeer, path: str) -> None:
    async def main() -> None:
        bus = RpcBus.connect(path)
        assert await collected(bus.astream(COUNT, packed(100))) == numbers(100)
        async with bus.astream(FOREVER) as stream:
            await anext(stream)
        with contextlib.suppress(LookupError):
            await collected(bus.astream(FAIL_AFTER, packed(3)))
        del stream
        gc.disable()
        try:
            freed = weakref.ref(bus)
            del bus
            await asyncio.sleep(0.05)
            assert freed() is None
        finally:
            gc.enable()

    run(main())


def test_a_death_between_the_opening_and_its_task_ends_the_stream(run: Callable, callee: StreamPeer, path: str) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            assert await echo.acall(bus, b"before") == b"before"
            connection = _calls.loop_connection_of(bus)
            # The opening waits behind a call that was given up, so that a callback of the loop sends it.
            given_up = _calls.Call(b"", ECHO, None, connection.loop)
            given_up.reply.cancel()
            connection._queue.append(given_up)
            stream = bus.astream(FOREVER)
            opening = asyncio.ensure_future(anext(stream))
            while not connection._streams:  # noqa: ASYNC110  # looks in each turn of the loop
                await asyncio.sleep(0)
            connection._end(bus, errors.PeerDeadError("the peer died"))
            with pytest.raises(errors.PeerDeadError):
                await opening
            assert stream.closed

    run(main())


def test_a_bus_whose_callee_died_is_freed_without_the_collector(
    run: Callable, start: Callable[[str], StreamPeer], path: str
) -> None:
    start("server")

    async def main() -> None:
        bus = RpcBus.connect(path)
        async with bus.astream(DIE_AFTER, packed(20)) as stream, bus.astream(UPLOAD) as upload:
            # The loop sees the end before this task takes an item.
            await asyncio.sleep(0.3)
            for outcome in (collected(stream), upload.finish()):
                with contextlib.suppress(errors.PeerDeadError):
                    await outcome
        assert stream.closed
        assert upload.closed
        del stream, upload, outcome
        gc.disable()
        try:
            freed = weakref.ref(bus)
            del bus
            await asyncio.sleep(0.05)
            assert freed() is None
        finally:
            gc.enable()

    run(main())


@pytest.fixture(params=["callee", "server", "workers", "tokio"])
def taking(request: pytest.FixtureRequest, start: Callable[[str], StreamPeer]) -> None:
    """Start the program in each role."""
    start(str(request.param))


@pytest.mark.usefixtures("taking")
def test_an_upload_gets_its_reply(run: Callable, path: str) -> None:
    async def upload(bus: RpcBus, count: int, size: int) -> None:
        async with bus.astream(UPLOAD, b"sizes ", item_timeout=LIMIT) as stream:
            for _ in range(count):
                assert await stream.send(bytes(size))
            assert await stream.finish() == b"sizes " + (count * size).to_bytes(8, "little")
            assert stream.closed

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            await asyncio.gather(
                *(upload(bus, *of) for of in ((0, 0), (1, 3), (500, 7), (100, 3000)) * 3),
                *(echo.acall(bus, b"beside") for _ in range(200)),
            )
            async with bus.astream(UPLOAD) as stream:
                await stream.send(bytearray(5))
                await stream.end()
                with pytest.raises(errors.InvalidArgumentError, match="follows"):
                    await stream.send(b"late")
                assert await collected(stream) == []
                assert not stream.closed
                assert await stream.finish() == (5).to_bytes(8, "little")

    run(main())


@pytest.mark.usefixtures("taking")
def test_a_callee_that_refuses_ends_the_upload(run: Callable, path: str) -> None:
    async def main() -> None:
        with RpcBus.connect(path) as bus:
            async with bus.astream(UPLOAD_SOME, packed(3)) as stream:
                sent = 0
                while await stream.send(b"item"):
                    sent += 1
                assert sent >= 3
                assert await stream.send(b"item") is False
                with pytest.raises(errors.ResourceExhaustedError):
                    await stream.finish()
                assert stream.closed
            assert await echo.acall(bus, b"after") == b"after"

    run(main())


@pytest.mark.usefixtures("taking")
def test_a_chat_goes_in_both_directions(run: Callable, path: str) -> None:
    async def send(stream: tachyon.AsyncStream[bytes, Any, bytes], count: int) -> None:
        for number in range(count):
            assert await stream.send(b"item %d" % number)
        await stream.end()

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            async with contextlib.AsyncExitStack() as stack:
                chats = [await stack.enter_async_context(bus.astream(CHAT, window=4)) for _ in range(4)]
                found, *_ = await asyncio.gather(
                    asyncio.gather(*(collected(chat) for chat in chats)), *(send(chat, 500) for chat in chats)
                )
                assert found == [[b"ITEM %d" % number for number in range(500)]] * 4
            for _ in range(50):
                async with bus.astream(CHAT) as stream:
                    await stream.send(b"x")
                    assert await anext(stream) == b"X"
            assert await echo.acall(bus, b"after") == b"after"

    run(main())
