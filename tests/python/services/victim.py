"""Operations on connections to hostile peers, each in its own thread or task: `PATH WAY PLACES OPTIONS`.

PLACES is a JSON list of paths. The outcome and the seconds of each operation are printed as JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from services import serving
from tachyon import Bus, RpcBus, TachyonError, tachyon_rpc

AnyBus = TypeVar("AnyBus", Bus, RpcBus)
Outcomes = list[tuple[str, float]]

echo = tachyon_rpc(1)(bytes)


def outcome(operation: Callable[[], object]) -> tuple[str, float]:
    began = time.monotonic()
    try:
        operation()
        told = "fine"
    except TachyonError as error:
        told = type(error).__name__
    return told, time.monotonic() - began


def twice(bus: AnyBus, operation: Callable[[AnyBus], object]) -> Outcomes:
    """Try an operation twice, and close: the second try meets what the peer does during the first."""
    return [outcome(lambda: operation(bus)) for _ in range(2)] + [outcome(bus.close)]


def call(where: str) -> Outcomes:
    return twice(RpcBus.connect(where), lambda bus: echo.call(bus, b"x", timeout=0.5))


def recv(where: str) -> Outcomes:
    return twice(Bus.connect(where), lambda bus: bus.recv(timeout=0.5))


def send(where: str) -> Outcomes:
    def operation(bus: Bus) -> None:
        while True:
            bus.send(bytes(1000), timeout=0.5)

    return twice(Bus.connect(where), operation)


async def acall(where: str) -> Outcomes:
    bus = await asyncio.to_thread(RpcBus.connect, where)
    told = []
    for _ in range(2):
        began = time.monotonic()
        try:
            await echo.acall(bus, b"x", timeout=0.5)
            end = "fine"
        except TachyonError as error:
            end = type(error).__name__
        told.append((end, time.monotonic() - began))
    return [*told, outcome(bus.close)]


async def acalls(places: list[str]) -> list[Outcomes]:
    """Call all peers from one loop: no call delays another."""
    return await asyncio.gather(*map(acall, places))


def main(way: str, places: list[str]) -> None:
    serving.ready()
    if way == "acall":
        told = asyncio.run(acalls(places))
    else:
        with ThreadPoolExecutor(len(places)) as threads:
            told = list(threads.map({"call": call, "recv": recv, "send": send}[way], places))
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[2], json.loads(sys.argv[3]))
