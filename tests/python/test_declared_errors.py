"""Errors that endpoints declare: raised there, caught here, and never a failure of the callee."""

from __future__ import annotations

import asyncio
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from tachyon import (
    EndpointError,
    ErrorKind,
    HandlerError,
    LayoutMismatchError,
    Pool,
    RpcBus,
    RpcError,
    tachyon_rpc,
)
from tachyon._declared import received, sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

ERRORS = '''
import asyncio, logging
import tachyon
from tachyon import tachyon_rpc

class NoSensor(tachyon.EndpointError, text="no sensor {sensor}"):
    """There is no such sensor."""

    sensor: tachyon.u32

class Busy(tachyon.EndpointError):
    pass

class Broken(tachyon.EndpointError, text="{where} is broken: {parts}"):
    where: str
    parts: list[str]
    since: tachyon.f64 | None = None

class Unlisted(tachyon.EndpointError, text="nothing knows of {what}"):
    what: str
'''

SERVICE = """
logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
dispatcher = tachyon.RpcDispatcher(**{settings})

@dispatcher.handler(4, raises=(NoSensor, Busy, Broken))
{async_}def read(sensor: tachyon.u32, how: str) -> tachyon.f64:
    if how == "missing":
        raise NoSensor(sensor=sensor)
    if how == "busy":
        raise Busy
    if how == "broken":
        raise Broken(where="röhre", parts=["a", "b"])
    if how == "unlisted":
        raise Unlisted(what="this")
    if how == "long":
        raise Broken(where="x" * 3000, parts=["y" * 600])
    if how == "longest":
        raise Broken(where="x" * 5000, parts=[])
    if how == "failed":
        raise LookupError("on purpose")
    return sensor / 2
"""

ON_A_BUS = """
with tachyon.RpcBus.listen(path, 1 << 16, 1 << {size}) as bus:
    dispatcher.serve_forever(bus)
"""
AT_A_SERVER = "\ndispatcher.serve_forever(tachyon.RpcServer(path))\n"
IN_A_LOOP = "\nasyncio.run(dispatcher.serve_async(tachyon.RpcServer(path)))\n"

exec(ERRORS)
G: Any = globals()
NoSensor, Busy, Broken, Unlisted = G["NoSensor"], G["Busy"], G["Broken"], G["Unlisted"]


@tachyon_rpc(4, raises=(NoSensor, Busy, Broken))
def read(sensor: tachyon.u32, how: str) -> tachyon.f64: ...  # type: ignore[empty-body]


def service(end: str, async_: str = "", settings: str = "{}") -> str:
    return ERRORS + SERVICE.format(async_=async_, settings=settings) + end


SERVED = {
    "bus": service(ON_A_BUS.format(size=16)),
    "server": service(AT_A_SERVER),
    "loop": service(IN_A_LOOP, "async "),
    "mixed": service(IN_A_LOOP),
}


def by_call(path: str, *args: Any) -> Any:
    with RpcBus.connect(path) as bus:
        return read.call(bus, *args)


def by_acall(path: str, *args: Any) -> Any:
    async def run() -> Any:
        with RpcBus.connect(path) as bus:
            return await read.acall(bus, *args)

    return asyncio.run(run())


def by_pool(path: str, *args: Any) -> Any:
    with Pool(path, 1) as pool:
        return pool.call(read, *args)


@pytest.mark.parametrize("served", ["server", "loop", "mixed"])
@pytest.mark.parametrize("call", [by_call, by_acall, by_pool])
def test_declared_errors_arrive_as_their_classes(
    peer: Callable[[str], Peer], path: str, served: str, call: Callable[..., Any]
) -> None:
    callee = peer(SERVED[served])
    assert call(path, 3, "") == 1.5
    with pytest.raises(NoSensor) as raised:
        call(path, 3, "missing")
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
        call(path, 3, "busy")
    with pytest.raises(Broken) as raised:
        call(path, 3, "broken")
    assert (raised.value.where, raised.value.parts, raised.value.since) == ("röhre", ["a", "b"], None)
    with pytest.raises(HandlerError) as other:
        call(path, 3, "unlisted")
    assert not isinstance(other.value, EndpointError)
    assert (other.value.name, other.value.text) == ("Unlisted", "nothing knows of this")
    assert str(other.value).endswith("its handler failed: Unlisted: nothing knows of this")
    with pytest.raises(RpcError) as failed:
        call(path, 3, "failed")
    assert (failed.value.name, failed.value.text) == ("", "LookupError: on purpose")
    # Reports come before the next request is served.
    assert call(path, 3, "") == 1.5
    callee.process.kill()
    _, reported = callee.process.communicate()
    # A declared error is an answer: all that is reported is what really failed.
    assert reported.count("ERROR") == reported.count("Traceback") == 1
    assert "on purpose" in reported
    assert "Sensor" not in reported


OTHER_CLASS = (
    ERRORS
    + """
dispatcher = tachyon.RpcDispatcher()

def undeclared():
    class NoSensor(tachyon.EndpointError, text="no sensor called {label}"):
        label: str
    return NoSensor(label="front")

@dispatcher.handler(4, raises=(NoSensor, Busy, Broken))
def read(sensor: tachyon.u32, how: str) -> tachyon.f64:
    raise undeclared()
"""
)


