"""Receives stock prices from a one-way bus and says how many came, and the highest, of each stock.

    python examples/python/bus_consumer.py /tmp/tachyon-bus.sock

The other end is `bus_producer`, in Python or in Rust.
"""

import struct
import sys
from collections import defaultdict

from tachyon import Bus

PRICE = 1
"""What the two sides call a price. A bus may carry messages of many types."""

try:
    _, socket = sys.argv
except ValueError:
    sys.exit("usage: bus_consumer.py SOCKET")

stocks: dict[str, list[float]] = defaultdict(list)

# 4 KiB, less than what is sent: the producer waits when it is ahead.
with Bus.listen(socket, 1 << 12) as bus:
    # Ends when the producer has closed and everything it sent has been seen.
    for message in bus:
        if message.type_id != PRICE:
            sys.exit(f"{message!r} is not a price")
        (price,) = struct.unpack_from("<d", message.data)
        stocks[message.data[8:].decode()].append(price)

for symbol, prices in sorted(stocks.items()):
    print(f"{symbol}: {len(prices)} prices, highest {max(prices):.2f}")
