"""The order, the timing and the report of a round: the Python twin of the crate `tachyon-benches`.

The module uses only the standard library, because peers run it in a separate environment.
"""

import json
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from statistics import median
from struct import pack, unpack
from threading import Thread
from time import perf_counter_ns
from typing import Any, TypeAlias

Report: TypeAlias = dict[str, Any]
Call: TypeAlias = Callable[[], object]

PATIENCE = 10.0
"""Seconds that a side waits for the other side to appear."""


def tell(report: Report) -> None:
    """Write one line."""
    print(json.dumps(report), flush=True)


def rounds() -> Iterator[dict[str, Any]]:
    """Report that the connection stands, then yield one round after the other."""
    tell({"ready": True})
    for line in iter(sys.stdin.readline, ""):
        yield json.loads(line)


def ready_for_good() -> None:
    """Report that the connection stands, for a side that serves for ever: it ends with the process that started it."""

    def end() -> None:
        sys.stdin.read()
        os._exit(0)

    Thread(target=end, daemon=True).start()
    tell({"ready": True})


def payload(size: int) -> bytes:
    """Return a payload of different bytes, so that a wrong copy is visible."""
    return bytes(byte % 256 for byte in range(size))


def drive_asks(prepare: Callable[[bytes], Callable[[], bytes]]) -> None:
    """Ask in each round. `prepare` turns a payload into the timed call, which returns the reply."""
    for ordered in rounds():
        asked = payload(ordered["size"])
        call = prepare(asked)
        if call() != asked:
            sys.exit("the answer differs from the payload")
        for _ in range(ordered["warm"] - 1):
            call()
        tell(time_calls(call, ordered))


def time_calls(call: Call, ordered: dict[str, Any]) -> Report:
    """Time the counted calls."""
    match ordered["kind"]:
        case "blocks":
            return blocks(call, ordered["count"], ordered["block"])
        case "single":
            return single(call, ordered["count"])
        case "paced":
            return paced(call, ordered["count"], ordered["interval"])
        case kind:
            sys.exit(f"a round of kind {kind} has no calls")


def blocks(call: Call, count: int, block: int) -> Report:
    """Time calls back to back, in blocks."""
    times = []
    inside = range(block)
    begin = last = perf_counter_ns()
    for _ in range(max(1, count // block)):
        for _ in inside:
            call()
        now = perf_counter_ns()
        times.append((now - last) / block)
        last = now
    mean = (last - begin) / (len(times) * block)
    for _ in range(count - len(times) * block):
        call()
    return {"p50": median(times), "mean": mean}


def single(call: Call, count: int) -> Report:
    """Time each of the calls back to back: the end of a call is the start of the next."""
    times = [0] * count
    begin = last = perf_counter_ns()
    for index in range(count):
        call()
        now = perf_counter_ns()
        times[index] = now - last
        last = now
    return {"mean": (last - begin) / count, "histogram": histogram(times)}


def paced(call: Call, count: int, interval: int) -> Report:
    """Time calls at a fixed rate, each from the moment when it was due."""
    times = [0] * count
    due = perf_counter_ns()
    for index in range(count):
        due += interval
        while perf_counter_ns() < due:
            pass
        call()
        times[index] = perf_counter_ns() - due
    return {"histogram": histogram(times)}


def histogram(times: list[int]) -> list[tuple[int, int]]:
    """Count times, rounded to three digits."""
    return sorted(Counter(three_digits(time) for time in times).items())


def three_digits(time: int) -> int:
    """Round an integer up to three significant digits.

    >>> three_digits(999), three_digits(12345), three_digits(1000001)
    (999, 12400, 1010000)
    """
    step: int = 10 ** max(0, len(str(time)) - 3)
    return -(-time // step) * step


def drive_answers(answer: Call) -> None:
    """Answer in each round."""
    for ordered in rounds():
        for _ in range(ordered["warm"] + ordered["count"]):
            answer()
        tell({})


def asked_items(asked: bytes) -> Iterator[bytes]:
    """Return the items that a request of `drive_items` asks for."""
    size, count = unpack("<QQ", asked)
    return repeat(payload(size), count)


def drive_items(open_stream: Callable[[bytes], Iterator[object]]) -> None:
    """Take the items of one stream in each round; `open_stream` asks for them. The counted items are timed together."""
    for ordered in rounds():
        items = open_stream(pack("<QQ", ordered["size"], ordered["warm"] + ordered["count"]))
        deque(islice(items, ordered["warm"]), 0)
        begin = perf_counter_ns()
        taken = sum(1 for _ in islice(items, ordered["count"]))
        took = perf_counter_ns() - begin
        if taken != ordered["count"] or next(iter(items), None) is not None:
            sys.exit("the stream has another number of items")
        tell({"mean": took / taken})


def drive_source(send: Callable[[bytes, int], object]) -> None:
    """Send in each round; `send` sends a payload a number of times."""
    for ordered in rounds():
        send(payload(ordered["size"]), ordered["warm"] + ordered["count"])
        tell({})


def drive_sink(receive: Callable[[int], object]) -> None:
    """Receive in each round; `receive` takes a number of messages, and the counted messages are timed together."""
    for ordered in rounds():
        receive(ordered["warm"])
        begin = perf_counter_ns()
        receive(ordered["count"])
        tell({"mean": (perf_counter_ns() - begin) / ordered["count"]})
