"""Streams of blocking callers, by number: items in order, every end, and calls beside them."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import threading
import time
import warnings
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from programs import program
from tachyon import ErrorKind, RpcBus, errors, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 60.0
ECHO, COUNT, FOREVER, FAIL_AFTER, PANIC_AFTER, LARGE, SLOW, DIE_AFTER, STOP = range(1, 10)
UPLOAD, UPLOAD_SOME, CHAT = range(10, 13)

echo = tachyon_rpc(ECHO)(bytes)
again = tachyon_rpc(ECHO, idempotent=True)(bytes)


def packed(number: int) -> bytes:
    """Return a number as the peer reads and sends it."""
    return number.to_bytes(4, "little")


def numbers(count: int, first: int = 0) -> list[bytes]:
    """Return the items of a count."""
    return [packed(number) for number in range(first, first + count)]


class StreamPeer:
    """The program `raw_streams` in a role."""

    def __init__(self, role: str, path: str) -> None:
        self.process = subprocess.Popen([program("raw_streams"), role, path], stdout=subprocess.PIPE, text=True)

    def dropped(self) -> None:
        """Wait until an iterator of `FOREVER` is dropped."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "dropped\n"

    def end(self) -> None:
        """Kill the program if it still runs."""
        self.process.kill()
        self.process.communicate(timeout=LIMIT)


@pytest.fixture(params=["callee", "server", "workers", "tokio"])
def role(request: pytest.FixtureRequest) -> str:
    """Return each way of the program to serve."""
    return str(request.param)


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


@pytest.fixture
def bus(callee: StreamPeer, path: str) -> Iterator[RpcBus]:
    """Return a caller of the program."""
    with RpcBus.connect(path) as bus:
        yield bus


def test_all_items_come_in_order(start: Callable[[str], StreamPeer], role: str, path: str) -> None:
    start(role)
    with RpcBus.connect(path) as bus:
        for count in (0, 1, 31, 32, 33, 1000):
            with bus.stream(COUNT, packed(count), item_timeout=LIMIT) as stream:
                assert not stream.closed
                assert list(stream) == numbers(count)
                assert stream.closed
                assert list(stream) == []
            assert list(bus.stream(COUNT, packed(count))) == numbers(count)


def test_calls_go_on_beside_a_stream_that_is_not_read(start: Callable[[str], StreamPeer], role: str, path: str) -> None:
    peer = start(role)
    with RpcBus.connect(path) as bus, bus.stream(FOREVER) as unread:
        for number in range(300):
            assert echo.call(bus, packed(number), timeout=LIMIT) == packed(number)
            started = bus.start(b"beside", ECHO)
            with bus.finish(started, timeout=LIMIT) as reply:
                assert bytes(memoryview(reply)) == b"beside"
        assert [next(unread) for _ in range(100)] == numbers(100, 1)
        unread.close()
        peer.dropped()
        assert echo.call(bus, b"after", timeout=LIMIT) == b"after"


def test_leaving_the_block_cancels_at_once(bus: RpcBus, callee: StreamPeer) -> None:
    with bus.stream(FOREVER) as stream:
        for item in stream:
            if item == packed(50):
                break
    assert stream.closed
    callee.dropped()
    with pytest.raises(ZeroDivisionError), bus.stream(FOREVER) as stream:
        next(stream)
        raise ZeroDivisionError
    callee.dropped()
    assert list(stream) == []
    with pytest.raises(errors.InvalidArgumentError, match="closed"), stream:
        pass
    stream.close()
    assert repr(stream) == "<tachyon.Stream msg_type=3 closed>"
    assert echo.call(bus, b"after") == b"after"


def test_a_dropped_stream_is_cancelled_with_a_warning(bus: RpcBus, callee: StreamPeer) -> None:
    stream = bus.stream(FOREVER)
    assert next(stream) == packed(1)
    with pytest.warns(ResourceWarning, match=r"tachyon\.Stream was dropped"):
        del stream
    callee.dropped()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Streams that ended, were closed, or whose bus was closed.
        for _ in bus.stream(COUNT, packed(3)):
            pass
        bus.stream(FOREVER).close()
        stream = bus.stream(FOREVER)
        bus.close()
        del stream
        gc.collect()
    callee.dropped()


def test_a_stream_that_is_dropped_while_another_thread_waits(bus: RpcBus, callee: StreamPeer) -> None:
    stream = bus.stream(FOREVER)
    slow = bus.stream(SLOW, packed(300))
    got: list[list[bytes]] = []
    reader = threading.Thread(target=lambda: got.append(list(slow)))
    reader.start()
    with contextlib.suppress(errors.BusyError):
        while True:
            next(stream)
    # The bus is in use: the cancellation waits for it, and this thread does not.
    stream.close()
    reader.join(LIMIT)
    assert got == [numbers(3)]
    callee.dropped()


