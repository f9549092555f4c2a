"""Types of Structs and typed endpoints; mypy and pyright must agree with every line."""

from collections.abc import Sequence
from typing import Annotated, assert_type

import numpy as np
import numpy.typing as npt

import tachyon
from tachyon import Array, RpcBus, RpcEndpoint, tachyon_rpc


class Side(tachyon.IntEnum, repr="u8"):
    """A direction."""

    BUY = 1
    SELL = 2


class Level(tachyon.Struct):
    """A price and its size."""

    price: tachyon.f64
    size: tachyon.u32
    _pad: Annotated[bytes, 4] = tachyon.pad()


class Order(tachyon.Struct):
    """A Struct with a field of every kind."""

    instrument: tachyon.u64
    best: Level
    levels: Annotated[Array[tachyon.f64], 4]
    note: Annotated[str, 5]
    key: Annotated[bytes, 1]
    side: Side = Side.BUY
    live: tachyon.bool = True


def fields(order: Order) -> None:
    """Fields are plain values."""
    assert_type(order.instrument, int)
    assert_type(order.best.price, float)
    assert_type(order.levels[1], float)
    assert_type(order.levels[1:], list[float])
    assert_type(order.note, str)
    assert_type(order.key, bytes)
    assert_type(order.side, Side)
    assert_type(order.live, bool)
    assert_type(order.copy(), Order)
    order.instrument = 3
    order.levels = [1.0, 2.0, 3.0, 4.0]
    order.levels[0] = 5.0
    assert_type(order.replace(note="again"), Order)
    order.instrument = "three"  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]


def constructors() -> Order:
    """Constructors know their keywords."""
    Order(instrument=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    Level(price="high", size=1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    return Order(
        instrument=1,
        best=Level(price=1.0, size=2),
        levels=[1.0, 2.0, 3.0, 4.0],
        note="hello",
        key=b"k",
        side=Side.SELL,
    )


@tachyon_rpc(msg_type=1)
def best(order: Order) -> Level:
    """Take and give a Struct."""
    return order.best


@tachyon_rpc(msg_type=2)
def total(numbers: npt.NDArray[np.float64]) -> tachyon.f64:
    """Take an array, give a number."""
    return float(numbers.sum())


@tachyon_rpc(msg_type=3)
def echo(payload: memoryview) -> bytes:
    """Take and give bytes."""
    return payload.tobytes()


@tachyon_rpc(msg_type=4)
def count() -> tachyon.u64:
    """Take nothing."""
    return 1


@tachyon_rpc(msg_type=5)
def worst(levels: Array[Level]) -> Level:
    """Take any number of Structs."""
    return levels[-1]


@tachyon_rpc(msg_type=6)
def forget(key: bytes) -> None:
    """Give nothing."""
    assert key


def calls(bus: RpcBus, order: Order, levels: Sequence[Level]) -> None:
    """Calls have the types of their functions."""
    assert_type(best.call(bus, order, timeout=1.0), Level)
    assert_type(total.call(bus, np.zeros(3)), float)
    assert_type(echo.call(bus, b"x"), bytes)
    assert_type(count.call(bus), int)
    assert_type(worst.call(bus, levels), Level)
    assert_type(worst.call(bus, [order.best]), Level)
    forget.call(bus, b"key")
    assert_type(echo.call(bus, b"x", on_response=len), int)
    assert_type(best(order), Level)
    kept: RpcEndpoint[[Order], Level] = best
    plain: RpcEndpoint = echo
    dispatcher = tachyon.RpcDispatcher().register(kept).register(plain).register(count)
    dispatcher.handler(7)(lambda payload: payload)


def mistakes(bus: RpcBus, order: Order) -> None:
    """A checker reports a wrong value at its argument."""
    best.call(bus, b"x")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    best.call(bus, order.best)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    best.call(bus)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    echo.call(bus, "text")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    forget.call(bus, "text")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    echo.call(bus)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    count.call(bus, 3)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    worst.call(bus, [order])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    worst.call(bus, order.best)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
