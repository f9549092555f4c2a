"""Two functions that another process can call: the prices of a stock, and the temperatures of a year.

    make input      # once: writes stock prices and temperatures to .demo/
    python examples/python/rpc_callee.py /tmp/tachyon-rpc.sock .demo/stocks.csv

Then, in a second terminal, run `rpc_caller` in Python or in Rust.
"""

import csv
import struct
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from tachyon import RpcBus, RpcDispatcher, tachyon_rpc

PRICES: dict[str, list[float]] = defaultdict(list)
"""Monthly prices by symbol, oldest first."""


@tachyon_rpc(msg_type=1)
def stock_summary(symbol: memoryview) -> bytes:
    """Take a symbol such as `AAPL`; reply with the first, last, lowest and highest price, four little-endian doubles.

    An exception reaches the caller as an error reply, so the caller never waits in vain.
    """
    name = str(symbol, "utf-8")
    if name not in PRICES:
        raise LookupError(f"no stock {name!r}")
    prices = PRICES[name]
    return struct.pack("<4d", prices[0], prices[-1], min(prices), max(prices))


@tachyon_rpc(msg_type=2)
def temperature_summary(payload: memoryview) -> bytes:
    """Take hourly temperatures; reply with their number, the warmest hour, and the lowest, highest and mean of them.

    Everything is a little-endian double. NumPy reads the request of 70 KB in place, in shared memory.
    """
    hours = np.frombuffer(payload, "<f8")
    # The cumulative sum adds from left to right, like a loop: a callee in Rust finds the same mean to the last bit.
    mean = hours.cumsum()[-1] / len(hours)
    return struct.pack("<5d", len(hours), hours.argmax(), hours.min(), hours.max(), mean)


def main() -> None:
    """Serve calls until the caller closes the connection."""
    if len(sys.argv) != 3:  # noqa: PLR2004
        sys.exit("usage: rpc_callee.py SOCKET STOCKS_CSV")
    with Path(sys.argv[2]).open(newline="") as file:
        for row in csv.DictReader(file):
            PRICES[row["symbol"]].append(float(row["price"]))

    # Error replies contain the text of an error, and not only its kind.
    dispatcher = RpcDispatcher()
    dispatcher.register(stock_summary).register(temperature_summary)

    print(f"waiting for a caller at {sys.argv[1]}")
    # The forward ring carries requests of up to 70 KB, and the reverse ring short replies.
    with RpcBus.listen(sys.argv[1], 1 << 18, 1 << 16) as callee:
        dispatcher.serve_forever(callee)
    print("the caller is done")


if __name__ == "__main__":
    main()
