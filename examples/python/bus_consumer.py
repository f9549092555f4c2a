"""Receive stock prices from a one-way bus, and print the number of prices and the highest price of each stock.

    python examples/python/bus_consumer.py /tmp/tachyon-bus.sock

The other end is `bus_producer`, in Python or in Rust.
"""

import struct
import sys
from collections import defaultdict

from tachyon import Bus

PRICE = 1
"""The type id of a price. A bus can carry messages of several types."""

try:
    _, socket = sys.argv
except ValueError:
    sys.exit("usage: bus_consumer.py SOCKET")

stocks: dict[str, list[float]] = defaultdict(list)

# A ring of 4 KiB is smaller than the data: a producer that is ahead waits (backpressure).
with Bus.listen(socket, 1 << 12) as bus:
    # The loop ends when the producer has closed and all its messages are received.
    for message in bus:
        if message.type_id != PRICE:
            sys.exit(f"{message!r} is not a price")
        (price,) = struct.unpack_from("<d", message.data)
        stocks[message.data[8:].decode()].append(price)

for symbol, prices in sorted(stocks.items()):
    print(f"{symbol}: {len(prices)} prices, highest {max(prices):.2f}")