@pytest.mark.parametrize("endpoint", [FAIL_AFTER, PANIC_AFTER])
def test_an_error_ends_a_stream_after_its_items(bus: RpcBus, endpoint: int) -> None:
    got = []
    with bus.stream(endpoint, packed(40)) as stream:
        with pytest.raises(errors.HandlerError) as raised:
            got.extend(stream)
        assert list(stream) == []
        assert stream.closed
    # `extend` keeps no item of an iterator that raises.
    with bus.stream(endpoint, packed(40)) as stream:
        assert [next(stream) for _ in range(40)] == numbers(40)
        with pytest.raises(errors.HandlerError):
            next(stream)
    if endpoint == FAIL_AFTER:
        assert raised.value.kind is ErrorKind.NOT_FOUND
    else:
        assert raised.value.kind is ErrorKind.HANDLER_FAILED
    assert echo.call(bus, b"after") == b"after"


def test_a_stream_of_a_call_and_a_call_of_a_stream_are_refused(bus: RpcBus) -> None:
    with pytest.raises(errors.RpcError) as raised:
        list(bus.stream(ECHO, b"x"))
    assert raised.value.kind is ErrorKind.BAD_REQUEST
    with pytest.raises(errors.NoHandlerError):
        list(bus.stream(99))
    with pytest.raises(errors.RpcError) as raised:
        tachyon_rpc(COUNT)(bytes).call(bus, packed(1))
    assert raised.value.kind is ErrorKind.BAD_REQUEST


def test_an_items_time_leaves_the_stream_open_and_the_whole_time_ends_it(bus: RpcBus) -> None:
    with bus.stream(SLOW, packed(300), item_timeout=0.05) as stream:
        got, timeouts = [], 0
        while not stream.closed:
            try:
                got.extend([item] if (item := next(stream, None)) else [])
            except TimeoutError:
                timeouts += 1
        assert got == numbers(3)
        assert timeouts > 0
    for opened in (bus.stream(FOREVER, timeout=0.2), bus.within(0.2).stream(FOREVER, timeout=50.0)):
        with opened as stream, pytest.raises(TimeoutError):
            for _ in stream:
                time.sleep(0.001)
        assert stream.closed
    assert echo.call(bus, b"after") == b"after"


def test_the_33rd_stream_is_refused_and_the_first_ones_take_turns(bus: RpcBus, callee: StreamPeer) -> None:
    streams = [bus.stream(FOREVER) for _ in range(32)]
    with pytest.raises(errors.BusyError, match="32"):
        bus.stream(FOREVER)
    for number in range(1, 40):
        assert {next(stream) for stream in streams} == {packed(number)}
    for stream in streams:
        stream.close()
        callee.dropped()
    for _ in range(100):
        assert list(bus.stream(COUNT, packed(3))) == numbers(3)


def test_large_items_and_small_windows(bus: RpcBus) -> None:
    expected = [bytes([number % 251]) * 3000 for number in range(300)]
    for window in (None, 1, 2, 7, 1 << 30, 1 << 70):
        assert list(bus.stream(LARGE, packed(300), window=window)) == expected


def test_the_callee_runs_no_further_ahead_than_the_window(bus: RpcBus) -> None:
    with bus.stream(FAIL_AFTER, packed(8), window=4) as stream:
        # The error is behind the window: calls go on.
        for _ in range(20):
            assert echo.call(bus, b"x") == b"x"
        assert [next(stream) for _ in range(8)] == numbers(8)
        with pytest.raises(LookupError):
            next(stream)


def test_items_that_were_published_come_before_the_death(start: Callable[[str], StreamPeer], path: str) -> None:
    start("server")
    with RpcBus.connect(path) as bus, bus.stream(DIE_AFTER, packed(20)) as stream:
        time.sleep(0.2)
        assert [next(stream) for _ in range(20)] == numbers(20)
        with pytest.raises(errors.PeerDeadError):
            next(stream)
        assert stream.closed
        assert list(stream) == []


def test_a_killed_callee_ends_a_stream_that_is_waited_for(start: Callable[[str], StreamPeer], path: str) -> None:
    peer = start("server")
    with RpcBus.connect(path) as bus, bus.stream(SLOW, packed(30_000)) as stream:
        killer = threading.Timer(0.2, peer.process.kill)
        killer.start()
        with pytest.raises(errors.PeerDeadError):
            next(stream)
        killer.join()


