"""Generated from a callee's description by `tachyon codegen python`."""

from typing import Annotated

import tachyon


class Side(tachyon.IntEnum, repr="u8"):
    """Which way an order goes."""

    Buy = 1
    Sell = 2


class Order(tachyon.Struct):
    """What somebody wants to buy or sell."""

    price: tachyon.u64
    quantity: tachyon.u32
    side: Side
    account: Annotated[bytes, 3]


class Quote(tachyon.Struct):
    """The best prices, in cents; 0 where there is no order."""

    bid: tachyon.u64
    ask: tachyon.u64


@tachyon.tachyon_rpc(msg_type=1)
def place(request: Order) -> tachyon.u64:
    """Places an order and gives its number."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=2)
def cancel(request: tachyon.u64) -> tachyon.bool:
    """Takes an order back, and says whether it was there."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=3)
def quote() -> Quote:
    """The best prices on both sides."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=4)
def find(request: tachyon.Array[tachyon.u64]) -> tachyon.Array[Order]:
    """The orders of these numbers, without those that are gone."""
    raise NotImplementedError
