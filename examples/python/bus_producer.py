"""Send stock prices over a one-way bus, one price per message.

    make input      # once: writes stock prices and temperatures to .demo/
    python examples/python/bus_producer.py /tmp/tachyon-bus.sock .demo/stocks.csv

The other end is `bus_consumer`, in Python or in Rust.
"""

import csv
import struct
import sys
from pathlib import Path

from tachyon import Bus

PRICE = 1
"""The type id of a price. A bus can carry messages of several types."""

try:
    _, socket, stocks = sys.argv
except ValueError:
    sys.exit("usage: bus_producer.py SOCKET STOCKS_CSV")

sent = 0
with Path(stocks).open(newline="") as file, Bus.connect(socket) as bus:
    for row in csv.DictReader(file):
        # The message: the price as a little-endian double, then the symbol. `send` waits while the ring is full.
        bus.send(struct.pack("<d", float(row["price"])) + row["symbol"].encode(), type_id=PRICE)
        sent += 1
# Leaving the block closes the bus. The consumer still receives all sent messages, then its loop ends.
print(f"sent {sent} prices")
