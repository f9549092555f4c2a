"""A server that signals stop: `PATH WAY OPTIONS`, WAY `thread`, `workers`, `asyncio`, `uvloop` or `rust`."""

import asyncio
import json
import signal
import sys
import threading
import time

import uvloop

from services import serving
from tachyon import RpcDispatcher, RpcServer

dispatcher = RpcDispatcher()
SIGNALS = (signal.SIGTERM, signal.SIGINT)
went_on = threading.Event()


def say(line: str) -> None:
    """Print a line in one write, between those of other threads."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dispatcher.handler(msg_type=101)
def echo(payload: memoryview) -> bytes:
    return payload.tobytes()


@dispatcher.handler(msg_type=102)
def sleep(payload: memoryview) -> bytes:
    say("sleeps")
    time.sleep(float(bytes(payload)))
    return b"slept"


@dispatcher.handler(msg_type=103)
def hang(payload: memoryview) -> bytes:
    """Hang until an exception comes."""
    say("hangs")
    while True:
        time.sleep(0.01)


def theirs(number: int, frame: object) -> None:
    say(f"theirs {signal.Signals(number).name}")


def main() -> None:
    way, options = sys.argv[2], serving.options()
    signals = [getattr(signal, name) for name in options.pop("signals", ("SIGTERM", "SIGINT"))]
    if options.pop("own_handler", False):
        signal.signal(signal.SIGTERM, theirs)
    before = [signal.getsignal(number) for number in SIGNALS]
    if way == "rust":
        import pricing  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

        dispatcher.register(pricing.mean)
    with RpcServer(serving.path(), **options) as serving.server:
        serving.ready()
        if way in {"asyncio", "uvloop"}:
            factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[way]
            with asyncio.Runner(loop_factory=factory) as runner:
                # The loop's own handler of SIGINT is the one from before.
                runner.run(in_loop(signals))
        else:
            workers = 3 if way == "workers" else 1
            dispatcher.serve_forever(serving.server, stop_on=signals, workers=workers)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert serving.server.closed
    say("served")
    if options.get("stop_timeout") is None and before[0] is theirs:
        signal.raise_signal(signal.SIGTERM)


async def in_loop(signals: list[int]) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    await dispatcher.aserve(serving.server, stop_on=signals)
    assert [signal.getsignal(number) for number in SIGNALS] == before


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        say(f"interrupted, closed {serving.server.closed}")
    say(json.dumps([thread.name for thread in threading.enumerate()]))
