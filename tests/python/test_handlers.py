"""The payload that a handler gets: a view, whose owner the next call uses again, or bytes of its own."""

from __future__ import annotations

import ctypes
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from tachyon import ErrorKind, HandlerError, RpcBus, RpcDispatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Peer

CAPACITY = 1 << 12


class Pair:
    """A caller and a callee in one thread, which act in turn."""

    def __init__(self, path: str) -> None:
        """Connect both, with no endpoints."""
        with ThreadPoolExecutor(1) as pool:
            listening = pool.submit(RpcBus.listen, path, CAPACITY, CAPACITY)
            self.caller = RpcBus.connect(path)
            self.callee = listening.result()
        self.dispatcher = RpcDispatcher()

    def ask(self, msg_type: int, payload: bytes) -> bytes:
        """Call, serve the call, and return the reply; raise the error of the serving."""
        call = self.caller.call(payload, msg_type)
        try:
            self.dispatcher.serve_once(self.callee, timeout=10)
        finally:
            with self.caller.wait(call, timeout=10) as reply:
                answer, self.kind = bytes(reply), reply.error_kind
        return answer


@pytest.fixture
def pair(path: str) -> Iterator[Pair]:
    pair = Pair(path)
    with pair.caller, pair.callee:
        yield pair


def test_the_owner_of_a_view_is_used_again(pair: Pair) -> None:
    owners: set[int] = set()

    @pair.dispatcher.handler(msg_type=1)
    def echo(payload: memoryview) -> bytes:
        owners.add(id(payload.obj))
        return payload.tobytes()

    for n in range(100):
        assert pair.ask(1, bytes([n]) * n) == bytes([n]) * n
    assert len(owners) == 1


def test_a_kept_owner_gives_no_view_and_is_not_used_again(pair: Pair) -> None:
    owners: list[Any] = []
    attempts: list[str] = []

    @pair.dispatcher.handler(msg_type=1)
    def keeps(payload: memoryview) -> bytes:
        for owner in owners:
            with pytest.raises(tachyon.errors.ReleasedError, match="request"):
                memoryview(owner)
            attempts.append("refused")
        owners.append(payload.obj)
        return bytes(memoryview(owners[-1]))

    for n in range(4):
        assert pair.ask(1, bytes([n])) == bytes([n])
    assert len({id(owner) for owner in owners}) == 4
    assert len(attempts) == 0 + 1 + 2 + 3
    for owner in owners:
        with pytest.raises(tachyon.errors.ReleasedError):
            bytes(owner)
    with pytest.raises(TypeError, match="cannot create"):
        type(owners[0])()
    with pytest.raises(TypeError):
        type(owners[0]).__name__ = "Other"


def test_a_view_is_read_only(pair: Pair) -> None:
    @pair.dispatcher.handler(msg_type=1)
    def writes(payload: memoryview) -> bytes:
        with pytest.raises(TypeError, match="read-only"):
            payload[0] = 1
        assert payload.readonly
        with pytest.raises(TypeError, match="not writable"):
            ctypes.c_char.from_buffer(payload)
        return payload.tobytes()

    assert pair.ask(1, b"abc") == b"abc"


def test_a_kept_view_never_shows_another_request(pair: Pair) -> None:
    kept: list[memoryview] = []

    @pair.dispatcher.handler(msg_type=1)
    def keeps(payload: memoryview) -> bytes:
        kept.append(payload)
        return payload.tobytes()

    @pair.dispatcher.handler(msg_type=2)
    def keeps_a_part(payload: memoryview) -> bytes:
        kept.append(payload[1:])
        return payload.tobytes()

    @pair.dispatcher.handler(msg_type=3)
    def gives_a_part(payload: memoryview) -> memoryview:
        return payload[1:]

    @pair.dispatcher.handler(msg_type=4)
    def echo(payload: memoryview) -> memoryview:
        return payload

    for _ in range(3):
        assert pair.ask(1, b"abc") == b"abc"
        with pytest.raises(ValueError, match="released"):
            kept.pop().tobytes()
        with pytest.raises(HandlerError, match="kept a view"):
            pair.ask(2, b"abc")
        assert pair.kind is ErrorKind.HANDLER_FAILED
        # The part shows unspecified bytes; another owner gives the views of the next requests.
        part = kept.pop()
        assert len(bytes(part)) == 2
        assert pair.ask(3, b"abc") == b"bc"
        assert pair.ask(4, b"abc") == b"abc"
        assert len(bytes(part)) == 2
    pair.callee.close()
    pair.caller.close()
    gc.collect()
    assert len(bytes(part)) == 2  # still mapped


def test_a_weak_reference_that_takes_a_view_when_the_view_ends(pair: Pair) -> None:
    found: list[object] = []
    references: list[weakref.ref[memoryview]] = []

    @pair.dispatcher.handler(msg_type=1)
    def watched(payload: memoryview) -> bytes:
        owner = payload.obj

        def gone(_: object) -> None:
            # The handler has returned, and the view of its request still exists for a moment.
            found.append(memoryview(owner))  # type: ignore[arg-type]

        references.append(weakref.ref(payload, gone))
        return payload.tobytes()

    with pytest.raises(HandlerError, match="kept a view"):
        pair.ask(1, b"abc")
    assert len(found) == 1
    found.clear()
    references.clear()

    @pair.dispatcher.handler(msg_type=2)
    def echo(payload: memoryview) -> bytes:
        return payload.tobytes()

    assert pair.ask(2, b"def") == b"def"


