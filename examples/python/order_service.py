"""A service of four typed endpoints with state: an order book. Its callers are `order_caller` in either language.

`tachyon codegen` generates the Rust caller's types from this program while it runs:

    python examples/python/order_service.py SOCKET
    tachyon codegen rust SOCKET
"""

import sys
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


class Book:
    """The state of the endpoints."""

    def __init__(self) -> None:
        """Begin without orders."""
        self.orders: dict[int, Order] = {}
        self.placed = 0

    def place(self, order: Order) -> tachyon.u64:
        """Places an order and returns its number."""
        if order.quantity == 0:
            message = "quantity must be at least 1"
            raise ValueError(message)
        self.placed += 1
        self.orders[self.placed] = order.copy()
        return self.placed

    def cancel(self, number: tachyon.u64) -> tachyon.bool:
        """Cancels an order, and returns whether it existed."""
        return self.orders.pop(number, None) is not None

    def quote(self) -> Quote:
        """Returns the best prices of both directions."""
        bids = [order.price for order in self.orders.values() if order.side is Side.Buy]
        asks = [order.price for order in self.orders.values() if order.side is Side.Sell]
        return Quote(bid=max(bids, default=0), ask=min(asks, default=0))

    def find(self, numbers: tachyon.Array[tachyon.u64]) -> list[Order]:
        """Returns the existing orders with these numbers."""
        return [self.orders[number] for number in numbers if number in self.orders]


def main(path: str) -> None:
    """Serve one caller until it closes the connection."""
    book = Book()
    dispatcher = tachyon.RpcDispatcher()
    dispatcher.handler(1)(book.place)
    dispatcher.handler(2)(book.cancel)
    dispatcher.handler(3)(book.quote)
    dispatcher.handler(4)(book.find)
    with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16, dispatcher=dispatcher) as bus:
        dispatcher.serve_forever(bus)
    print(f"{len(book.orders)} orders are left")


if __name__ == "__main__":
    main(sys.argv[1])
