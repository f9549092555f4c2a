"""Call the two functions of `rpc_callee`, in Python or in Rust.

    python examples/python/rpc_caller.py /tmp/tachyon-rpc.sock .demo/temperatures.f64

A caller waits five seconds for its callee to appear.
"""

import struct
import sys
from pathlib import Path

# The functions run in the peer. Here their names stand for the numbers that both sides agree on.
from rpc_callee import stock_summary, temperature_summary

from tachyon import RpcBus, RpcError

LIMIT = 5.0
"""The timeout of a call in seconds."""

try:
    _, socket, temperatures = sys.argv
except ValueError:
    sys.exit("usage: rpc_caller.py SOCKET TEMPERATURES")

with RpcBus.connect(socket) as caller:
    for symbol in ("AAPL", "AMZN", "GOOG", "IBM", "MSFT"):
        reply = stock_summary.call(caller, symbol.encode(), timeout=LIMIT)
        first, last, lowest, highest = struct.unpack("<4d", reply)
        print(f"{symbol}: from {first:.2f} to {last:.2f}, between {lowest:.2f} and {highest:.2f}")

    # A request that the callee cannot serve is an error at once, and the connection stays usable.
    try:
        stock_summary.call(caller, b"NOPE", timeout=LIMIT)
    except RpcError:
        print("NOPE: refused")

    reply = temperature_summary.call(caller, Path(temperatures).read_bytes(), timeout=LIMIT)
    hours, warmest, lowest, highest, mean = struct.unpack("<5d", reply)
    print(f"{hours:.0f} hours: between {lowest:.1f} and {highest:.1f}, mean {mean:.2f}, warmest hour {warmest:.0f}")
