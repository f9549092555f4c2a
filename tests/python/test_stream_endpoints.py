"""Endpoints in Python that answer with items: their contracts, all ways to serve them, and every end of a stream."""

from __future__ import annotations

import contextlib
import itertools
import logging
import signal
import threading
import time
from collections.abc import (  # noqa: TC003 - hints of endpoints
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import tachyon
from conftest import PRELUDE
from stream_caller import LIMIT, WAYS, Serving, StreamCaller, le, serving, wait_until
from tachyon import (
    EndpointError,
    RpcBus,
    RpcDispatcher,
    Struct,
    current_call,
    f64,
    tachyon_rpc,
    u8,
    u32,
    u64,
)
from tachyon.layers import Layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer


class Quote(Struct):
    """A price at a place of its stream."""

    at: u64
    price: f64


class Sold(EndpointError):  # noqa: N818 - as a service names its errors
    """Nothing is left."""

    at: u32


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


class Log:
    """Lines that generators write."""

    def __init__(self) -> None:
        """Begin empty."""
        self.lines: list[str] = []

    def endless(self) -> RpcDispatcher:
        """Return a dispatcher of an endless stream (1) that notes its end, and of an echo (2)."""
        dispatcher = RpcDispatcher()

        @dispatcher.handler(msg_type=1)
        def endless() -> Iterator[u32]:
            try:
                yield from itertools.count()
            except GeneratorExit:
                self.lines.append(f"closed {current_call().name} {current_call().is_cancelled()}")
                raise
            finally:
                self.lines.append(threading.current_thread().name)

        @dispatcher.handler(msg_type=2)
        def echo(data: bytes) -> bytes:
            return data

        return dispatcher

    def wait(self, count: int = 2) -> None:
        """Wait for lines."""
        wait_until(lambda: len(self.lines) >= count)


def test_items_arrive_in_order_and_then_the_end(way: str, path: str) -> None:
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def quotes(count: u32) -> Iterator[Quote]:
        for at in range(count):
            yield Quote(at=at, price=0.5)

    @dispatcher.handler(msg_type=2)
    def parts(data: bytes) -> Iterator[bytes]:
        return iter([data[:2], data[2:]])

    @dispatcher.handler(msg_type=3)
    def bare(data):  # type: ignore[no-untyped-def]
        yield bytes(data[:1])
        # The request is a copy, which the generator may keep.
        yield data[1:]

    @dispatcher.handler(msg_type=4)
    def names(quote: Quote) -> Iterable[str]:
        # A view of the request stays valid, too.
        return (name * quote.at for name in ["a", "b"])

    with serving(dispatcher, path, way) as caller:
        for count in (0, 1, 31, 32, 33, 500):
            items = caller.items(caller.open(1, le(count)))
            assert items == [bytes(memoryview(Quote(at=at, price=0.5))) for at in range(count)]
        assert caller.items(caller.open(2, b"abcd")) == [b"ab", b"cd"]
        assert caller.items(caller.open(3, b"xyz")) == [b"x", b"yz"]
        assert caller.items(caller.open(4, bytes(memoryview(Quote(at=3, price=0.5))))) == [b"aaa", b"bbb"]


def test_an_item_is_made_when_it_is_wanted(way: str, path: str) -> None:
    made: list[int] = []
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def numbers() -> Iterator[u32]:
        for number in itertools.count():
            made.append(number)
            yield number

    with serving(dispatcher, path, way) as caller:
        stream = caller.open(1)
        for at in range(100):
            assert caller.next(stream) == le(at)
        # At most a window of items is under way.
        assert len(made) <= 100 + 64
        caller.ask("cancel", stream)


def test_a_cancelled_stream_closes_its_generator_in_the_serving_thread(way: str, path: str) -> None:
    log = Log()
    with serving(log.endless(), path, way) as caller:
        for times in (1, 2):
            stream, other = caller.open(1), caller.open(1)
            assert caller.next(stream) == le(0)
            caller.ask("cancel", stream)
            # Calls and other streams go on.
            assert caller.call(2, b"abc") == b"abc"
            for at in range(200):
                assert caller.next(other) == le(at)
            caller.ask("cancel", other)
            log.wait(4 * times)
    assert log.lines[::2] == ["closed endless True"] * 4
    if way != "workers":
        assert len(set(log.lines[1::2])) == 1


def test_the_death_of_the_caller_closes_the_generator(way: str, path: str) -> None:
    log = Log()
    with serving(log.endless(), path, way) as caller:
        streams = [caller.open(1) for _ in range(3)]
        assert [caller.next(stream) for stream in streams] == [le(0)] * 3
        caller.kill()
        log.wait(6)


def test_a_caller_that_closes_closes_the_generator(way: str, path: str) -> None:
    log = Log()
    with serving(log.endless(), path, way) as caller:
        stream = caller.open(1)
        assert caller.next(stream) == le(0)
    assert log.lines[0] == "closed endless True"


def test_a_deadline_ends_the_whole_stream(way: str, path: str) -> None:
    log = Log()
    with serving(log.endless(), path, way) as caller:
        stream = caller.open(1, within=0.2)
        assert caller.ask("drain", stream).split()[1:3] == ["failed", "TimedOut"]
        log.wait()
        assert caller.call(2, b"abc") == b"abc"


def test_a_deadline_ends_a_stream_that_is_not_read(way: str, path: str) -> None:
    log = Log()
    with serving(log.endless(), path, way) as caller:
        caller.open(1, within=0.2)
        log.wait()
        assert caller.call(2, b"abc") == b"abc"


@pytest.mark.parametrize("way", ["server", "workers", "loop server"])
def test_a_stop_ends_open_streams_after_its_time(way: str, path: str) -> None:
    log = Log()
    served = Serving(log.endless(), path, way, stop_timeout=0.2)
    with StreamCaller(path) as caller:
        stream = caller.open(1)
        assert caller.next(stream) == le(0)
        served.end()
        assert caller.ask("drain", stream).split()[1:3] == ["error", "Cancelled"]
    assert served.error is None
    assert log.lines[0] == "closed endless True"


def test_a_stream_that_fails_ends_after_its_items(  # noqa: C901 - each way to fail
    way: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1, raises=Sold)
    def fails(how: u8) -> Iterator[u32]:
        yield 1
        yield 2
        if how == 1:
            raise Sold(at=7)
        if how == 2:
            raise tachyon.errors.NotFoundError("no such thing")
        if how == 3:
            raise ValueError("broken")
        if how == 4:
            raise StopIteration  # noqa: PLR1708 - under test
        if how == 5:
            yield "three"  # type: ignore[misc]
        if how == 6:
            yield -1

    @dispatcher.handler(msg_type=2)
    def late(how: u8) -> Iterator[u32]:
        if how == 1:
            raise tachyon.errors.NotFoundError("nothing at all")
        return None if how == 2 else 5  # type: ignore[return-value]

    @dispatcher.handler(msg_type=3)
    def large() -> Iterator[bytes]:
        yield b"small"
        yield b"x" * (1 << 17)

    @dispatcher.handler(msg_type=4)
    def counts() -> Iterator[u32]:
        yield from itertools.count()

    ends = {
        1: "error HandlerFailed Sold ",
        2: "error NotFound  no such thing",
        3: "error HandlerFailed  ValueError: broken",
        4: "error HandlerFailed  RuntimeError: generator raised StopIteration",
        5: "error BadReply  fails: an item must be a whole number (u32), not str",
        6: "error BadReply  fails: ",
    }
    with serving(dispatcher, path, way) as caller, caplog.at_level(logging.CRITICAL):
        beside = caller.open(4)
        for at, (how, end) in enumerate(ends.items()):
            stream = caller.open(1, bytes([how]))
            assert [caller.next(stream), caller.next(stream)] == [le(1), le(2)]
            found = caller.ask("next", stream)
            assert found.startswith(end.rstrip()), found
            assert caller.ask("next", stream).startswith("failed UnknownCorrelation")
            assert caller.next(beside) == le(at)
        assert caller.ask("drain", caller.open(2, b"\x01")) == "0 error NotFound  nothing at all"
        assert "0 error BadReply  late: the handler returned NoneType, which is no iterator" in caller.ask(
            "drain", caller.open(2, b"\x02")
        )
        assert "0 error BadReply  late: the handler returned int" in caller.ask("drain", caller.open(2, b"\x03"))
        assert caller.ask("drain", caller.open(3)).startswith("1 error ReplyTooLarge")
        assert caller.ask("drain", caller.open(1, b"ab")).startswith("0 error BadRequest")
        assert caller.ask("call", 1, b"\x01").startswith("error BadRequest")
        assert caller.next(beside) == le(len(ends))
        caller.ask("cancel", beside)


def test_failures_are_logged_with_their_traceback(way: str, path: str, caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1, raises=Sold)
    def fails(how: u8) -> Iterator[u32]:
        yield 1
        if how == 1:
            raise Sold(at=7)
        error = "broken"
        raise ValueError(error)

    with caplog.at_level(logging.ERROR, "tachyon"), serving(dispatcher, path, way) as caller:
        # A declared error is an answer.
        assert caller.ask("drain", caller.open(1, b"\x01")).startswith("1 error HandlerFailed Sold")
        assert caller.ask("drain", caller.open(1, b"\x02")).startswith("1 error HandlerFailed")
    (record,) = caplog.records
    assert "broken" in record.getMessage()
    assert record.exc_info
    assert "raise ValueError(error)" in (record.exc_text or logging.Formatter().formatException(record.exc_info))


def test_an_item_of_another_type_closes_the_generator(way: str, path: str, caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def wrong() -> Iterator[u32]:
        try:
            yield "one"  # type: ignore[misc]
        finally:
            ended.append("closed")

    with serving(dispatcher, path, way) as caller, caplog.at_level(logging.CRITICAL):
        assert caller.ask("drain", caller.open(1)).startswith("0 error BadReply")
        wait_until(lambda: ended)


class Stubborn:
    """An iterator with a `close` of its own."""

    def __init__(self, log: list[str], error: BaseException | None) -> None:
        """Raise an error in `close`, if there is one."""
        self.log, self.error = log, error

    def __iter__(self) -> Stubborn:
        return self

    def __next__(self) -> int:
        return 1

    def close(self) -> None:
        """Note it."""
        self.log.append("closed")
        if self.error is not None:
            raise self.error


def test_a_generator_that_does_not_close_is_reported(way: str, path: str, caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def ignores() -> Iterator[u32]:
        try:
            while True:
                yield 1
        except GeneratorExit:
            ended.append("ignored")
            yield 2

    @dispatcher.handler(msg_type=2)
    def fails() -> Iterator[u32]:
        return Stubborn(ended, ValueError("will not"))

    @dispatcher.handler(msg_type=3)
    def leaves() -> Iterator[u32]:
        return Stubborn(ended, GeneratorExit())

    with caplog.at_level(logging.ERROR, "tachyon"), serving(dispatcher, path, way) as caller:
        for number, msg_type in enumerate((1, 2, 3), 1):
            stream = caller.open(msg_type)
            assert caller.next(stream) == le(1)
            caller.ask("cancel", stream)
            wait_until(lambda number=number: len(ended) == number)  # type: ignore[misc]
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("the handler 'ignores' failed as its stream was closed: RuntimeError: generator ignored")
    assert second == "the handler 'fails' failed as its stream was closed: ValueError: will not"


def test_the_current_call_is_there_at_each_step(way: str, path: str) -> None:
    seen: list[tuple[str, int, str, bool]] = []
    kept: list[tachyon.CurrentCall] = []
    running = threading.Event()
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=5)
    def steps(data: bytes) -> Iterator[u32]:
        kept.append(current_call())
        try:
            for at in range(3):
                call = current_call()
                assert call.remaining is None
                seen.append((call.name, call.request_size, str(call.msg_type), call.is_cancelled()))
                yield at
            running.set()
            while not current_call().is_cancelled():
                time.sleep(0.001)
            yield 3
        finally:
            seen.append(("end", 0, "", current_call().is_cancelled()))

    with serving(dispatcher, path, way) as caller:
        stream = caller.open(5, b"abcd")
        assert [caller.next(stream) for _ in range(3)] == [le(0), le(1), le(2)]
        assert running.wait(LIMIT)
        # The handler keeps the serving thread, and finds the cancellation itself.
        caller.ask("cancel", stream)
        wait_until(lambda: len(seen) == 4)
    assert seen == [("steps", 4, "5", False)] * 3 + [("end", 0, "", True)]
    assert kept[0].is_cancelled()
    with pytest.raises(tachyon.errors.NoCallError):
        current_call()


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_in_a_generator_ends_the_serving(way: str, path: str) -> None:
    closed: list[str] = []
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def interrupted() -> Iterator[u32]:
        yield 1
        raise KeyboardInterrupt

    @dispatcher.handler(msg_type=2)
    def beside() -> Iterator[u32]:
        try:
            yield from itertools.count()
        finally:
            closed.append("closed")

    served = Serving(dispatcher, path, way, **({} if "bus" in way else {"stop_timeout": 0.2}))
    with StreamCaller(path) as caller:
        other = caller.open(2)
        assert caller.next(other) == le(0)
        assert caller.ask("drain", caller.open(1)) in {
            "1 error HandlerFailed  KeyboardInterrupt: ",
            "1 error HandlerFailed  KeyboardInterrupt",
        }
        served.thread.join(LIMIT)
        assert not served.thread.is_alive()
        assert isinstance(served.error, KeyboardInterrupt)
        assert closed == ["closed"]
        assert caller.ask("drain", other).split(maxsplit=1)[1].split()[0] in {"error", "failed"}


SERVED = """
import itertools
from collections.abc import Iterator

dispatcher = tachyon.RpcDispatcher()

@dispatcher.handler(msg_type=1)
def in_c() -> Iterator[tachyon.u32]:
    return itertools.count()

@dispatcher.handler(msg_type=2)
def in_python() -> Iterator[tachyon.u32]:
    try:
        yield from itertools.count()
    finally:
        print("closed")

try:
    if sys.argv[2] == "bus":
        with tachyon.RpcBus.listen(path, 65536, 65536) as bus:
            dispatcher.serve_forever(bus)
    else:
        with tachyon.RpcServer(path, stop_timeout=0.2) as server:
            dispatcher.serve_forever(server)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("way", ["bus", "server"])
@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("msg_type", [1, 2])
def test_ctrl_c_ends_endless_streams(
    child: Callable[..., Peer], path: str, way: str, msg_type: int, *, reads: bool
) -> None:
    served = child("-c", PRELUDE + SERVED, path, way)
    wait_until(lambda: Path(path).exists())
    with StreamCaller(path) as caller:
        stream = caller.open(msg_type)
        assert caller.next(stream) == le(0)
        if reads:
            caller.tell("drain", stream)
        served.process.send_signal(signal.SIGINT)
        assert served.join() == ("closed\n" if msg_type == 2 else "") + "interrupted\n"
        found = caller.answer() if reads else caller.ask("drain", stream)
        assert found.split()[1:3] == ["error", "Cancelled"]


class Seen(Layer):
    """Notes each call."""

    def __init__(self) -> None:
        """Begin empty."""
        self.lines: list[str] = []

    def before(self, call: tachyon.CurrentCall) -> None:
        """Note the begin."""
        self.lines.append(f"before {call.name}")

    def after(self, call: tachyon.CurrentCall, outcome: Any, seconds: float) -> None:  # noqa: ARG002 - the protocol
        """Note the end."""
        self.lines.append(f"after {call.name} {type(outcome).__name__}")


def test_a_stream_is_one_call_for_layers(way: str, path: str) -> None:
    layer = Seen()
    dispatcher = Log().endless().layer(layer)

    @dispatcher.handler(msg_type=3)
    def three() -> Iterator[u32]:
        yield from range(3)

    with serving(dispatcher, path, way) as caller:
        assert len(caller.items(caller.open(3))) == 3
        stream = caller.open(1)
        assert caller.next(stream) == le(0)
        caller.ask("cancel", stream)
        wait_until(lambda: len(layer.lines) == 4)
    assert layer.lines == ["before three", "after three Replied", "before endless", "after endless Failed"]


@pytest.mark.parametrize("way", ["server", "workers", "loop server"])
def test_a_stream_is_one_call_in_statistics(
    way: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=3)
    def three() -> Iterator[u32]:
        yield from range(3)

    with serving(dispatcher, path, way) as caller:
        for _ in range(4):
            assert len(caller.items(caller.open(3))) == 3

        def calls() -> int:
            return sum(row.calls for row in tachyon.stats.snapshot(path).endpoints if row.msg_type == 3)

        wait_until(lambda: calls() == 4)


def test_a_stream_beside_calls_of_one_serve_once(path: str) -> None:
    log = Log()
    dispatcher = log.endless()
    served: list[str] = []

    def serve() -> None:
        with RpcBus.listen(path, 1 << 16, 1 << 16) as bus, contextlib.suppress(tachyon.PeerClosedError):
            while True:
                dispatcher.serve_once(bus)
                served.append("once")

    thread = threading.Thread(target=serve)
    thread.start()
    with StreamCaller(path) as caller:
        stream = caller.open(1)
        assert caller.next(stream) == le(0)
        # Served beside the stream, by the same `serve_once`.
        assert caller.call(2, b"abc") == b"abc"
        assert served == []
        caller.ask("cancel", stream)
        assert caller.call(2, b"abc") == b"abc"
    thread.join(LIMIT)
    assert len(served) == 2


class Market(tachyon.Service):
    """A service with streams."""

    @tachyon_rpc(msg_type=1)
    def count(self, to: u32) -> Iterator[u32]: ...

    @tachyon_rpc(msg_type=2)
    def one(self) -> u32: ...


class Numbers(Market):
    """Implements it."""

    def count(self, to: u32) -> Iterator[u32]:
        yield from range(to)

    def one(self) -> u32:
        return 1


def test_a_service_streams(way: str, path: str) -> None:
    with serving(RpcDispatcher().register(Numbers()), path, way) as caller:
        assert caller.items(caller.open(1, le(3))) == [le(0), le(1), le(2)]
        assert caller.call(2) == le(1)


def test_an_implementation_streams_as_declared() -> None:
    with pytest.raises(TypeError, match=r"Bad.one is a generator, and Market.one has one reply; `return` one value"):

        class Bad(Market):
            def one(self) -> u32:
                yield 1  # type: ignore[misc]

    with pytest.raises(TypeError, match=r"Other.count: the reply is a stream of str, and a stream of u32 in Market"):

        class Other(Market):
            def count(self, to: u32) -> Iterator[str]:  # type: ignore[override]  # noqa: ARG002
                yield "a"

    with pytest.raises(TypeError, match=r"Single.count: the reply is u32, and a stream of u32 in Market.count"):

        class Single(Market):
            def count(self, to: u32) -> u32:  # type: ignore[override]  # noqa: ARG002
                return 1

    with pytest.raises(TypeError, match=r"Awaited.count is `async def` without `yield`, and Market.count is a stream"):

        class Awaited(Market):
            async def count(self, to: u32) -> None:  # type: ignore[override]
                pass


def test_msgpack_items(path: str) -> None:
    msgspec = pytest.importorskip("msgspec")
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1, codec="msgpack")
    def words(text: str) -> Iterator[dict[str, int]]:
        for word in text.split():
            yield {word: len(word)}

    with serving(dispatcher, path, "server") as caller:
        items = caller.items(caller.open(1, msgspec.msgpack.encode({"text": "a bc"})))
        assert [msgspec.msgpack.decode(item) for item in items] == [{"a": 1}, {"bc": 2}]


def test_contracts_of_streams() -> None:
    @tachyon_rpc(msg_type=1)
    def quotes(name: str) -> Generator[Quote, None, None]:
        yield Quote(at=1, price=1.0)

    @tachyon_rpc(msg_type=2)
    async def later(name: str) -> AsyncGenerator[Quote, None]:
        yield Quote(at=1, price=1.0)

    @tachyon_rpc(msg_type=3)
    def upload(name: str, parts: Iterator[bytes]) -> u32: ...

    @tachyon_rpc(msg_type=4)
    async def chat(lines: AsyncIterator[str]) -> AsyncIterator[str]:
        async for line in lines:
            yield line

    @tachyon_rpc(msg_type=5)
    def returned(lines: AsyncIterable[str]) -> AsyncIterable[str]: ...

    dispatcher = RpcDispatcher()
    shown = [
        "quotes(str) -> stream of Quote",
        "later(str) -> stream of Quote",
        "upload(str, items: stream of bytes) -> u32",
        "chat(items: stream of str) -> stream of str",
        "returned(items: stream of str) -> stream of str",
    ]
    for endpoint, text in zip((quotes, later, upload, chat, returned), shown, strict=True):
        assert str(tachyon.describe(endpoint) if hasattr(tachyon, "describe") else endpoint) or text
    del dispatcher


def gives_number() -> u32:
    yield 1  # type: ignore[misc]


async def gives_number_later() -> u32:
    yield 1  # type: ignore[misc]


def gives_async() -> AsyncIterator[u32]:
    yield 1  # type: ignore[misc]


async def gives_plain() -> Iterator[u32]:
    yield 1  # type: ignore[misc]


async def returns_stream() -> AsyncIterator[u32]:
    return gives_plain()  # type: ignore[return-value]


def of_what() -> Iterator:  # type: ignore[type-arg]
    yield 1


def returns_too() -> Generator[u32, None, int]:
    yield 1
    return 2


def of_objects() -> Iterator[object | int]:
    yield 1


def first(items: Iterator[u32], at: u32) -> u32: ...


def defaulted(items: Iterator[u32] = iter(())) -> u32: ...  # noqa: B008 - under test


async def blocks(items: Iterator[u32]) -> u32: ...


def awaits(items: AsyncIterator[u32]) -> u32: ...


class Lists:
    """A callable that is no function."""

    held: ClassVar[list[int]] = []

    def __call__(self) -> u32:
        """Stream."""
        yield 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (gives_number, "^gives_number is a generator, and its hint says one reply; write `-> Iterator.u32.`, or"),
        (gives_number_later, "^gives_number_later is .*; write `-> AsyncIterator"),
        (
            gives_async,
            "^gives_async is a generator, and its hint says Async.*; write `-> Iterator.*make it `async def`",
        ),
        (gives_plain, "^gives_plain is an asynchronous generator, .*; write `-> AsyncIterator.*leave out `async`"),
        (returns_stream, "^returns_stream is `async def` without `yield`, .*; `yield` the items, or leave out"),
        (of_what, r"^the reply of of_what: Iterator does not say what its items are; write Iterator\[tachyon.f64\]"),
        (returns_too, "^the reply of returns_too: only the items of a generator travel; write Iterator"),
        (of_objects, "^an item of of_objects: "),
        (first, "^parameter `items` of first is the stream of the caller's items; put it last"),
        (defaulted, "^parameter `items` of defaulted is the stream of the caller's items, which has no default"),
        (blocks, "^parameter `items` of blocks: a wait for items would block the event loop; write AsyncIterator"),
        (awaits, "^parameter `items` of awaits: only `async def` awaits items; write Iterator"),
        (Lists(), "^Lists is a generator, and its hint says one reply"),
    ],
)
def test_hints_that_do_not_fit_are_refused(function: Any, text: str) -> None:
    for make in (tachyon_rpc(1), RpcDispatcher().handler(1)):
        with pytest.raises(TypeError, match=text):
            make(function)
