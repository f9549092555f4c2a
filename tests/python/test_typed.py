"""Typed endpoints: hints are the contract, on both sides of a process boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
import pytest

import tachyon
from services.typed import Order, Plain, Side
from tachyon import Array, ErrorKind, LayoutMismatchError, RpcBus, RpcError, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer


@tachyon_rpc(1)
def turned(order: Order) -> Order:
    return order


@tachyon_rpc(2)
def total(numbers: npt.NDArray[np.float64]) -> tachyon.f64: ...  # type: ignore[empty-body]


@tachyon_rpc(3)
def twice(numbers: Array[tachyon.f64]) -> Array[tachyon.f64]: ...  # type: ignore[empty-body]


@tachyon_rpc(4)
def same(plain: Plain) -> Plain: ...  # type: ignore[empty-body]


@tachyon_rpc(5)
def keep(plain: Plain) -> None: ...


@tachyon_rpc(6)
def look() -> tachyon.u64: ...  # type: ignore[empty-body]


@tachyon_rpc(7)
def write(plain: Plain) -> None: ...


@tachyon_rpc(8)
def sides(orders: Array[Order]) -> Array[Side]: ...  # type: ignore[empty-body]


@tachyon_rpc(9)
def wrong(number: tachyon.u8) -> tachyon.u8: ...  # type: ignore[empty-body]


@tachyon_rpc(11)
def words(payload: bytes) -> Annotated[str, 8]: ...  # type: ignore[empty-body]


@tachyon_rpc(12)
def holds(numbers: Array[tachyon.f64]) -> None: ...


@tachyon_rpc(13)
def records(plains: Annotated[npt.NDArray[np.void], Plain]) -> tachyon.u64: ...  # type: ignore[empty-body]


ORDER = Order(price=1.5, quantity=-2, side=Side.BUY, live=True)


def test_values_go_there_and_back(service: Callable[..., Peer], path: str) -> None:
    child = service("typed", "bus", quiet=True)
    with RpcBus.connect(path) as bus:
        reply = turned.call(bus, ORDER, timeout=5.0)
        assert reply == Order(price=1.5, quantity=-2, side=Side.SELL, live=True)
        reply.quantity = 3
        assert total.call(bus, np.arange(4.0)) == 6.0
        assert twice.call(bus, [1.0, 2.0]) == [2.0, 4.0]
        assert twice.call(bus, []) == []
        assert same.call(bus, Plain(number=5)) == Plain(number=5)
        assert sides.call(bus, [ORDER, reply]) == [Side.BUY, Side.SELL]
        assert words.call(bus, b"hi") == "hi"
        assert records.call(bus, np.array([(1,), (2,)], dtype=Plain.dtype)) == 3
        assert turned.call(bus, ORDER, on_response=len) == 24
        assert turned(ORDER) is ORDER
    child.join()


def test_a_view_of_a_request_ends_with_its_call(service: Callable[..., Peer], path: str) -> None:
    child = service("typed", "bus", quiet=True)
    with RpcBus.connect(path) as bus:
        keep.call(bus, Plain(number=5))
        with pytest.raises(RpcError, match="this Plain is a view of a request, which was valid during its call only"):
            look.call(bus)
        with pytest.raises(RpcError, match="read-only"):
            write.call(bus, Plain(number=5))
        with pytest.raises(RpcError, match="kept a view of the request"):
            holds.call(bus, [1.0])
        assert same.call(bus, Plain(number=6)).number == 6
    child.join()


def invalid(offset: int, value: int) -> bytes:
    data = bytearray(ORDER)
    data[offset] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("msg_type", "payload", "text"),
    [
        (1, b"x", "1 bytes came, and Order has 24"),
        (1, bytes(25), "25 bytes came, and Order has 24"),
        (1, invalid(16, 3), "Order.side is 3, and Side has no such value"),
        (1, invalid(17, 2), "Order.live is 2, and bool has no such value"),
        (2, bytes(9), "9 bytes came, which is no multiple of the 8 bytes of f64"),
        (6, b"x", "1 bytes came where none are expected"),
        (8, bytes(ORDER) + invalid(16, 9), "Order.side is 9, and Side has no such value"),
        (9, b"", "0 bytes came, and u8 has 1"),
    ],
)
def test_a_bad_request_never_reaches_its_handler(
    service: Callable[..., Peer], path: str, msg_type: int, payload: bytes, text: str
) -> None:
    child = service("typed", "bus", quiet=True)

    @tachyon_rpc(msg_type)
    def endpoint(payload: bytes) -> bytes:
        return payload

    with RpcBus.connect(path) as bus:
        with pytest.raises(RpcError, match=text) as raised:
            endpoint.call(bus, payload)
        assert raised.value.kind is ErrorKind.BAD_REQUEST
        assert turned.call(bus, ORDER).side is Side.SELL
    child.join()


def test_a_wrong_reply_is_the_handlers_fault(service: Callable[..., Peer], path: str) -> None:
    child = service("typed", "bus", quiet=True)
    with RpcBus.connect(path) as bus:
        with pytest.raises(RpcError, match="wrong: the reply is u8, from 0 to 255, and 259 is out") as raised:
            wrong.call(bus, 9)
        assert raised.value.kind is ErrorKind.BAD_REPLY
    child.join()


def test_arguments_that_cannot_be_sent_are_refused_by_the_caller(service: Callable[..., Peer], path: str) -> None:
    child = service("typed", "bus", quiet=True)
    with RpcBus.connect(path) as bus:
        with pytest.raises(TypeError, match="turned: order must be a Order, not Plain"):
            turned.call(bus, Plain(number=1))  # type: ignore[call-overload]
        with pytest.raises(OverflowError, match="wrong: number is u8"):
            wrong.call(bus, 256)
        with pytest.raises(TypeError, match="total: numbers is an array of float64, and this one is of int64"):
            total.call(bus, np.arange(3))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"look\(\) takes 0 positional arguments but 1 was given"):
            look.call(bus, 3)  # type: ignore[call-overload]
    child.join()


def test_a_mismatch_is_a_sentence_and_calls_nothing(service: Callable[..., Peer], path: str) -> None:
    child = service("typed", "bus", quiet=True)

    class Order(tachyon.Struct):
        price: tachyon.f64
        quantity: tachyon.i32
        side: Side
        live: tachyon.bool
        _pad: Annotated[bytes, 2] = tachyon.pad()

    @tachyon_rpc(1)
    def price(order: Order) -> Order:
        return order

    @tachyon_rpc(10)
    def raw(payload: memoryview) -> bytes:
        return bytes(payload)

    with RpcBus.connect(path) as bus:
        with pytest.raises(LayoutMismatchError) as raised:
            price.call(bus, Order(price=1.0, quantity=1, side=Side.BUY, live=True))
        assert str(raised.value).startswith(
            "price: field `quantity` of Order is i32 at offset 8 here, i64 at offset 8 at the callee"
        )
        assert isinstance(raised.value, TypeError)
        assert raw.call(bus, b"abc") == b"cba"
        assert turned.call(bus, ORDER).quantity == -2
    child.join()


def test_describe_and_ping(service: Callable[..., Peer], path: str) -> None:
    child = service("typed", "bus", quiet=True)
    with RpcBus.connect(path) as bus:
        assert 0 < bus.ping(timeout=5.0) < 5
        described = bus.describe(timeout=5.0)
        assert len(described) == 13
        assert described["turned"].doc == "Turns an order around."
        assert str(described[8].request) == "list[Order]"
        with pytest.raises(KeyError):
            described["nobody"]
    child.join()


def test_a_callee_without_a_dispatcher_describes_nothing(peer: Callable[[str], Peer], path: str) -> None:
    child = peer("""
        with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
            with bus.serve() as request:
                cid, data = request.correlation_id, bytes(memoryview(request))
            bus.reply(cid, data, 4)
    """)
    with RpcBus.connect(path) as bus:
        with pytest.raises(tachyon.NoHandlerError):
            bus.describe(timeout=5.0)
        assert bus.ping(timeout=5.0) >= 0
        assert same.call(bus, Plain(number=3)).number == 3
    child.join()


def test_hints_that_say_nothing_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match="parameter `x` of f: int does not say how it lies in memory"):

        @tachyon_rpc(1)
        def f(x: int) -> bytes: ...

    with pytest.raises(TypeError, match="the reply of g: an array says what it is an array of"):

        @tachyon_rpc(1)
        def g() -> np.ndarray: ...  # type: ignore[type-arg]

    with pytest.raises(TypeError, match="the hint 'Nowhere' of parameter `x` cannot be resolved"):

        @tachyon_rpc(1)
        def h(x: Nowhere) -> bytes: ...  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(TypeError, match="is no one type"):

        @tachyon_rpc(1)
        def i(x: Plain | bytes) -> bytes: ...


def test_a_handler_may_refuse_its_request(peer: Callable[[str], Peer], path: str) -> None:
    child = peer("""
        import logging
        logging.disable()
        dispatcher = tachyon.RpcDispatcher()

        class Plain(tachyon.Struct):
            number: tachyon.u64

        @dispatcher.handler(4)
        def picky(plain: Plain) -> Plain:
            raise tachyon.BadRequestError("not today")

        with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
            dispatcher.serve_forever(bus)
    """)
    with RpcBus.connect(path) as bus, pytest.raises(RpcError, match="not today") as raised:
        same.call(bus, Plain(number=1))
    assert raised.value.kind is ErrorKind.BAD_REQUEST
    child.join()


def test_serving_once_counts_requests_only(peer: Callable[[str], Peer], path: str) -> None:
    child = peer("""
        dispatcher = tachyon.RpcDispatcher()
        dispatcher.handler(4)(lambda payload: bytes(payload))
        with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
            dispatcher.serve_once(bus, timeout=20)
    """)
    with RpcBus.connect(path) as bus:
        assert [bus.ping(timeout=5) >= 0 for _ in range(3)] == [True] * 3
        assert same.call(bus, Plain(number=3)).number == 3
    child.join()