def test_a_server_that_stops_ends_its_streams(start: Callable[[str], StreamPeer], role: str, path: str) -> None:
    if role == "callee":
        pytest.skip("a callee of one caller ends with it")
    peer = start(role)
    with RpcBus.connect(path) as bus, RpcBus.connect(path) as other, bus.stream(FOREVER) as stream:
        assert next(stream) == packed(1)
        with contextlib.suppress(errors.TachyonError):
            tachyon_rpc(STOP)(bytes).call(other, b"", timeout=LIMIT)
        with pytest.raises((errors.RpcError, ConnectionError)):
            for _ in stream:
                pass
        assert stream.closed
    peer.dropped()
    assert peer.process.wait(LIMIT) == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_upload_to_a_callee_that_is_gone_takes_nothing_and_has_its_outcome(
    start: Callable[[str], StreamPeer], path: str, end: str
) -> None:
    peer = start("server")
    with RpcBus.connect(path) as bus, RpcBus.connect(path) as other, bus.stream(UPLOAD, b"") as upload:
        assert upload.send(packed(1))
        if end == "kill":
            peer.process.kill()
        else:
            with contextlib.suppress(errors.TachyonError):
                tachyon_rpc(STOP)(bytes).call(other, b"", timeout=LIMIT)
        peer.process.wait(LIMIT)
        left = 0
        while upload.send(packed(left)):
            left += 1
        # A death is noticed with the first wait, a stop at once.
        assert left <= (1000 if end == "kill" else 0)
        with pytest.raises(errors.PeerDeadError if end == "kill" else errors.RpcError) as raised:
            upload.finish()
        assert not raised.value.safe_to_retry


def test_a_closed_bus_ends_the_stream(bus: RpcBus, callee: StreamPeer) -> None:
    stream = bus.stream(FOREVER)
    next(stream)
    bus.close()
    callee.dropped()
    with pytest.raises(errors.BusClosedError):
        next(stream)
    stream.close()


def test_a_reconnect_resumes_no_stream(start: Callable[[str], StreamPeer], path: str) -> None:
    first = start("server")
    with RpcBus.connect(path, reconnect=True) as bus, bus.stream(FOREVER) as stream:
        assert next(stream) == packed(1)
        echo.call(bus, b"x")
        first.end()
        start("server")
        assert again.call(bus, b"again", timeout=LIMIT) == b"again"
        got = []
        with pytest.raises(ConnectionError):
            for item in stream:
                got.append(item)  # noqa: PERF402  # the items before the error
        assert got == numbers(len(got), 2)
        assert list(bus.stream(COUNT, packed(3))) == numbers(3)


def test_an_interrupt_leaves_the_stream_usable(bus: RpcBus) -> None:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with bus.stream(SLOW, packed(400)) as stream:
            timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                next(stream)
            timer.join()
            assert list(stream) == numbers(3)
    finally:
        signal.signal(signal.SIGINT, before)
    assert echo.call(bus, b"after") == b"after"


def test_a_fork_cannot_use_the_parents_stream(bus: RpcBus) -> None:
    with bus.stream(FOREVER) as stream:
        assert next(stream) == packed(1)
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                try:
                    next(stream)
                except errors.BusClosedError:
                    stream.close()
                    status = 0
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert [next(stream) for _ in range(100)] == numbers(100, 2)


def test_a_callee_that_takes_no_items_never_blocks_a_sender_for_good(bus: RpcBus) -> None:
    with bus.stream(FOREVER, item_timeout=0.1) as stream:
        with pytest.raises(TimeoutError):
            stream.send(b"an item without credit")
        # The stream goes on.
        assert next(stream) == packed(1)
        with pytest.raises(TypeError, match="str"):
            stream.send("text")
        with pytest.raises(errors.TooLargeError):
            stream.send(bytes(1 << 20))
        assert next(stream) == packed(2)
    with pytest.raises(errors.InvalidArgumentError, match="closed"):
        stream.send(b"late")
    # An ended stream takes nothing more, and says so.
    with bus.stream(COUNT, packed(2)) as stream:
        assert list(stream) == numbers(2)
        assert stream.send(b"late") is False
        stream.end()
        with pytest.raises(errors.InvalidArgumentError, match="follows"):
            stream.send(b"later")
        with pytest.raises(errors.InvalidArgumentError, match="outcome"):
            stream.finish()


def test_arguments_out_of_range_are_refused(bus: RpcBus) -> None:
    for arguments in ({"window": 0}, {"window": -1}, {"timeout": -1.0}, {"item_timeout": float("nan")}):
        with pytest.raises(errors.InvalidArgumentError):
            bus.stream(COUNT, **arguments)
    with pytest.raises(errors.InvalidArgumentError, match="65535"):
        bus.stream(65535)
    with pytest.raises(TypeError, match="bytes"):
        bus.stream(COUNT, 7)
    with pytest.raises(errors.TooLargeError):
        bus.stream(COUNT, bytes(1 << 20))
    assert list(bus.stream(COUNT, packed(2))) == numbers(2)


