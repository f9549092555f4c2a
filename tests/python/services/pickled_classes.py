"""Structs and enums of `__main__`, pickled by value into a file: `FILE OPTIONS`."""

import sys
from pathlib import Path
from typing import Annotated

import cloudpickle  # type: ignore[import-untyped]

import tachyon
from services import serving
from tachyon import Array


class Side(tachyon.IntEnum, repr="u16"):
    """A direction."""

    BUY = 1
    SELL = 2


class Level(tachyon.Struct):
    price: tachyon.f64


class Order(tachyon.Struct):
    """An order."""

    levels: Annotated[Array[Level], 2]
    note: Annotated[str, 6]
    side: Side = Side.SELL
    _pad: Annotated[bytes, 0 + 4] = tachyon.pad()
    class_: tachyon.u32 = 7

    def best(self) -> float:
        return max(level.price for level in self.levels)


if __name__ == "__main__":
    order = Order(levels=[Level(price=1.0), Level(price=3.0)], note="hi")
    again, side = cloudpickle.loads(cloudpickle.dumps((order, Side.BUY)))
    # In one process a class that comes back is the class that left.
    assert type(again) is Order
    assert again == order
    assert side is Side.BUY
    Order(levels=order.levels, note="")
    with Path(sys.argv[1]).open("wb") as file:
        cloudpickle.dump((order, Order, Side, [Side.BUY], {Level: 1}), file)
    serving.ready()
