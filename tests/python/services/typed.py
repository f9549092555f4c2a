"""Typed endpoints of many forms, and some that fail or keep their request."""

from typing import Annotated

import numpy as np
import numpy.typing as npt

import tachyon
from services import serving
from tachyon import Array


class Side(tachyon.IntEnum, repr="u8"):
    BUY = 1
    SELL = 2


class Order(tachyon.Struct):
    price: tachyon.f64
    quantity: tachyon.i64
    side: Side
    live: tachyon.bool
    _pad: Annotated[bytes, 6] = tachyon.pad()


class Plain(tachyon.Struct):
    number: tachyon.u64


structs: list[Plain] = []
arrays: list[npt.NDArray[np.float64]] = []
dispatcher = tachyon.RpcDispatcher()


@dispatcher.handler(1)
def turned(order: Order) -> Order:
    """Turns an order around."""
    other = order.copy()
    other.side = Side.SELL if order.side is Side.BUY else Side.BUY
    return other


@dispatcher.handler(2)
def total(numbers: npt.NDArray[np.float64]) -> tachyon.f64:
    assert not numbers.flags.owndata
    assert not numbers.flags.writeable
    return float(numbers.sum())


@dispatcher.handler(3)
def twice(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return numbers * 2


@dispatcher.handler(4)
def same(plain: Plain) -> Plain:
    return plain


@dispatcher.handler(5)
def keep(plain: Plain) -> None:
    structs.append(plain)


@dispatcher.handler(6)
def look() -> tachyon.u64:
    return structs[-1].number


@dispatcher.handler(7)
def write(plain: Plain) -> None:
    plain.number = 1


@dispatcher.handler(8)
def sides(orders: Array[Order]) -> list[Side]:
    return [order.side for order in orders]


@dispatcher.handler(9)
def wrong(number: tachyon.u8) -> tachyon.u8:
    return number + 250


@dispatcher.handler(10)
def raw(payload: memoryview) -> bytes:
    return bytes(payload)[::-1]


@dispatcher.handler(11)
def words(payload: bytes) -> Annotated[str, 8]:
    assert type(payload) is bytes
    return payload.decode()


@dispatcher.handler(12)
def holds(numbers: npt.NDArray[np.float64]) -> None:
    arrays.append(numbers)


@dispatcher.handler(13)
def records(orders: Annotated[npt.NDArray[np.void], Plain]) -> tachyon.u64:
    return int(orders["number"].sum())


if __name__ == "__main__":
    serving.serve(dispatcher)