def test_fields_of_an_undeclared_error_do_not_travel(peer: Callable[[str], Peer], path: str) -> None:
    peer(OTHER_CLASS + ON_A_BUS.format(size=16))
    with pytest.raises(HandlerError) as raised:
        by_call(path, 3, "")
    assert not isinstance(raised.value, EndpointError)
    assert (raised.value.name, raised.value.text) == ("NoSensor", "no sensor called front")


def test_serving_once_is_done_with_an_answer(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer(
        service("""
with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
    dispatcher.serve_once(bus, timeout=20)
    dispatcher.serve_once(bus, timeout=20)
    try:
        dispatcher.serve_once(bus, timeout=20)
    except tachyon.HandlerError as error:
        print(type(error.__cause__).__name__)
""")
    )
    with RpcBus.connect(path) as bus:
        with pytest.raises(NoSensor):
            read.call(bus, 1, "missing")
        with bus.wait(bus.call(b"", 4)) as refused:
            assert refused.error_kind is ErrorKind.BAD_REQUEST
        with pytest.raises(RpcError):
            read.call(bus, 1, "failed")
    assert callee.join() == "LookupError\n"


def test_texts_that_are_hidden(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer(service(AT_A_SERVER, settings='{"hide_error_text": True}'))
    with RpcBus.connect(path) as bus:
        with pytest.raises(NoSensor) as raised:
            read.call(bus, 3, "missing")
        # Name and fields are part of the contract; the text is made here.
        assert (raised.value.sensor, str(raised.value)) == (3, "no sensor 3")
        with pytest.raises(RpcError) as failed:
            read.call(bus, 3, "failed")
        assert failed.value.text == ""
        with pytest.raises(HandlerError) as other:
            read.call(bus, 3, "unlisted")
        assert (other.value.name, other.value.text) == ("Unlisted", "")
    callee.kill()


def test_texts_that_are_cut_say_so(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer(service(AT_A_SERVER))
    with RpcBus.connect(path) as bus:
        with pytest.raises(Broken) as raised:
            read.call(bus, 3, "long")
        assert str(raised.value).endswith("x\u2026")
        assert len(raised.value.text.encode()) <= 1024
        assert (raised.value.where, raised.value.parts) == ("x" * 3000, ["y" * 600])
        # Fields that are too long are left out, and then it has no class.
        with pytest.raises(HandlerError) as other:
            read.call(bus, 3, "longest")
        assert (other.value.name, other.value.text[-1]) == ("Broken", "\u2026")
    callee.kill()


def test_a_small_ring_takes_what_fits(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer(service(ON_A_BUS.format(size=8)))
    with RpcBus.connect(path) as bus, pytest.raises(HandlerError) as raised:
        read.call(bus, 3, "long")
    assert raised.value.name == "Broken"
    callee.join()


def test_what_the_two_sides_declare_is_compared(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer(SERVED["server"])
    other = type("NoSensor", (EndpointError,), {"__annotations__": {"sensor": tachyon.u64}, "__module__": __name__})

    def read(sensor: tachyon.u32, how: str) -> tachyon.f64: ...  # type: ignore[empty-body]

    with RpcBus.connect(path) as bus:
        with pytest.raises(LayoutMismatchError, match="NoSensor"):
            tachyon_rpc(4, raises=(other,))(read).call(bus, 1, "")
        # Names of one side only are fine.
        assert tachyon_rpc(4, raises=Busy)(read).call(bus, 1, "") == 0.5
        assert tachyon_rpc(4)(read).call(bus, 1, "") == 0.5
        with pytest.raises(HandlerError) as unknown:
            tachyon_rpc(4)(read).call(bus, 1, "missing")
        assert (unknown.value.name, unknown.value.text) == ("NoSensor", "no sensor 1")
        described = bus.describe()["read"]
    assert [error.name for error in described.raises] == ["NoSensor", "Busy", "Broken"]
    assert described.raises[0].doc == "There is no such sensor."
    callee.kill()


def test_an_error_here_is_one_like_others() -> None:
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
    error: Any = received(LowError, (None, 0), 4, "")
    assert (str(error), error.gain, error.msg_type) == ("LowError", None, 4)
    assert str(received(LowError, (None, 0), 4, "too low")) == "too low"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (LowError, "LowError")


def test_an_error_that_lost_a_field_is_a_failure() -> None:
    error = NoSensor(sensor=3)
    del error.__tachyon_values__["sensor"]
    with pytest.raises(KeyError, match="sensor"):
        sent(error, is_declared=True)
    # Fields travel by their names, in whatever order they stand.
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


def test_a_raw_endpoint_may_declare_errors(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer(
        ERRORS
        + """
dispatcher = tachyon.RpcDispatcher()

@dispatcher.handler(1, raises=(NoSensor,))
def raw(payload):
    raise NoSensor(sensor=len(payload))

@dispatcher.handler(2)
def plain(payload):
    raise NoSensor(sensor=1)

with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
    dispatcher.serve_forever(bus)
"""
    )

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
