"""Endpoints in Python that take the items of their callers, and those that an event loop runs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import threading
import zlib
from collections.abc import AsyncIterator, Iterator  # noqa: TC003 - hints of endpoints
from pathlib import Path

import pytest

import tachyon
from stream_caller import LIMIT, WAYS, Serving, StreamCaller, le, serving, wait_until
from tachyon import EndpointError, RpcBus, RpcDispatcher, Struct, current_call, tachyon_rpc, u8, u32, u64
from tachyon.errors import NotFoundError, StreamCancelledError

LOOPS = ("loop server", "loop bus")

UPLOAD, CHAT, EARLY, WAITS, COUNT = 1, 2, 3, 4, 5


class Part(Struct):
    """A part of a sum."""

    number: u64


class Full(EndpointError):  # noqa: N818 - as a service names its errors
    """There is no room."""

    at: u32


class Handlers:
    """Streams with the items of their callers, by plain functions or by coroutines, and lines that they write."""

    def __init__(self, *, coroutines: bool) -> None:
        """Make the handlers."""
        self.seen: list[str] = []
        self.begun: list[bytes] = []
        self.dispatcher = RpcDispatcher()
        (self._coroutines if coroutines else self._plain)()

        @self.dispatcher.handler(msg_type=9)
        def echo(data: bytes) -> bytes:
            return data

    def _plain(self) -> None:  # noqa: C901 - one function for each form
        seen, handler = self.seen, self.dispatcher.handler

        @handler(msg_type=UPLOAD)
        def upload(name: str, parts: Iterator[bytes]) -> u32:
            try:
                checksum = zlib.crc32(name.encode())
                for part in parts:
                    self.begun.append(part)
                    checksum = zlib.crc32(part, checksum)
            except ConnectionAbortedError as error:
                seen.append(f"{type(error).__name__} {current_call().is_cancelled()}")
                raise
            seen.append(threading.current_thread().name)
            assert list(parts) == []
            return checksum

        @handler(msg_type=CHAT, raises=Full)
        def chat(lines: Iterator[str]) -> Iterator[str]:
            try:
                for line in lines:
                    if line == "full":
                        raise Full(at=3)
                    if line == "broken":
                        raise ValueError(line)
                    yield line.upper()
                    if line == "bye":
                        break
            finally:
                seen.append("closed")

        @handler(msg_type=EARLY)
        def early(numbers: Iterator[u32]) -> u32:
            return next(numbers)

        @handler(msg_type=WAITS)
        def waits(numbers: Iterator[u32]) -> Iterator[u32]:
            for number in itertools.count():
                if number == 3:
                    seen.append(str(next(numbers)))
                yield number

        @handler(msg_type=COUNT)
        def count(to: u32) -> Iterator[u32]:
            yield from range(to)

    def _coroutines(self) -> None:  # noqa: C901 - as above
        seen, handler = self.seen, self.dispatcher.handler

        @handler(msg_type=UPLOAD)
        async def upload(name: str, parts: AsyncIterator[bytes]) -> u32:
            try:
                checksum = zlib.crc32(name.encode())
                async for part in parts:
                    self.begun.append(part)
                    checksum = zlib.crc32(part, checksum)
            except asyncio.CancelledError as error:
                seen.append(f"{type(error).__name__} {current_call().is_cancelled()}")
                raise
            seen.append(threading.current_thread().name)
            assert [part async for part in parts] == []
            return checksum

        @handler(msg_type=CHAT, raises=Full)
        async def chat(lines: AsyncIterator[str]) -> AsyncIterator[str]:
            try:
                async for line in lines:
                    if line == "full":
                        raise Full(at=3)
                    if line == "broken":
                        raise ValueError(line)
                    yield line.upper()
                    if line == "bye":
                        break
            finally:
                seen.append("closed")

        @handler(msg_type=EARLY)
        async def early(numbers: AsyncIterator[u32]) -> u32:
            return await anext(numbers)

        @handler(msg_type=WAITS)
        async def waits(numbers: AsyncIterator[u32]) -> AsyncIterator[u32]:
            for number in itertools.count():
                if number == 3:
                    seen.append(str(await anext(numbers)))
                yield number

        @handler(msg_type=COUNT)
        async def count(to: u32) -> AsyncIterator[u32]:
            for number in range(to):
                yield number


@pytest.fixture(params=[*((way, False) for way in WAYS), *((way, True) for way in LOOPS)])
def kind(request: pytest.FixtureRequest) -> tuple[str, bool]:
    """A way to serve, and whether the handlers are coroutines."""
    found: tuple[str, bool] = request.param
    return found


def test_an_upload_gets_one_reply(kind: tuple[str, bool], path: str) -> None:
    way, coroutines = kind
    handlers = Handlers(coroutines=coroutines)
    parts = [bytes([at % 256]) * (at * 7 % 3000) for at in range(200)]
    with serving(handlers.dispatcher, path, way) as caller:
        for _ in range(2):
            stream = caller.open(UPLOAD, b"name")
            for part in parts:
                assert caller.ask("send", stream, part) == "sent true"
            assert caller.call(9, b"beside") == b"beside"
            assert caller.ask("end", stream) == "ended"
            checksum = zlib.crc32(b"".join(parts), zlib.crc32(b"name"))
            assert caller.ask("finish", stream) == f"reply {le(checksum).hex()}"
    assert all(name == handlers.seen[0] for name in handlers.seen)


def test_both_sides_of_a_chat_send(kind: tuple[str, bool], path: str) -> None:
    way, coroutines = kind
    handlers = Handlers(coroutines=coroutines)
    with serving(handlers.dispatcher, path, way) as caller:
        one, two = caller.open(CHAT), caller.open(CHAT)
        for line in (b"a", b"b", b"c" * 1000):
            for stream in (one, two):
                caller.ask("send", stream, line)
                assert caller.next(stream) == line.upper()
        caller.ask("end", one)
        assert caller.next(one) is None
        # The callee ends first.
        caller.ask("send", two, b"bye")
        assert [caller.next(two), caller.next(two)] == [b"BYE", None]
    assert handlers.seen == ["closed"] * 2


def test_a_callee_that_replies_early_lets_its_caller_go_on(kind: tuple[str, bool], path: str) -> None:
    way, coroutines = kind
    with serving(Handlers(coroutines=coroutines).dispatcher, path, way) as caller:
        stream = caller.open(EARLY)
        assert caller.ask("send", stream, le(7)) == "sent true"
        for at in range(200):
            if caller.ask("send", stream, le(at)) == "sent false":
                break
        assert caller.ask("finish", stream) == f"reply {le(7).hex()}"
        assert caller.call(9, b"beside") == b"beside"


@pytest.mark.parametrize("end", ["cancel", "kill", "close", "deadline"])
def test_an_aborted_upload_is_no_end_of_its_items(kind: tuple[str, bool], path: str, end: str) -> None:
    way, coroutines = kind
    handlers = Handlers(coroutines=coroutines)
    with serving(handlers.dispatcher, path, way) as caller:
        stream = caller.open(UPLOAD, b"name", within=0.3 if end == "deadline" else None)
        chat = caller.open(CHAT)
        caller.ask("send", stream, b"part")
        caller.ask("send", chat, b"line")
        assert caller.next(chat) == b"LINE"
        wait_until(lambda: handlers.begun)
        if end == "cancel":
            caller.ask("cancel", stream)
            caller.ask("cancel", chat)
        elif end == "kill":
            caller.kill()
        elif end == "deadline":
            assert caller.ask("finish", stream).split()[:2] in (["failed", "TimedOut"], ["error", "DeadlinePassed"])
            caller.ask("cancel", chat)
            wait_until(lambda: len(handlers.seen) == 2)
            assert caller.call(9, b"beside") == b"beside"
    wait_until(lambda: len(handlers.seen) == 2)
    cancelled = "CancelledError" if coroutines else "StreamCancelledError"
    assert sorted(handlers.seen) == [f"{cancelled} True", "closed"]


@pytest.mark.parametrize(("way", "coroutines"), [("server", False), ("workers", False), ("loop server", True)])
def test_a_stop_cancels_streams_that_wait_for_items(way: str, path: str, *, coroutines: bool) -> None:
    handlers = Handlers(coroutines=coroutines)
    served = Serving(handlers.dispatcher, path, way, stop_timeout=0.2)
    with StreamCaller(path) as caller:
        stream = caller.open(UPLOAD, b"name")
        caller.ask("send", stream, b"part")
        wait_until(lambda: handlers.begun)
        served.end()
        assert caller.ask("finish", stream).startswith("error Cancelled")
    assert served.error is None
    assert handlers.seen == [("CancelledError" if coroutines else "StreamCancelledError") + " True"]


def test_a_stop_leaves_streams_the_time_to_end(kind: tuple[str, bool], path: str) -> None:
    way, coroutines = kind
    if "bus" in way:
        pytest.skip("a bus does not stop")
    handlers = Handlers(coroutines=coroutines)
    served = Serving(handlers.dispatcher, path, way, stop_timeout=30.0)
    with StreamCaller(path) as caller:
        stream = caller.open(CHAT)
        caller.ask("send", stream, b"a")
        assert caller.next(stream) == b"A"
        assert served.server is not None
        served.server.stop()
        caller.ask("send", stream, b"b")
        assert caller.next(stream) == b"B"
        caller.ask("end", stream)
        assert caller.next(stream) is None
        served.end()
    assert served.error is None


def test_streams_of_items_fail_alone(kind: tuple[str, bool], path: str, caplog: pytest.LogCaptureFixture) -> None:
    way, coroutines = kind
    handlers = Handlers(coroutines=coroutines)
    with caplog.at_level(logging.ERROR, "tachyon"), serving(handlers.dispatcher, path, way) as caller:
        beside = caller.open(CHAT)
        ends = {
            b"full": "error HandlerFailed Full ",
            b"broken": "error HandlerFailed  ValueError: broken",
            b"\xff": "error BadRequest  an item",
        }
        for line, end in ends.items():
            stream = caller.open(CHAT)
            caller.ask("send", stream, b"a")
            assert caller.next(stream) == b"A"
            caller.ask("send", stream, line)
            found = caller.ask("next", stream)
            assert found.startswith(end.rstrip()), found
            caller.ask("send", beside, line.hex().encode())
            assert caller.next(beside) == line.hex().upper().encode()
        caller.ask("end", beside)
        assert caller.next(beside) is None
        assert caller.ask("call", CHAT).startswith("error BadRequest")
        assert caller.ask("call", UPLOAD, b"name").startswith("error BadRequest")
        stream = caller.open(9)
        assert caller.ask("next", stream).startswith("error BadRequest")
    (record,) = (record for record in caplog.records if "broken" in record.getMessage())
    assert record.exc_info
    assert handlers.seen == ["closed"] * 4


def test_a_caller_that_takes_nothing_holds_up_its_stream_alone(kind: tuple[str, bool], path: str) -> None:
    way, coroutines = kind
    handlers = Handlers(coroutines=coroutines)
    with serving(handlers.dispatcher, path, way) as caller:
        slow, quick = caller.open(WAITS), caller.open(WAITS)
        caller.ask("send", quick, le(5))
        for at in range(300):
            assert caller.next(quick) == le(at)
        caller.ask("send", slow, le(6))
        for at in range(300):
            assert caller.next(slow) == le(at)
        caller.ask("cancel", slow)
        caller.ask("cancel", quick)
    assert handlers.seen == ["5", "6"]


class Loop:
    """Asynchronous generators, and lines that they write."""

    def __init__(self) -> None:  # noqa: C901, PLR0915 - one function for each form
        """Make the handlers."""
        self.seen: list[str] = []
        self.dispatcher = RpcDispatcher()
        handler, seen = self.dispatcher.handler, self.seen

        @handler(msg_type=1)
        async def count(to: u32) -> AsyncIterator[u32]:
            for number in range(to):
                await asyncio.sleep(0)
                yield number

        @handler(msg_type=2)
        async def endless() -> AsyncIterator[u32]:
            try:
                for number in itertools.count():
                    yield number
                    if number % 100 == 50:
                        await asyncio.sleep(0.001)
            except GeneratorExit:
                seen.append("exit")
                raise
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            finally:
                seen.append(f"{current_call().name} {current_call().is_cancelled()}")

        @handler(msg_type=3)
        async def hangs() -> AsyncIterator[u32]:
            try:
                yield 1
                await asyncio.sleep(LIMIT)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            finally:
                seen.append(f"{current_call().name} {current_call().is_cancelled()}")

        @handler(msg_type=4, raises=Full)
        async def fails(how: u8) -> AsyncIterator[u32]:
            yield 1
            if how == 1:
                raise Full(at=1)
            if how == 2:
                raise NotFoundError("gone")
            if how == 3:
                raise ValueError("broken")
            if how == 4:
                yield "two"  # type: ignore[misc]
            if how == 5:
                raise asyncio.CancelledError

        @handler(msg_type=5)
        def returned(to: u32) -> AsyncIterator[u32]:
            return numbers(to) if to else 0  # type: ignore[return-value]

        async def numbers(to: int) -> AsyncIterator[int]:
            for number in range(to):
                yield number

        @handler(msg_type=6)
        async def stubborn() -> AsyncIterator[u32]:
            try:
                for number in itertools.count():
                    yield number
            except GeneratorExit:
                seen.append("ignored")
                yield 1

        @handler(msg_type=7)
        async def large() -> AsyncIterator[bytes]:
            yield b"small"
            yield bytes(1 << 17)

        @handler(msg_type=9)
        async def echo(data: bytes) -> bytes:
            await asyncio.sleep(0)
            return data


@pytest.mark.parametrize("way", LOOPS)
def test_asynchronous_generators_stream(way: str, path: str) -> None:
    with serving(Loop().dispatcher, path, way) as caller:
        for to in (0, 1, 31, 32, 33, 500):
            assert caller.items(caller.open(1, le(to))) == [le(at) for at in range(to)]
        assert caller.items(caller.open(5, le(3))) == [le(0), le(1), le(2)]
        assert caller.call(9, b"abc") == b"abc"


@pytest.mark.parametrize("way", LOOPS)
@pytest.mark.parametrize("end", ["cancel", "kill", "deadline"])
def test_the_end_of_a_stream_ends_its_task(way: str, path: str, end: str) -> None:
    loop = Loop()
    with serving(loop.dispatcher, path, way) as caller:
        within = 0.3 if end == "deadline" else None
        streams = [caller.open(2, within=within), caller.open(3, within=within)]
        assert [caller.next(stream) for stream in streams] == [le(0), le(1)]
        if end == "cancel":
            for stream in streams:
                caller.ask("cancel", stream)
        elif end == "kill":
            caller.kill()
        wait_until(lambda: len(loop.seen) == 4)
        if end != "kill":
            assert caller.call(9, b"abc") == b"abc"
    assert {"endless True", "hangs True", "cancelled"} <= set(loop.seen)


@pytest.mark.parametrize("way", LOOPS)
def test_asynchronous_generators_fail_alone(way: str, path: str, caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()
    ends = {
        1: "error HandlerFailed Full ",
        2: "error NotFound  gone",
        3: "error HandlerFailed  ValueError: broken",
        4: "error BadReply  fails: an item must be a whole number (u32), not str",
        5: "error HandlerFailed  CancelledError",
    }
    with caplog.at_level(logging.ERROR, "tachyon"), serving(loop.dispatcher, path, way) as caller:
        beside = caller.open(2)
        for at, (how, end) in enumerate(ends.items()):
            stream = caller.open(4, bytes([how]))
            assert caller.next(stream) == le(1)
            assert caller.ask("next", stream).startswith(end.rstrip())
            assert caller.next(beside) == le(at)
        assert caller.ask("drain", caller.open(5, le(0))).startswith("0 error BadReply  returned: the handler returned")
        assert caller.ask("drain", caller.open(7)).startswith("1 error ReplyTooLarge")
        assert caller.ask("call", 1, le(1)).startswith("error BadRequest")
        stubborn = caller.open(6)
        assert caller.next(stubborn) == le(0)
        caller.ask("cancel", stubborn)
        wait_until(lambda: any("stubborn" in record.getMessage() for record in caplog.records))
        assert caller.next(beside) == le(len(ends))
        caller.ask("cancel", beside)
    messages = [record.getMessage() for record in caplog.records]
    assert any(message.startswith("the handler 'stubborn' failed as its stream was closed") for message in messages)
    (broken,) = (record for record in caplog.records if "broken" in record.getMessage())
    assert broken.exc_info


def test_streams_take_places_of_the_concurrency(path: str) -> None:
    loop = Loop()
    done = threading.Event()

    async def main() -> None:
        with tachyon.RpcServer(path) as server:
            serve = asyncio.create_task(loop.dispatcher.aserve(server, concurrency=1))
            await asyncio.to_thread(done.wait, LIMIT)
            server.stop()
            await serve

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    with StreamCaller(path) as caller:
        first, second = caller.open(2), caller.open(1, le(2))
        assert caller.next(first) == le(0)
        # The second stream begins when the first one ends.
        caller.ask("cancel", first)
        assert caller.items(second) == [le(0), le(1)]
        done.set()
    thread.join(LIMIT)
    assert not thread.is_alive()


def test_threads_and_buses_do_not_run_coroutines(path: str) -> None:
    with (
        tachyon.RpcServer(path) as server,
        pytest.raises(tachyon.errors.InvalidArgumentError, match=r"await dispatcher\.aserve"),
    ):
        Loop().dispatcher.serve_forever(server)


def test_items_after_the_handler(path: str) -> None:
    kept: list[Iterator[bytes]] = []
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def keeps(parts: Iterator[bytes]) -> None:
        kept.append(parts)

    with serving(dispatcher, path, "server") as caller:
        stream = caller.open(1)
        assert caller.ask("finish", stream) == "reply "
        with pytest.raises(tachyon.errors.NoCallError, match="the handler of these items has returned"):
            next(kept[0])


def test_a_cancelled_stream_stays_cancelled(path: str) -> None:
    raised: list[str] = []
    begun = threading.Event()
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def insists(parts: Iterator[bytes]) -> None:
        begun.set()
        for _ in range(3):
            try:
                list(parts)
            except StreamCancelledError as error:
                raised.append(str(error))
        assert current_call().is_cancelled()
        raised.append("returned")

    with serving(dispatcher, path, "server") as caller:
        stream = caller.open(1)
        caller.ask("send", stream, b"part")
        # A handler of a stream that is cancelled before does not run.
        wait_until(begun.is_set)
        caller.ask("cancel", stream)
        wait_until(lambda: len(raised) == 4)
    assert raised[0] == raised[2]
    assert raised[0].startswith("the stream is cancelled")


class Market(tachyon.Service):
    """A service with streams of items."""

    @tachyon_rpc(msg_type=1)
    def total(self, parts: Iterator[Part]) -> u64: ...

    @tachyon_rpc(msg_type=2)
    async def doubled(self, parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
        async for part in parts:
            yield Part(number=2 * part.number)


class Totals(Market):
    """Implements it."""

    async def total(self, parts: AsyncIterator[Part]) -> u64:  # type: ignore[override]
        return sum([part.number async for part in parts])


def test_a_service_with_items(path: str) -> None:
    with serving(RpcDispatcher().register(Totals()), path, "loop server") as caller:
        total, doubled = caller.open(1), caller.open(2)
        for number in (1, 2, 3):
            for stream in (total, doubled):
                caller.ask("send", stream, number.to_bytes(8, "little"))
            assert caller.next(doubled) == (2 * number).to_bytes(8, "little")
        caller.ask("end", total)
        assert caller.ask("finish", total) == "reply " + (6).to_bytes(8, "little").hex()
        caller.ask("end", doubled)
        assert caller.next(doubled) is None


def test_msgpack_items_of_a_caller(path: str) -> None:
    msgspec = pytest.importorskip("msgspec")
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1, codec="msgpack")
    def join(by: str, words: Iterator[dict[str, str]]) -> str:
        return by.join(word["text"] for word in words)

    encode = msgspec.msgpack.encode
    with serving(dispatcher, path, "server") as caller:
        stream = caller.open(1, encode({"by": "-"}))
        for text in ("a", "b"):
            caller.ask("send", stream, encode({"text": text}))
        caller.ask("end", stream)
        assert caller.ask("finish", stream) == f"reply {encode('a-b').hex()}"
        stream = caller.open(1, encode({"by": "-"}))
        caller.ask("send", stream, encode(5))
        assert caller.ask("finish", stream).startswith("error BadRequest  an item: Expected `object`")


class Exchange(tachyon.Service):
    """A service for callers in Python."""

    @tachyon_rpc(msg_type=1, raises=Full)
    def count(self, to: u32) -> Iterator[Part]:
        for number in range(to):
            if number == 1000:
                raise Full(at=number)
            yield Part(number=number)

    @tachyon_rpc(msg_type=2)
    def total(self, parts: Iterator[Part]) -> u64:
        return sum(part.number for part in parts)

    @tachyon_rpc(msg_type=3)
    def spell(self, words: Iterator[str]) -> Iterator[str]:
        for word in words:
            yield from word


class AsyncExchange(Exchange):
    """The same, by coroutines."""

    async def count(self, to: u32) -> AsyncIterator[Part]:  # type: ignore[override]
        for number in range(to):
            if number == 1000:
                raise Full(at=number)
            yield Part(number=number)

    async def total(self, parts: AsyncIterator[Part]) -> u64:  # type: ignore[override]
        return sum([part.number async for part in parts])

    async def spell(self, words: AsyncIterator[str]) -> AsyncIterator[str]:  # type: ignore[override]
        async for word in words:
            for letter in word:
                yield letter


def test_both_ends_in_python(kind: tuple[str, bool], path: str) -> None:
    way, coroutines = kind
    service = AsyncExchange() if coroutines else Exchange()
    served = Serving(RpcDispatcher().register(service), path, way)
    endpoints = Exchange.__tachyon_methods__
    with RpcBus.connect(path, timeout=LIMIT) as bus:
        with endpoints["count"].stream(bus, 500) as parts:
            assert [part.number for part in parts] == list(range(500))
        with endpoints["count"].stream(bus, 2000) as parts:
            for number in range(1000):
                assert next(parts).number == number
            with pytest.raises(Full) as raised:
                next(parts)
            assert raised.value.at == 1000
        with endpoints["total"].stream(bus) as parts:
            for number in range(300):
                parts.send(Part(number=number))
            assert parts.finish() == sum(range(300))
        with endpoints["spell"].stream(bus) as words:
            words.send("abc")
            assert [next(words) for _ in range(3)] == ["a", "b", "c"]
            words.send("de")
            words.end()
            assert list(words) == ["d", "e"]
        with endpoints["spell"].stream(bus) as words:
            words.send("left")

        async def act() -> None:
            async with endpoints["count"].astream(bus, 100) as parts:
                assert [part.number async for part in parts] == list(range(100))
            async with endpoints["spell"].astream(bus) as words:
                await words.send("xy")
                await words.end()
                assert [letter async for letter in words] == ["x", "y"]

        asyncio.run(act())
    served.end()
    assert served.error is None


def test_metadata_is_there_at_each_step(kind: tuple[str, bool], path: str) -> None:
    way, coroutines = kind
    dispatcher = RpcDispatcher()
    if coroutines:

        @dispatcher.handler(msg_type=1)
        async def tenants(items: AsyncIterator[u32]) -> AsyncIterator[str]:
            async for _ in items:
                yield current_call().metadata["tenant"]

    else:

        @dispatcher.handler(msg_type=1)
        def tenants(items: Iterator[u32]) -> Iterator[str]:
            for _ in items:
                yield current_call().metadata["tenant"]

    served = Serving(dispatcher, path, way)
    with (
        RpcBus.connect(path, timeout=LIMIT) as bus,
        tenants.stream(bus.metadata("tenant", "acme")) as one,
        tenants.stream(bus.metadata("tenant", "b")) as two,
    ):
        for number in range(3):
            for stream, tenant in ((one, "acme"), (two, "b")):
                stream.send(number)
                assert next(stream) == tenant
    served.end()


def resident() -> int:
    """Return the memory of this process in KiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (found,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(found)


def test_a_long_stream_leaves_no_memory(kind: tuple[str, bool], path: str) -> None:
    way, coroutines = kind
    handlers = Handlers(coroutines=coroutines)
    with serving(handlers.dispatcher, path, way) as caller:

        def drain(count: int) -> None:
            stream = caller.open(COUNT, le(count))
            assert caller.ask("drain", stream) == f"{count} end"

        drain(5_000)
        before = resident()
        drain(100_000)
        # A leak of one small object an item would be 5 MB or more.
        assert resident() - before < 4_000


def test_the_death_of_a_caller_leaves_no_descriptor_to_the_collector(path: str) -> None:
    dispatcher = Handlers(coroutines=True).dispatcher

    async def serve() -> None:
        with RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
            caller.join()
            await dispatcher.aserve(bus)

    def call_and_die() -> None:
        with StreamCaller(path) as peer:
            for _ in range(5):
                peer.open(CHAT)
            peer.kill()

    gc.collect()
    gc.disable()
    try:
        before = len([*Path("/proc/self/fd").iterdir()])
        caller = threading.Thread(target=call_and_die)
        caller.start()
        # The requests begin in the turn that finds the death. The runner of asyncio keeps the error in a cycle.
        with contextlib.suppress(tachyon.errors.PeerDeadError):
            asyncio.run(serve())
        assert len([*Path("/proc/self/fd").iterdir()]) == before
    finally:
        gc.enable()
