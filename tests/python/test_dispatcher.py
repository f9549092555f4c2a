"""Endpoints and the dispatcher: every failure of a handler, as both sides see it."""

from __future__ import annotations

import inspect
import logging
import struct
from typing import TYPE_CHECKING

import pytest

import tachyon
from tachyon import ErrorKind, RpcDispatcher, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer


def endpoint(msg_type: int) -> tachyon.RpcEndpoint:
    """Return the caller's side of an endpoint."""

    @tachyon_rpc(msg_type)
    def stub(payload: memoryview) -> bytes:
        raise NotImplementedError

    return stub


@pytest.fixture
def bus(service: Callable[..., Peer], path: str) -> Iterator[tachyon.RpcBus]:
    """A caller of `failing`, which must end in good order when the caller is done."""
    callee = service("failing", "bus", quiet=True)
    with tachyon.RpcBus.connect(path) as bus:
        yield bus
    callee.join()


@pytest.mark.parametrize("size", [0, 5, 20_000])
def test_a_call_through_the_dispatcher(bus: tachyon.RpcBus, size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert endpoint(0).call(bus, payload) == payload * 2
    assert endpoint(65534).call(bus, b"") == b"highest"


@pytest.mark.parametrize(
    ("msg_type", "kind"),
    [
        (1, ErrorKind.HANDLER_FAILED),
        (3, ErrorKind.BAD_REPLY),
        (4, ErrorKind.REPLY_TOO_LARGE),
        (5, ErrorKind.HANDLER_FAILED),
    ],
)
def test_failing_handlers_answer_and_the_bus_goes_on(bus: tachyon.RpcBus, msg_type: int, kind: ErrorKind) -> None:
    for _ in range(3):
        with pytest.raises(tachyon.RpcError) as caught:
            endpoint(msg_type).call(bus, b"abc", timeout=10)
        error = caught.value
        assert (error.kind, error.msg_type, error.text) == (kind, msg_type, "")
        assert error.payload == struct.pack("!H", msg_type)
        assert tachyon._decode_error(error) == msg_type
    assert endpoint(0).call(bus, b"ok") == b"okok"


def test_no_handler(bus: tachyon.RpcBus) -> None:
    with pytest.raises(tachyon.NoHandlerError) as caught:
        endpoint(404).call(bus, b"")
    assert (caught.value.kind, caught.value.msg_type) == (ErrorKind.NO_HANDLER, 404)
    assert isinstance(caught.value, KeyError)
    assert endpoint(0).call(bus, b"ok") == b"okok"


def test_an_error_reply_through_the_low_level(bus: tachyon.RpcBus) -> None:
    with bus.wait(bus.call(b"", msg_type=404)) as rx:
        assert rx.type_id == tachyon.MSG_TYPE_ERROR
        assert rx.error_kind is ErrorKind.NO_HANDLER
        with memoryview(rx) as view:
            assert struct.unpack("!H", view[:2]) == (404,)
        assert tachyon._decode_error(bytes(rx)) == 404


def test_handlers_may_return_any_buffer(bus: tachyon.RpcBus) -> None:
    replies = [endpoint(6).call(bus, bytes([n]) + b"xyz") for n in range(5)]
    assert replies == [b"b", b"ba", b"mem", b"\x04xyz"[:0] + b"\x03xyz", b"xyz"]


def test_a_forgotten_payload_is_released(bus: tachyon.RpcBus) -> None:
    for _ in range(3):
        assert endpoint(7).call(bus, b"abc") == b"fine"


def test_on_response_sees_the_reply_in_place(bus: tachyon.RpcBus) -> None:
    def total(view: memoryview) -> int:
        assert view.readonly
        return sum(view)

    assert endpoint(0).call(bus, bytes([1, 2, 3]), on_response=total) == 12
    assert endpoint(0).call(bus, bytes([1]), total, 100) == 2
    with pytest.raises(ZeroDivisionError):
        endpoint(0).call(bus, b"x", lambda view: 1 // (len(view) - 2))
    with pytest.raises(tachyon.errors.ViewError):
        endpoint(0).call(bus, b"x", lambda view: view[1:])
    assert endpoint(0).call(bus, b"ok") == b"okok"


def test_a_call_that_times_out(peer: Callable[[str], Peer], path: str) -> None:
    peer("""
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            sys.stdin.readline()
    """)
    with tachyon.RpcBus.connect(path) as bus, pytest.raises(TimeoutError):
        endpoint(0).call(bus, b"x", timeout=0.05)


def test_a_handler_that_exits_answers_first(service: Callable[..., Peer], path: str) -> None:
    callee = service("failing", "bus", quiet=True)
    with tachyon.RpcBus.connect(path) as bus, pytest.raises(tachyon.RpcError) as caught:
        endpoint(2).call(bus, b"", timeout=10)
    assert caught.value.kind is ErrorKind.HANDLER_FAILED
    callee.process.wait(10)
    assert callee.process.returncode == 1
    assert "on purpose" in callee.process.stderr.read()


def test_error_text_is_not_for_callers_of_bytes(service: Callable[..., Peer], path: str) -> None:
    callee = service("failing", "bus", hide_error_text=False, quiet=True)
    with tachyon.RpcBus.connect(path) as bus:
        with pytest.raises(tachyon.RpcError) as caught:
            endpoint(1).call(bus, b"")
        # Callers of the seed expect two bytes.
        assert (caught.value.text, caught.value.payload) == ("", b"\0\1")
        assert tachyon._decode_error(caught.value.payload) == 1
    callee.join()


CALLER = """
with tachyon.RpcBus.connect(path) as bus:
    for line in sys.stdin:
        with bus.wait(bus.call(b"abc", int(line))) as rx:
            print(rx.type_id, bytes(rx), flush=True)
"""


@pytest.fixture
def caller(peer: Callable[[str], Peer]) -> Peer:
    """A child that reads message types, calls them, and prints the replies."""
    return peer(CALLER)


@pytest.fixture
def served(caller: Peer, path: str) -> Iterator[tachyon.RpcBus]:
    """The callee's end of what `caller` calls."""
    assert caller
    with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
        yield bus


def test_serve_once_raises_after_answering(served: tachyon.RpcBus, caller: Peer) -> None:
    dispatcher = RpcDispatcher()
    failure = ValueError("on purpose")

    @dispatcher.handler(msg_type=1)
    def fails(payload: memoryview) -> bytes:
        raise failure

    @dispatcher.handler(msg_type=2)
    def bad(payload: memoryview) -> bytes:
        return None  # type: ignore[return-value]

    caller.tell("404")
    with pytest.raises(KeyError) as missing:
        dispatcher.serve_once(served, timeout=10)
    assert isinstance(missing.value, tachyon.NoHandlerError)
    assert missing.value.msg_type == 404
    assert caller.line() == r"65535 b'\x01\x94'"
    caller.tell("1")
    with pytest.raises(RuntimeError, match="on purpose") as failed:
        dispatcher.serve_once(served, timeout=10)
    assert isinstance(failed.value, tachyon.HandlerError)
    assert failed.value.__cause__ is failure
    assert failed.value.kind is ErrorKind.HANDLER_FAILED
    assert caller.line() == r"65535 b'\x00\x01'"
    caller.tell("2")
    with pytest.raises(tachyon.HandlerError, match="NoneType") as failed:
        dispatcher.serve_once(served, timeout=10)
    assert failed.value.kind is ErrorKind.BAD_REPLY
    caller.line()


def test_failures_are_logged_with_traceback(
    served: tachyon.RpcBus, caller: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def fails(payload: memoryview) -> bytes:
        raise ValueError("on purpose")

    caller.tell("1\n404")
    caller.hang_up()
    with caplog.at_level(logging.DEBUG, "tachyon"):
        dispatcher.serve_forever(served)
    handler, missing = caplog.records
    assert (handler.name, handler.levelname) == ("tachyon", "ERROR")
    assert "fails" in handler.getMessage()
    assert handler.exc_info is not None
    assert isinstance(handler.exc_info[1], ValueError)
    assert handler.exc_info[2] is not None
    assert "404" in missing.getMessage()


def test_an_interrupt_in_a_handler_answers_and_propagates(served: tachyon.RpcBus, caller: Peer) -> None:
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def interrupted(payload: memoryview) -> bytes:
        raise KeyboardInterrupt

    caller.tell("1")
    with pytest.raises(KeyboardInterrupt):
        dispatcher.serve_forever(served)
    assert caller.line() == r"65535 b'\x00\x01'"


def test_views_a_handler_kept_stay_readable(served: tachyon.RpcBus, caller: Peer) -> None:
    dispatcher = RpcDispatcher()
    kept = []

    @dispatcher.handler(msg_type=1)
    def keeps(payload: memoryview) -> bytes:
        kept.append(payload[1:])
        return b""

    @dispatcher.handler(msg_type=2)
    def fails(payload: memoryview) -> bytes:
        part = payload[1:]
        raise ValueError(len(part))

    caller.tell("1")
    with pytest.raises(tachyon.HandlerError, match="tobytes") as caught:
        dispatcher.serve_once(served, timeout=10)
    assert isinstance(caught.value.__cause__, tachyon.errors.ViewError)
    assert caller.line() == r"65535 b'\x00\x01'"
    caller.tell("2")
    with pytest.raises(tachyon.HandlerError) as caught:
        dispatcher.serve_once(served, timeout=10)
    caller.line()
    cause = caught.value.__cause__
    assert cause is not None
    assert cause.__traceback__ is not None
    frame = cause.__traceback__.tb_frame
    caller.hang_up()
    caller.join()
    served.close()
    del served
    for view in (kept[0], frame.f_locals["part"]):
        assert len(bytes(view)) == 2  # the memory is still mapped
    with pytest.raises(ValueError, match="released"):
        bytes(frame.f_locals["payload"])


def test_serve_once_times_out(served: tachyon.RpcBus) -> None:
    with pytest.raises(tachyon.TimedOutError):
        RpcDispatcher().serve_once(served, timeout=0.02)
    with pytest.raises(tachyon.TimedOutError):
        RpcDispatcher().serve_once(served, 0, timeout=0)


def test_a_handler_may_not_serve_or_change_its_own_dispatcher(served: tachyon.RpcBus, caller: Peer) -> None:
    dispatcher = RpcDispatcher()
    seen = []

    @dispatcher.handler(msg_type=1)
    def meddles(payload: memoryview) -> bytes:
        for operation in (
            lambda: served.serve(timeout=0),
            lambda: dispatcher.serve_once(served, timeout=0),
            lambda: dispatcher.register(endpoint(9)),
        ):
            with pytest.raises(tachyon.errors.BusyError) as caught:
                operation()
            seen.append(caught.type)
        return payload.tobytes()

    caller.tell("1")
    dispatcher.serve_once(served, timeout=10)
    assert caller.line() == "1 b'abc'"
    assert len(seen) == 3


def test_a_handler_may_close_the_bus(served: tachyon.RpcBus, caller: Peer) -> None:
    dispatcher = RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def closes(payload: memoryview) -> bytes:
        served.close()
        return payload.tobytes()

    caller.tell("1")
    with pytest.raises(tachyon.BusClosedError):
        dispatcher.serve_forever(served)
    caller.process.wait(10)


def test_registration() -> None:
    dispatcher = RpcDispatcher()
    assert dispatcher.register(endpoint(1)) is dispatcher
    assert dispatcher.register(endpoint(2)).register(endpoint(3)) is dispatcher
    assert len(dispatcher) == 3
    assert 2 in dispatcher
    for absent in (4, -1, 1 << 80):
        assert absent not in dispatcher
    with pytest.raises(tachyon.errors.DuplicateError, match="stub"):
        dispatcher.register(endpoint(2))
    with pytest.raises(ValueError, match="2"):
        dispatcher.handler(msg_type=2)(len)  # type: ignore[arg-type]
    assert len(dispatcher) == 3
    with pytest.raises(TypeError):
        dispatcher.register(len)  # type: ignore[arg-type]
    assert repr(dispatcher) == "<tachyon.RpcDispatcher endpoints=3>"


@pytest.mark.parametrize("msg_type", [-1, 0xFFFF, 0x10000])
def test_reserved_and_impossible_types(msg_type: int) -> None:
    with pytest.raises(ValueError, match="65535"):
        tachyon_rpc(msg_type)
    with pytest.raises(ValueError, match="65535"):
        RpcDispatcher().handler(msg_type)


def test_an_endpoint_is_still_its_function() -> None:
    @tachyon_rpc(msg_type=5)
    def shout(payload: memoryview) -> bytes:
        """Say it louder."""
        assert isinstance(payload, memoryview)
        return payload.tobytes().upper()

    for payload in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        assert shout(payload) == b"ABC"
    assert shout.msg_type == 5
    assert (shout.__name__, shout.__doc__, shout.__module__) == ("shout", "Say it louder.", __name__)
    assert shout.__qualname__.endswith(".shout")
    assert inspect.unwrap(shout)(memoryview(b"x")) == b"X"
    assert list(inspect.signature(shout).parameters) == ["payload"]
    assert repr(shout) == "RpcEndpoint(msg_type=5, fn='shout')"
    with pytest.raises(TypeError):
        tachyon_rpc(msg_type=5)(7)  # type: ignore[arg-type]