def test_layers_see_a_stream_as_one_call(bus: RpcBus) -> None:
    seen: list[object] = []

    class Log(tachyon.layers.CallerLayer):
        def before(self, call: tachyon.layers.OutgoingCall, /) -> None:
            seen.append((call.msg_type, call.request_size))

        def after(self, _: tachyon.layers.OutgoingCall, outcome: tachyon.layers.CallOutcome, seconds: float, /) -> None:
            assert seconds >= 0
            seen.append(type(outcome).__name__)

    bus.layer(Log())
    assert list(bus.stream(COUNT, packed(3))) == numbers(3)
    assert seen == [(COUNT, 4), "Replied"]
    with pytest.raises(LookupError):
        list(bus.stream(FAIL_AFTER, packed(3)))
    assert seen[2:] == [(FAIL_AFTER, 4), "CallFailed"]
    bus.stream(FOREVER).close()
    assert seen[4:] == [(FOREVER, 0), "GivenUp"]


def test_a_stream_of_two_hundred_thousand_items_leaves_no_memory(bus: RpcBus) -> None:
    def rest(count: int) -> int:
        assert deque(bus.stream(COUNT, packed(count)), maxlen=1) == deque([packed(count - 1)])
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096

    before = rest(1000)
    assert rest(200_000) - before < 2 << 20


@pytest.fixture
def taking(start: Callable[[str], StreamPeer], role: str, path: str) -> Iterator[RpcBus]:
    """Return a caller of the program in each role."""
    start(role)
    with RpcBus.connect(path) as bus:
        yield bus


def test_an_upload_gets_its_reply(taking: RpcBus) -> None:
    for count, size in ((0, 0), (1, 3), (500, 7), (100, 3000)):
        with taking.stream(UPLOAD, b"sizes ", item_timeout=LIMIT) as stream:
            assert all(stream.send(bytes(size)) for _ in range(count))
            assert echo.call(taking, b"beside") == b"beside"
            assert stream.finish() == b"sizes " + (count * size).to_bytes(8, "little")
            assert stream.closed
    # As an iterator the stream of a reply has no items, and `finish` takes the reply.
    with taking.stream(UPLOAD) as stream:
        stream.send(bytearray(5))
        stream.end()
        stream.end()
        with pytest.raises(errors.InvalidArgumentError, match="follows"):
            stream.send(b"late")
        assert list(stream) == []
        assert not stream.closed
        assert stream.finish() == (5).to_bytes(8, "little")


def test_a_callee_that_refuses_ends_the_upload(taking: RpcBus) -> None:
    with taking.stream(UPLOAD_SOME, packed(3), item_timeout=LIMIT) as stream:
        sent = 0
        while stream.send(b"item"):
            sent += 1
        assert sent >= 3
        assert stream.send(b"item") is False
        with pytest.raises(errors.ResourceExhaustedError):
            stream.finish()
        assert stream.closed
    with taking.stream(UPLOAD_SOME, packed(0)) as stream, pytest.raises(errors.ResourceExhaustedError):
        list(stream)
    assert echo.call(taking, b"after") == b"after"


def test_a_chat_goes_in_both_directions(taking: RpcBus) -> None:
    with taking.stream(CHAT, item_timeout=LIMIT) as stream:
        for number in range(300):
            assert stream.send(b"item %d" % number)
            assert next(stream) == b"ITEM %d" % number
        # Ahead, within the window of this side.
        for number in range(20):
            assert stream.send(b"ahead %d" % number)
        stream.end()
        assert list(stream) == [b"AHEAD %d" % number for number in range(20)]
        assert stream.closed


def test_a_sender_that_takes_no_items_is_stopped_by_its_time_alone(taking: RpcBus) -> None:
    # The callee waits for credit of this side, and so takes no item.
    with taking.stream(CHAT, item_timeout=0.5, window=4) as stream:
        sent = 0
        with pytest.raises(TimeoutError):
            while stream.send(b"%d" % sent):
                sent += 1
        assert echo.call(taking, b"beside") == b"beside"
        assert [next(stream) for _ in range(4)] == [b"%d" % number for number in range(4)]
        # END needs no credit.
        stream.end()
        assert list(stream) == [b"%d" % number for number in range(4, sent)]


def test_an_upload_is_cancelled_by_its_end(taking: RpcBus) -> None:
    for _ in range(50):
        with taking.stream(UPLOAD) as stream:
            stream.send(b"x")
        with taking.stream(CHAT) as stream:
            stream.send(b"x")
            assert next(stream) == b"X"
    with taking.stream(UPLOAD, timeout=0.2) as stream:
        with pytest.raises(TimeoutError):
            while stream.send(b"x"):
                time.sleep(0.01)
            stream.finish()
        assert stream.closed
    assert echo.call(taking, b"after") == b"after"
