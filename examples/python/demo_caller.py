"""The Python caller that `make demo` measures. Read `rpc_caller` first.

It calls both functions of `rpc_callee`, times every call, and prints JSON: the bytes of the replies, and the round
trips in nanoseconds. Run line:

    python examples/python/demo_caller.py SOCKET .demo/temperatures.f64 CALLS
"""

import json
import sys
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter_ns

from rpc_callee import stock_summary, temperature_summary

from tachyon import RpcBus, RpcEndpoint, RpcError

SYMBOLS = [b"AAPL", b"AMZN", b"GOOG", b"IBM", b"MSFT"]
LIMIT = 5.0


def measure(
    caller: RpcBus, endpoint: RpcEndpoint, requests: list[bytes], calls: int
) -> tuple[list[list[int]], list[int]]:
    """Make `calls` calls, with the requests in turn; return one reply for each request and the time of each call."""
    replies = [endpoint.call(caller, request, timeout=LIMIT) for request in requests]
    times = []
    for request, expected in islice(cycle(zip(requests, replies, strict=True)), calls):
        start = perf_counter_ns()
        reply = endpoint.call(caller, request, timeout=LIMIT)
        times.append(perf_counter_ns() - start)
        if reply != expected:
            sys.exit(f"msg_type {endpoint.msg_type} gave two different replies to one request")
    return [list(reply) for reply in replies], times


def main() -> None:
    """Measure and report."""
    try:
        _, socket, temperatures, calls = sys.argv
    except ValueError:
        sys.exit("usage: demo_caller.py SOCKET TEMPERATURES CALLS")
    with RpcBus.connect(socket) as caller:
        try:
            stock_summary.call(caller, b"NOPE", timeout=LIMIT)
        except RpcError as error:
            unknown = [int(error.kind), error.msg_type]
        else:
            sys.exit("an unknown symbol should be an error")
        stocks, small_ns = measure(caller, stock_summary, SYMBOLS, int(calls))
        summary, large_ns = measure(caller, temperature_summary, [Path(temperatures).read_bytes()], int(calls))
    report = {
        "stocks": stocks,
        "temperatures": summary,
        "unknown": unknown,
        "small_ns": small_ns,
        "large_ns": large_ns,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