def test_handlers_within_handlers_have_a_view_each(path: str, tmp_path: Path) -> None:
    outer, inner = Pair(path), Pair(str(tmp_path / "inner.sock"))

    @inner.dispatcher.handler(msg_type=1)
    def upper(payload: memoryview) -> bytes:
        return payload.tobytes().upper()

    @outer.dispatcher.handler(msg_type=1)
    def asks(payload: memoryview) -> bytes:
        before = payload.tobytes()
        answers = [inner.ask(1, bytes(payload) + b"in") for _ in range(3)]
        assert payload.tobytes() == before
        return answers[-1]

    for word in (b"abc", b"de", b""):
        assert outer.ask(1, word) == word.upper() + b"IN"
    with outer.caller, outer.callee, inner.caller, inner.callee:
        pass


def test_threads_that_serve_at_once(tmp_path: Path) -> None:
    def work(number: int) -> int:
        pair = Pair(str(tmp_path / f"{number}.sock"))

        @pair.dispatcher.handler(msg_type=1)
        def echo(payload: memoryview) -> bytes:
            first = payload.tobytes()
            threading.Event().wait(0.0005)  # another thread's turn
            return payload.tobytes() if payload.tobytes() == first else b"changed"

        with pair.caller, pair.callee:
            return sum(pair.ask(1, bytes([number, n])) == bytes([number, n]) for n in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [50] * 4


def test_a_handler_of_bytes_owns_them(pair: Pair) -> None:
    kept: list[bytes] = []

    @pair.dispatcher.handler(msg_type=1)
    def keeps(payload: bytes) -> bytes:
        assert type(payload) is bytes
        kept.append(payload)
        return payload[::-1]

    words = [b"", b"a", b"abc", bytes(range(256)) * 4]
    for word in words:
        assert pair.ask(1, word) == word[::-1]
    assert kept == words


def test_a_handler_of_bytes_gets_them_in_the_task_of_a_loop(service: Callable[..., Peer], path: str) -> None:
    callee = service("payload_types")
    with RpcBus.connect(path) as bus:
        for msg_type, name in ((1, b"bytes"), (2, b"memoryview")):
            with bus.wait(bus.call(b"!", msg_type), timeout=10) as reply:
                assert bytes(reply) == name + b"!"
    callee.hang_up()
    callee.join()


def test_a_handler_of_bytes_that_fails(pair: Pair) -> None:
    @pair.dispatcher.handler(msg_type=1)
    def answers(payload: bytes) -> bytes:
        answer: Any = {b"int": 7, b"none": None, b"array": bytearray(b"array"), b"view": memoryview(payload)}
        if payload == b"raise":
            message = "on purpose"
            raise LookupError(message)
        if payload == b"interrupt":
            raise KeyboardInterrupt
        return answer[payload]  # type: ignore[no-any-return]

    assert pair.ask(1, b"array") == b"array"
    assert pair.ask(1, b"view") == b"view"
    for word in (b"int", b"none"):
        with pytest.raises(HandlerError, match="not a contiguous bytes-like object"):
            pair.ask(1, word)
        assert pair.kind is ErrorKind.BAD_REPLY
    with pytest.raises(HandlerError) as caught:
        pair.ask(1, b"raise")
    assert isinstance(caught.value.__cause__, LookupError)
    assert pair.kind is ErrorKind.HANDLER_FAILED
    with pytest.raises(KeyboardInterrupt):
        pair.ask(1, b"interrupt")
    assert pair.kind is ErrorKind.HANDLER_FAILED
    assert pair.ask(1, b"array") == b"array"


def test_requests_without_a_view_are_checked(pair: Pair) -> None:
    @pair.dispatcher.handler(msg_type=1)
    def nothing() -> None:
        pass

    @pair.dispatcher.handler(msg_type=2)
    def number(value: tachyon.u32) -> tachyon.u32:
        return value + 1

    @pair.dispatcher.handler(msg_type=3)
    def told(payload: bytes) -> None:
        return None if payload == b"quiet" else payload  # type: ignore[return-value]

    assert pair.ask(1, b"") == b""
    assert pair.ask(2, (41).to_bytes(4, "little")) == (42).to_bytes(4, "little")
    assert pair.ask(3, b"quiet") == b""
    for msg_type in (1, 2):
        # The refusal of a request is an answer, and no failure of the serving.
        pair.ask(msg_type, b"abc")
        assert pair.kind is ErrorKind.BAD_REQUEST
    with pytest.raises(HandlerError):
        pair.ask(3, b"abc")
    assert pair.kind is ErrorKind.BAD_REPLY


def test_a_call_of_bytes_without_bytes(pair: Pair) -> None:
    @pair.dispatcher.handler(msg_type=1)
    def echo(payload: bytes) -> bytes:
        return payload

    for wrong in ((), (None,), ("text",), (7,)):
        with pytest.raises(TypeError):
            echo.call(pair.caller, *wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("serving", "msg_type"),
    [("bus", 1), ("bus", 2), ("server", 1), ("server", 2), ("loop", 1), ("loop", 2), ("loop", 3)],
)
def test_a_panic_that_comes_back_ends_the_serving(
    service: Callable[..., Peer], path: str, serving: str, msg_type: int
) -> None:
    callee = service("panics", serving, quiet=True, **({"workers": 2} if serving == "server" else {}))
    with RpcBus.connect(path) as bus, bus.wait(bus.call(b"abc", msg_type), timeout=10) as reply:
        assert reply.error_kind is ErrorKind.HANDLER_FAILED
    assert callee.line() == "PanicException a panic on purpose"
    if msg_type == 1:
        assert "released" in callee.line()
    callee.join()
