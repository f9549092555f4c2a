"""Streams of endpoints at their caller: values, declared errors, settings, pools; callees in both languages."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator  # noqa: TC003 - the hints of endpoints are read
from contextlib import contextmanager
from typing import Any

import pytest

import tachyon
from programs import program
from serving_thread import serving
from tachyon import (
    EndpointError,
    LayoutMismatchError,
    Pool,
    RpcBus,
    RpcDispatcher,
    Struct,
    f32,
    f64,
    tachyon_rpc,
    u8,
    u32,
    u64,
)

LIMIT = 60.0


class Query(Struct):
    """The request of the program `stream_peer`."""

    instrument: u32
    count: u32


class Quote(Struct):
    """An item of the program `stream_peer`."""

    price: f64
    instrument: u32
    number: u32


class Line(Struct):
    """An item with a head."""

    number: u32
    text: str
    note: str | None


class SoldOut(EndpointError):  # noqa: N818 - the name that travels
    """There is no more."""

    left: u32


class Closed(EndpointError):  # noqa: N818 - the name that travels
    """The shop is closed."""


@tachyon_rpc(msg_type=1)
def count(to: u32) -> Iterator[u32]:
    """Count up."""
    yield from range(to)


@tachyon_rpc(msg_type=2)
def words(text: str) -> Iterator[str]:
    """Split a text."""
    yield from text.split(" ")


@tachyon_rpc(msg_type=3)
def quotes(query: Query) -> Iterator[Quote]:
    """Reply with Structs."""
    for number in range(query.count):
        yield Quote(price=number / 2, instrument=query.instrument, number=number)


@tachyon_rpc(msg_type=4)
def lines(from_: u32, texts: list[u8], note: str | None) -> Iterator[Line]:
    """Reply with lines of so many characters."""
    for at, length in enumerate(texts):
        yield Line(number=from_ + at, text="x" * length, note=note)


@tachyon_rpc(msg_type=6)
def maybe(count: u32) -> Iterator[u32 | None]:
    """Reply with every other number."""
    for number in range(count):
        yield None if number % 2 else number


@tachyon_rpc(msg_type=10)
def ticks(count: u32) -> Iterator[None]:
    """Reply with nothing, several times."""
    for _ in range(count):
        yield None


@tachyon_rpc(msg_type=11, raises=(SoldOut, Closed))
def sell(stock: u32, wanted: u32) -> Iterator[u32]:
    """Reply with so many numbers, or fail."""
    for number in range(wanted):
        if number == stock:
            raise SoldOut(left=0)
        yield number


@tachyon_rpc(msg_type=1)
def other_count(to: u32) -> Iterator[f32]:
    """Declare other items than `count`."""
    yield float(to)


@tachyon_rpc(msg_type=20)
def upload(name: str, items: Iterator[Line]) -> str:
    """Take a stream."""
    return name + "".join(item.text for item in items)


@tachyon_rpc(msg_type=21)
def chat(items: Iterator[str]) -> Iterator[Line]:
    """Take a stream, and reply with one."""
    for number, item in enumerate(items):
        yield Line(number=number, text=item.upper(), note=None)


@tachyon_rpc(msg_type=22)
def settings(timeout: u32, window: u32) -> Iterator[u64]:
    """Take arguments with the names of settings."""
    yield timeout * window


@tachyon_rpc(msg_type=23)
def once(to: u32) -> u32:
    """Reply once."""
    return to


@contextmanager
def in_rust(path: str) -> Iterator[None]:
    """Serve by the program `stream_peer`."""
    with subprocess.Popen([program("stream_peer"), "workers", path]) as peer:
        try:
            yield
        finally:
            peer.kill()


@contextmanager
def in_python(path: str) -> Iterator[None]:
    """Serve in a thread."""
    dispatcher = RpcDispatcher()
    for endpoint in (count, words, quotes, lines, maybe, ticks, sell, upload, chat, settings, once):
        dispatcher.register(endpoint)
    with serving(dispatcher, path, workers=2):
        yield


@pytest.fixture(params=[in_rust, in_python], ids=["rust", "python"])
def callee(request: pytest.FixtureRequest, path: str) -> Iterator[None]:
    """Serve the endpoints in each language."""
    with request.param(path):
        yield


@pytest.fixture
def bus(callee: None, path: str) -> Iterator[RpcBus]:
    """Return a caller of the endpoints."""
    with RpcBus.connect(path) as bus:
        yield bus


EXPECTED: list[tuple[Any, tuple[Any, ...], list[Any]]] = [
    (count, (3,), [0, 1, 2]),
    (count, (0,), []),
    (words, ("eins zwei",), ["eins", "zwei"]),
    (quotes, (Query(instrument=7, count=2),), [Quote(price=n / 2, instrument=7, number=n) for n in range(2)]),
    (lines, (5, [1, 0], "n"), [Line(number=5, text="x", note="n"), Line(number=6, text="", note="n")]),
    (maybe, (3,), [0, None, 2]),
    (ticks, (3,), [None, None, None]),
]


@pytest.mark.parametrize(("endpoint", "arguments", "items"), EXPECTED)
def test_items_are_values(bus: RpcBus, endpoint: Any, arguments: tuple[Any, ...], items: list[Any]) -> None:
    assert list(endpoint.stream(bus, *arguments)) == items
    with endpoint.stream(bus.within(LIMIT).metadata("tenant", "acme"), *arguments, item_timeout=LIMIT) as stream:
        assert list(stream) == items

    async def main() -> None:
        with RpcBus.connect(str(bus).split("'")[1]) as other:
            assert [item async for item in endpoint.astream(other, *arguments)] == items
            async with endpoint.astream(other.within(LIMIT), *arguments, window=1) as stream:
                assert [item async for item in stream] == items

    asyncio.run(main())


def test_a_declared_error_comes_after_its_items(bus: RpcBus, path: str) -> None:
    found = []
    with sell.stream(bus, 2, 9) as stream, pytest.raises(SoldOut) as raised:
        for item in stream:
            found.append(item)  # noqa: PERF402  # the items before the error
    assert (found, raised.value.left) == ([0, 1], 0)

    async def main() -> None:
        found = []
        with RpcBus.connect(path) as other:
            with pytest.raises(SoldOut):
                async for item in sell.astream(other, 2, wanted=9):
                    found.append(item)  # noqa: PERF401  # the items before the error
            assert found == [0, 1]
            assert [item async for item in sell.astream(other, 2, 2)] == [0, 1]

    asyncio.run(main())


def test_two_declarations_are_compared_before_the_stream_opens(bus: RpcBus, path: str) -> None:
    with pytest.raises(LayoutMismatchError, match="each reply is f32 here, u32 at the callee"):
        other_count.stream(bus, 3)

    async def main() -> None:
        with RpcBus.connect(path) as other:
            with pytest.raises(LayoutMismatchError, match="each reply is f32 here, u32 at the callee"):
                await anext(other_count.astream(other, 3))
            assert [item async for item in count.astream(other, 2)] == [0, 1]

    asyncio.run(main())
    assert list(count.stream(bus, 2)) == [0, 1]


def test_a_stream_is_opened_and_a_call_is_called(bus: RpcBus) -> None:
    for refused in (count.call, count.acall):
        with pytest.raises(TypeError, match=r"count is a stream, .*`with count\.stream\(bus, \.\.\.\) as stream`"):
            refused(bus, 3)
    for opened in (once.stream, once.astream):
        with pytest.raises(TypeError, match=r"once has one reply and is no stream: `once\.call\(bus, \.\.\.\)`"):
            opened(bus, 3)  # type: ignore[operator]
    with pytest.raises(TypeError, match="calls are made on an RpcBus"):
        count.stream("bus", 3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"count\(\) missing 1 required positional argument: 'to'"):
        count.stream(bus)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="unexpected keyword argument 'within'"):
        count.stream(bus, 3, within=3)  # type: ignore[call-overload]
    with pytest.raises(OverflowError):
        count.stream(bus, -1)
    with count.stream(bus, 3) as stream:
        with pytest.raises(TypeError, match="the callee of count takes no items"):
            stream.send(3)
        with pytest.raises(TypeError, match="the callee of count takes no items"):
            stream.end()
        with pytest.raises(TypeError, match="the callee of count sends items and no single reply"):
            stream.finish()
        assert list(stream) == [0, 1, 2]


def test_arguments_come_before_settings(path: str) -> None:
    with in_python(path), RpcBus.connect(path) as bus:
        assert list(settings.stream(bus, 3, window=4)) == [12]
        assert list(settings.stream(bus, timeout=3, window=4, item_timeout=LIMIT)) == [12]


def test_a_pool_lends_a_caller_until_the_stream_ends(callee: None, path: str) -> None:
    with Pool(path, 1, timeout=0.1) as pool:
        with pool.stream(count, 3) as stream:
            assert next(stream) == 0
            with pytest.raises(tachyon.TimedOutError, match="callers of the pool"):
                pool.stream(count, 1)
            assert list(stream) == [1, 2]
        assert list(pool.stream(count, 3)) == [0, 1, 2]
        pool.stream(count, 100).close()
        with pool.within(LIMIT).metadata("tenant", "acme").stream(count, to=2, window=1) as stream:
            assert list(stream) == [0, 1]
        with pytest.raises(SoldOut):
            list(pool.stream(sell, 0, 1))
        with pytest.raises(LayoutMismatchError):
            pool.stream(other_count, 1)
        with pytest.raises(TypeError, match="missing"):
            pool.stream(count)
        with pytest.warns(ResourceWarning):
            next(pool.stream(count, 100))
        assert list(pool.stream(count, 3, timeout=LIMIT)) == [0, 1, 2]
        assert len(pool) == 1


def test_a_pool_lends_a_caller_to_a_coroutine(callee: None, path: str) -> None:
    async def main() -> None:
        async with Pool(path, 2, timeout=LIMIT) as pool:

            async def one(to: int) -> None:
                assert [item async for item in pool.astream(count, to)] == list(range(to))

            await asyncio.gather(*(one(to) for to in range(40)))
            async with pool.astream(count, 1000) as stream, pool.within(LIMIT).astream(count, 1000) as other:
                assert await anext(stream) == 0
                assert [await anext(other) for _ in range(3)] == [0, 1, 2]
                with pytest.raises(TimeoutError):
                    await anext(pool.astream(count, 3, timeout=0.05))
            with pytest.raises(SoldOut):
                await anext(pool.astream(sell, 0, 1))
            with pytest.raises(LayoutMismatchError):
                await anext(pool.astream(other_count, 1))
            await asyncio.gather(*(one(to) for to in range(10)))
            assert len(pool) == 2

    asyncio.run(main())


def test_items_of_the_caller_are_values(path: str) -> None:
    texts = ["a", "", "x" * 1000] * 20
    sent = [Line(number=number, text=text, note=None) for number, text in enumerate(texts)]

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            async with upload.astream(bus, "name:", item_timeout=LIMIT) as uploading:
                for line in sent:
                    assert await uploading.send(line)
                with pytest.raises(TypeError, match="upload: the item must be a Line, not int"):
                    await uploading.send(3)
                assert await uploading.finish() == "name:" + "".join(texts)
            async with chat.astream(bus) as chatting:
                assert await chatting.send("abc")
                assert await anext(chatting) == Line(number=0, text="ABC", note=None)
                with pytest.raises(TypeError, match="the callee of chat sends items and no single reply"):
                    await chatting.finish()
                await chatting.end()
                assert [item async for item in chatting] == []

    with in_python(path):
        with RpcBus.connect(path) as bus:
            with upload.stream(bus, name="name:", item_timeout=LIMIT) as uploading:
                assert all(uploading.send(line) for line in sent)
                with pytest.raises(TypeError, match="upload: the item must be a Line, not int"):
                    uploading.send(3)
                with pytest.raises(TypeError, match="the callee of upload sends one reply and no items"):
                    next(uploading)
                assert uploading.finish() == "name:" + "".join(texts)
            with chat.stream(bus) as chatting:
                for number in range(100):
                    assert chatting.send(f"text {number}")
                    assert next(chatting) == Line(number=number, text=f"TEXT {number}", note=None)
                chatting.end()
                assert list(chatting) == []
        asyncio.run(main())


class Shop(tachyon.Service):
    """Streams of all kinds."""

    @tachyon_rpc(msg_type=1)
    def count(self, to: u32) -> Iterator[u32]: ...

    @tachyon_rpc(msg_type=2)
    def upload(self, name: str, items: Iterator[Line]) -> str: ...

    @tachyon_rpc(msg_type=3)
    def chat(self, items: Iterator[str]) -> Iterator[Line]: ...

    @tachyon_rpc(msg_type=4)
    def single(self, to: u32) -> u32: ...


class AsyncShop(tachyon.Service):
    """The same contract for coroutines."""

    @tachyon_rpc(msg_type=1)
    async def count(self, to: u32) -> AsyncIterator[u32]:
        """Count up."""
        yield to

    @tachyon_rpc(msg_type=2)
    async def upload(self, name: str, items: AsyncIterator[Line]) -> str: ...

    @tachyon_rpc(msg_type=3)
    async def chat(self, items: AsyncIterator[str]) -> AsyncIterator[Line]:
        """Answer in capitals."""
        async for item in items:
            yield Line(number=0, text=item, note=None)

    @tachyon_rpc(msg_type=4)
    async def single(self, to: u32) -> u32: ...


class Open(Shop):
    """An implementation."""

    def count(self, to: u32) -> Iterator[u32]:
        yield from range(to)

    def upload(self, name: str, items: Iterator[Line]) -> str:
        return name + "".join(item.text for item in items)

    def chat(self, items: Iterator[str]) -> Iterator[Line]:
        for number, item in enumerate(items):
            yield Line(number=number, text=item.upper(), note=None)

    def single(self, to: u32) -> u32:
        return to


def test_clients_of_a_service_open_streams(path: str) -> None:
    sent = [Line(number=0, text="x" * size, note=None) for size in (1, 0, 1000)] * 20

    def broken() -> Iterator[Line]:
        yield sent[0]
        raise ZeroDivisionError

    dispatcher = RpcDispatcher()
    dispatcher.register(Open())
    with serving(dispatcher, path, workers=2), RpcBus.connect(path) as bus, Pool(path, 1) as pool:
        for target in (bus, bus.within(LIMIT), pool, pool.within(LIMIT)):
            client = Shop.client(target)
            assert list(client.count(3)) == [0, 1, 2]
            assert client.single(7) == 7
            assert client.upload("name:", iter(sent)) == "name:" + "".join(line.text for line in sent)
            assert client.upload(items=iter(()), name="name:") == "name:"
            with pytest.raises(ZeroDivisionError):
                client.upload("name:", broken())
            with pytest.raises(TypeError, match=r"Shop\.chat takes and gives items at the same time"):
                client.chat(iter(()))
            assert list(client.count(to=2)) == [0, 1]


def test_async_clients_of_a_service_open_streams(path: str) -> None:
    async def lines_of(texts: list[str]) -> AsyncIterator[Line]:
        for text in texts:
            yield Line(number=0, text=text, note=None)

    async def texts_of(count: int, *, fails: bool = False) -> AsyncIterator[str]:
        for number in range(count):
            await asyncio.sleep(0)
            yield f"text {number}"
        if fails:
            raise ZeroDivisionError

    async def main() -> None:
        async with RpcBus.aconnect(path) as bus, Pool(path, 1) as pool:
            for target in (bus, bus.within(LIMIT), pool, pool.within(LIMIT)):
                client = AsyncShop.client(target)
                assert [item async for item in client.count(3)] == [0, 1, 2]
                assert await client.single(7) == 7
                texts = ["a", "b" * 1000] * 50
                assert await client.upload("name:", lines_of(texts)) == "name:" + "".join(texts)
                replies = [line.text async for line in client.chat(texts_of(200))]
                assert replies == [f"TEXT {number}" for number in range(200)]
                with pytest.raises(ZeroDivisionError):
                    async for _ in client.chat(texts_of(3, fails=True)):
                        pass
                async for line in client.chat(texts_of(10)):
                    assert line.text == "TEXT 0"
                    break
                assert await client.single(8) == 8

    dispatcher = RpcDispatcher()
    dispatcher.register(Open())
    with serving(dispatcher, path, workers=2):
        asyncio.run(main())
