"""Sends stock prices down a one-way bus, one message each.

    make input      # once: writes real stock prices and temperatures to .demo/
    python examples/python/bus_producer.py /tmp/tachyon-bus.sock .demo/stocks.csv

The other end is `bus_consumer`, in Python or in Rust.
"""

import csv
import struct
import sys
from pathlib import Path

from tachyon import Bus

PRICE = 1
"""What the two sides call a price. A bus may carry messages of many types."""

try:
    _, socket, stocks = sys.argv
except ValueError:
    sys.exit("usage: bus_producer.py SOCKET STOCKS_CSV")

sent = 0
with Path(stocks).open(newline="") as file, Bus.connect(socket) as bus:
    for row in csv.DictReader(file):
        # The message: the price as a little-endian double, then the symbol. It waits while the ring is full.
        bus.send(struct.pack("<d", float(row["price"])) + row["symbol"].encode(), type_id=PRICE)
        sent += 1
# Leaving the block closes the bus. What was sent is still delivered, and the consumer's loop ends.
print(f"sent {sent} prices")
