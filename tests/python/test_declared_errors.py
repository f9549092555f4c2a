"""Errors that endpoints declare: raised by the callee, caught by the caller, and no failure of the callee."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from calling import by_acall, by_call, by_pool
from services.declared_errors import Broken, Busy, NoSensor
from tachyon import (
    EndpointError,
    ErrorKind,
    HandlerError,
    LayoutMismatchError,
    RpcBus,
    RpcError,
    tachyon_rpc,
)
from tachyon._declared import received, sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer


@tachyon_rpc(4, raises=(NoSensor, Busy, Broken))
def read(sensor: tachyon.u32, how: str) -> tachyon.f64: ...  # type: ignore[empty-body]


SERVED: dict[str, tuple[str, bool]] = {"server": ("server", False), "loop": ("loop", True), "mixed": ("loop", False)}
"""The way to serve, and whether the handler is a coroutine function."""


@pytest.mark.parametrize("served", ["server", "loop", "mixed"])
@pytest.mark.parametrize("way", [by_call, by_acall, by_pool])
def test_declared_errors_arrive_as_their_classes(
    service: Callable[..., Peer], served: str, way: Any, connected: Callable[..., Any]
) -> None:
    serving, coroutines = SERVED[served]
    callee = service("declared_errors", serving, coroutines=coroutines, log="INFO")
    call = connected(way)
    assert call(read, 3, "") == 1.5
    with pytest.raises(NoSensor) as raised:
        call(read, 3, "missing")
    error = raised.value
    assert (str(error), error.sensor, error.text, error.kind) == (
        "no sensor 3",
        3,
        "no sensor 3",
        ErrorKind.HANDLER_FAILED,
    )
    assert (error.msg_type, error.name) == (4, "NoSensor")
    assert isinstance(error, RpcError)
    assert isinstance(error, EndpointError)
    with pytest.raises(Busy, match=r"^Busy$"):
        call(read, 3, "busy")
    with pytest.raises(Broken) as raised:
        call(read, 3, "broken")
    assert (raised.value.where, raised.value.parts, raised.value.since) == ("röhre", ["a", "b"], None)
    with pytest.raises(HandlerError) as other:
        call(read, 3, "unlisted")
    assert not isinstance(other.value, EndpointError)
    assert (other.value.name, other.value.text) == ("Unlisted", "nothing knows of this")
    assert str(other.value).endswith("its handler failed: Unlisted: nothing knows of this")
    with pytest.raises(RpcError) as failed:
        call(read, 3, "failed")
    assert (failed.value.name, failed.value.text) == ("", "LookupError: on purpose")
    # The server reports a failure before it serves the next request.
    assert call(read, 3, "") == 1.5
    callee.process.kill()
    reported, _ = callee.process.communicate()
    # A declared error is an answer: only the real failure is reported.
    assert reported.count("ERROR") == reported.count("Traceback") == 1
    assert "on purpose" in reported
    assert "Sensor" not in reported


def test_fields_of_an_undeclared_error_do_not_travel(service: Callable[..., Peer], path: str) -> None:
    service("declared_errors", "bus")
    with RpcBus.connect(path) as bus, pytest.raises(HandlerError) as raised:
        read.call(bus, 3, "undeclared")
    assert not isinstance(raised.value, EndpointError)
    assert (raised.value.name, raised.value.text) == ("NoSensor", "no sensor called front")


def test_serving_once_is_done_with_an_answer(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer("""
        from services.declared_errors import Broken, Busy, NoSensor, read
        dispatcher = tachyon.RpcDispatcher()
        dispatcher.handler(4, raises=(NoSensor, Busy, Broken))(read)
        with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
            dispatcher.serve_once(bus, timeout=20)
            dispatcher.serve_once(bus, timeout=20)
            try:
                dispatcher.serve_once(bus, timeout=20)
            except tachyon.HandlerError as error:
                print(type(error.__cause__).__name__)
    """)
    with RpcBus.connect(path) as bus:
        with pytest.raises(NoSensor):
            read.call(bus, 1, "missing")
        with bus.wait(bus.call(b"", 4)) as refused:
            assert refused.error_kind is ErrorKind.BAD_REQUEST
        with pytest.raises(RpcError):
            read.call(bus, 1, "failed")
    assert callee.join() == "LookupError\n"


def test_texts_that_are_hidden(service: Callable[..., Peer], path: str) -> None:
    callee = service("declared_errors", "server", hide_error_text=True, log="INFO")
    with RpcBus.connect(path) as bus:
        with pytest.raises(NoSensor) as raised:
            read.call(bus, 3, "missing")
        # Name and fields are part of the contract; the caller makes the text.
        assert (raised.value.sensor, str(raised.value)) == (3, "no sensor 3")
        with pytest.raises(RpcError) as failed:
            read.call(bus, 3, "failed")
        assert failed.value.text == ""
        with pytest.raises(HandlerError) as other:
            read.call(bus, 3, "unlisted")
        assert (other.value.name, other.value.text) == ("Unlisted", "")
    callee.kill()


def test_texts_that_are_cut_say_so(service: Callable[..., Peer], path: str) -> None:
    callee = service("declared_errors", "server", log="INFO")
    with RpcBus.connect(path) as bus:
        with pytest.raises(Broken) as raised:
            read.call(bus, 3, "long")
        assert str(raised.value).endswith("x\u2026")
        assert len(raised.value.text.encode()) <= 1024
        assert (raised.value.where, raised.value.parts) == ("x" * 3000, ["y" * 600])
        # An error whose fields are too long arrives without fields, as a HandlerError.
        with pytest.raises(HandlerError) as other:
            read.call(bus, 3, "longest")
        assert (other.value.name, other.value.text[-1]) == ("Broken", "\u2026")
    callee.kill()


def test_a_small_ring_takes_the_name_alone(service: Callable[..., Peer], path: str) -> None:
    callee = service("declared_errors", "bus", rings=(1 << 16, 1 << 8))
    with RpcBus.connect(path) as bus, pytest.raises(HandlerError) as raised:
        read.call(bus, 3, "long")
    assert raised.value.name == "Broken"
    callee.join()


def test_declarations_of_both_sides_are_compared(service: Callable[..., Peer], path: str) -> None:
    callee = service("declared_errors", "server")
    other = type("NoSensor", (EndpointError,), {"__annotations__": {"sensor": tachyon.u64}, "__module__": __name__})

    def read(sensor: tachyon.u32, how: str) -> tachyon.f64: ...  # type: ignore[empty-body]

    with RpcBus.connect(path) as bus:
        with pytest.raises(LayoutMismatchError, match="NoSensor"):
            tachyon_rpc(4, raises=(other,))(read).call(bus, 1, "")
        # One side may declare more errors than the other.
        assert tachyon_rpc(4, raises=Busy)(read).call(bus, 1, "") == 0.5
        assert tachyon_rpc(4)(read).call(bus, 1, "") == 0.5
        with pytest.raises(HandlerError) as unknown:
            tachyon_rpc(4)(read).call(bus, 1, "missing")
        assert (unknown.value.name, unknown.value.text) == ("NoSensor", "no sensor 1")
        described = bus.describe()["read"]
    assert [error.name for error in described.raises] == ["NoSensor", "Busy", "Broken"]
    assert described.raises[0].doc == "There is no such sensor."
    callee.kill()


def test_a_declared_error_behaves_like_an_exception() -> None:
    error = NoSensor(sensor=3)
    assert (str(error), repr(error), error.sensor) == ("no sensor 3", "NoSensor(sensor=3)", 3)
    with pytest.raises(AttributeError, match=r"NoSensor\.sensor is read-only"):
        error.sensor = 4
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.sensor, str(again)) == (NoSensor, 3, "no sensor 3")
    assert Broken(where="a", parts=[], since=1).since == 1.0
    assert str(Busy()) == "Busy"
    with pytest.raises(TypeError, match="NoSensor needs a value for `sensor`"):
        NoSensor()
    with pytest.raises(TypeError, match="NoSensor has no field `x`; it has sensor"):
        NoSensor(sensor=1, x=2)
    with pytest.raises(OverflowError, match=r"NoSensor\.sensor is u32"):
        NoSensor(sensor=-1)
    with pytest.raises(TypeError, match=r"^NoSensor takes its fields by name: NoSensor\(sensor=\.\.\.\)$"):
        NoSensor(3)
    with pytest.raises(TypeError, match="EndpointError has no fields"):
        EndpointError()


class Grown(tachyon.Struct, extensible=True):
    n: tachyon.u32


class LowError(EndpointError, text="gain {gain:{width}.2f}"):
    gain: tachyon.f64 | None = None
    width: tachyon.u8 = 0


def test_defaults_of_errors_are_not_shared() -> None:
    theirs, letters = Grown(n=1), ["a"]

    class TaggedError(EndpointError, text="{tags} {grown}"):
        tags: list[str] = letters
        grown: Grown = theirs

    first: Any = TaggedError()
    first.tags.append("b")
    first.grown.n, theirs.n, letters[:] = 99, 98, ["c"]
    made: Any = TaggedError()
    shorter = TaggedError.__layout__.plan.decode(b"\4\0\0\0", "")
    assert (made.tags, made.grown) == shorter == (["a"], Grown(n=1))
    assert str(made) == "['a'] Grown(n=1)"


def test_a_text_that_fits_no_value_is_the_name() -> None:
    assert str(LowError(gain=1.0, width=6)) == "gain   1.00"
    assert (str(LowError()), LowError().gain) == ("LowError", None)
    error: Any = received(LowError, (None, 0), 4, "", ErrorKind.HANDLER_FAILED)
    assert (str(error), error.gain, error.msg_type) == ("LowError", None, 4)
    assert str(received(LowError, (None, 0), 4, "too low", ErrorKind.HANDLER_FAILED)) == "too low"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (LowError, "LowError")


def test_an_error_that_lost_a_field_is_a_failure() -> None:
    error = NoSensor(sensor=3)
    del error.__tachyon_values__["sensor"]
    with pytest.raises(KeyError, match="sensor"):
        sent(error, is_declared=True)
    # Fields travel by name, in any order.
    swapped = LowError(gain=1.0, width=2)
    swapped.__tachyon_values__ = dict(reversed(swapped.__tachyon_values__.items()))
    assert sent(swapped, is_declared=True) == sent(LowError(gain=1.0, width=2), is_declared=True)


def test_errors_that_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match=r"the text of NestedError names \{digits\}, and its fields are gain"):

        class NestedError(EndpointError, text="{gain:.{digits}f}"):
            gain: tachyon.f64

    with pytest.raises(TypeError, match=r"the text of WrongError names \{senor\}, and its fields are sensor"):

        class WrongError(EndpointError, text="no {senor}"):
            sensor: tachyon.u32

    for text in ("no {", "{x!z}", "{x:{x:{x:{x}}}}"):
        with pytest.raises(TypeError, match="is no valid format string"):

            class OpenError(EndpointError, text=text):
                x: str

    with pytest.raises(TypeError, match="field `text` of TakenError: an error has a text of its own; call it `text_`"):

        class TakenError(EndpointError):
            text: str  # type: ignore[assignment]

    with pytest.raises(TypeError, match="field `a` of PlainError: int does not say how it lies in memory"):

        class PlainError(EndpointError):
            a: int

    with pytest.raises(TypeError, match="a declared error is not extended"):

        class More(NoSensor):  # type: ignore[misc]
            pass

    for bad in ((ValueError,), (EndpointError,), (7,)):
        with pytest.raises(TypeError, match=r"`raises` takes classes that derive from tachyon\.EndpointError"):
            tachyon_rpc(1, raises=bad)(lambda payload: payload)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="two errors of the name NoSensor"):
        tachyon_rpc(1, raises=(NoSensor, NoSensor))(lambda payload: payload)
    # Names are compared as Python reads them.
    ligature, plain = (type(name, (EndpointError,), {}) for name in ("\ufb01", "fi"))
    with pytest.raises(TypeError, match="two errors of the name fi"):
        tachyon_rpc(1, raises=(ligature, plain))(lambda payload: payload)
    long = type("A" * 257, (EndpointError,), {})
    with pytest.raises(TypeError, match=r"the name that begins with `AAAA.* is 257 bytes long, and the most is 256"):
        tachyon_rpc(1, raises=long)(lambda payload: payload)


def test_a_raw_endpoint_may_declare_errors(service: Callable[..., Peer], path: str) -> None:
    callee = service("declared_errors", "bus")

    @tachyon_rpc(1, raises=(NoSensor,))
    def raw(payload: memoryview) -> bytes: ...  # type: ignore[empty-body]

    @tachyon_rpc(2)
    def plain(payload: memoryview) -> bytes: ...  # type: ignore[empty-body]

    with RpcBus.connect(path) as bus:
        with pytest.raises(NoSensor) as raised:
            raw.call(bus, b"abc")
        assert raised.value.sensor == 3
        with pytest.raises(HandlerError) as other:
            plain.call(bus, b"abc")
        assert other.value.name == "NoSensor"
    callee.join()
