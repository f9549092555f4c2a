"""One blocking call, ended by SIGINT or SIGUSR1: `PATH CODE OPTIONS`; the time of the interrupt is printed."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType
from typing import Any

import tachyon
from services import serving
from tachyon import Bus, Pool, RpcBus, RpcDispatcher, RpcServer, tachyon_rpc

path = serving.path()
dispatcher = RpcDispatcher()
endpoint = tachyon_rpc(1)(len)


@tachyon_rpc(3)
def items(payload: bytes) -> Iterator[bytes]:
    raise NotImplementedError


@dispatcher.handler(msg_type=1)
def long_reply(payload: memoryview) -> bytes:
    return bytes(60)


def for_ever(operation: Callable[[], object]) -> None:
    while True:
        operation()


def answer(bus: RpcBus, reply: Callable[[int], object]) -> None:
    while True:
        with bus.serve() as rx:
            cid = rx.correlation_id
        reply(cid)


def place(room: Any) -> None:
    with room:
        pass


def close_while_serving(path: str) -> None:
    server = RpcServer(path)
    busy = threading.Event()

    @dispatcher.handler(msg_type=2)
    def sleep(payload: memoryview) -> bytes:
        busy.set()
        time.sleep(60)
        return b""

    threading.Thread(target=dispatcher.serve_forever, args=(server,), daemon=True).start()
    RpcBus.connect(path).call(b"", 2)
    busy.wait()
    server.close()


async def acall(bus: RpcBus) -> None:
    await endpoint.acall(bus, b"")


async def take(stream: AsyncIterator[object]) -> None:
    await anext(stream)


async def aconnect(path: str) -> None:
    await RpcBus.aconnect(path, timeout=None)


async def acall_again(path: str) -> None:
    server = RpcServer(path)
    task = asyncio.create_task(dispatcher.aserve(server))
    bus = await asyncio.to_thread(RpcBus.connect, path, reconnect=True, timeout=None)
    await endpoint.acall(bus, b"")
    server.stop()
    await task
    # The loop must see the closed bus, too.
    await asyncio.sleep(0.1)
    print("gone", flush=True)
    await endpoint.acall(bus, b"")


def lend_twice(pool: Pool) -> None:
    with pool.caller(), pool.caller():
        pass


def interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGUSR1, interrupt)
    names = {name: value for name, value in globals().items() if not name.startswith("_")}
    serving.ready()
    try:
        exec(compile(sys.argv[2], "operation", "exec"), names | {"Bus": Bus, "tachyon": tachyon})
    except KeyboardInterrupt:
        print(time.monotonic(), flush=True)
        if serving.options().get("exit_at_once"):
            # An ordinary exit waits for threads that the test does not measure.
            os._exit(0)
