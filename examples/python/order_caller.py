"""Call the order book. `tachyon codegen python` generated `order_api` from the Rust service."""

import sys

import order_api as api

import tachyon

LIMIT = 5.0


def main(path: str) -> None:
    """Place orders, read them, and cancel one."""
    with tachyon.RpcBus.connect(path) as bus:
        numbers = [
            api.place.call(bus, api.Order(price=price, quantity=10, side=side, account=b"me\0"), timeout=LIMIT)
            for price, side in ((9_900, api.Side.Buy), (10_000, api.Side.Buy), (10_100, api.Side.Sell))
        ]
        quote = api.quote.call(bus, timeout=LIMIT)
        print(f"placed {numbers}, bid {quote.bid}, ask {quote.ask}")
        cancelled = sum(api.cancel.call(bus, number, timeout=LIMIT) for number in (2, 2))
        print(f"cancelled {cancelled}, bid {api.quote.call(bus, timeout=LIMIT).bid}")
        found = api.find.call(bus, numbers, timeout=LIMIT)
        print(f"found {[order.price for order in found]} of {sum(order.quantity for order in found)}")
        try:
            api.place.call(bus, api.Order(price=1, quantity=0, side=api.Side.Buy, account=b"me\0"), timeout=LIMIT)
        except tachyon.RpcError as error:
            print(f"refused: {error.text.removeprefix('ValueError: ')}")


if __name__ == "__main__":
    main(sys.argv[1])
