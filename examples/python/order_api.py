"""Generated from a callee's description by `tachyon codegen python`."""

from typing import Annotated

import tachyon


class Side(tachyon.IntEnum, repr="u8"):
    """The direction of an order."""

    Buy = 1
    Sell = 2


class Order(tachyon.Struct):
    """An order to buy or to sell."""

    price: tachyon.u64
    quantity: tachyon.u32
    side: Side
    account: Annotated[bytes, 3]


class Quote(tachyon.Struct):
    """The best prices in cents; 0 without an order."""

    bid: tachyon.u64
    ask: tachyon.u64


@tachyon.tachyon_rpc(msg_type=1)
def place(request: Order) -> tachyon.u64:
    """Places an order and returns its number."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=2)
def cancel(request: tachyon.u64) -> tachyon.bool:
    """Cancels an order, and returns whether it existed."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=3)
def quote() -> Quote:
    """Returns the best prices of both directions."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=4)
def find(request: tachyon.Array[tachyon.u64]) -> tachyon.Array[Order]:
    """Returns the existing orders with these numbers."""
    raise NotImplementedError
