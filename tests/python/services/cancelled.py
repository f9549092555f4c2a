"""Handlers that report their cancellation: of functions, or of coroutine functions in a loop.

Way `bus` or `server` serves functions, `loop` coroutine functions. Way `cancel` cancels the serving task several times
once a line comes on standard input, and `stop` stops the server then.
"""

import asyncio
import logging
import os
import sys
import time

import tachyon
from services import serving

dispatcher = tachyon.RpcDispatcher()


def patient(payload: memoryview) -> bytes:
    print("begun", flush=True)
    while not tachyon.current_call().is_cancelled():
        time.sleep(0.001)
    print("cancelled", tachyon.current_call().is_cancelled(), flush=True)
    # A caller that still waits gets an error, not a reply.
    return None  # type: ignore[return-value]


async def patient_task(payload: memoryview) -> bytes:
    print("begun", flush=True)
    try:
        await asyncio.sleep(60)
        return b"too late"
    except asyncio.CancelledError:
        print("cancelled", tachyon.current_call().is_cancelled(), flush=True)
        raise


async def stubborn_task(payload: memoryview) -> bytes:
    print("begun", flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass


async def serve() -> None:
    with tachyon.RpcServer(serving.path(), **serving.options()) as serving.server:
        serving.ready()
        await dispatcher.aserve(serving.server)


async def cancel() -> None:
    task = asyncio.create_task(serve())
    await asyncio.to_thread(sys.stdin.readline)
    for _ in range(5):
        task.cancel()
        await asyncio.sleep(0.01)
    try:
        await task
    except asyncio.CancelledError:
        print("ended", len(asyncio.all_tasks()), flush=True)


async def stop() -> None:
    # The server comes later.
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: serving.server.stop())  # noqa: PLW0108
    try:
        await serve()
    except tachyon.errors.HandlersLeftError as error:
        print("left", error.count, flush=True)
        os._exit(0)


def main(way: str) -> None:
    logging.disable()
    if way in {"bus", "server"}:
        dispatcher.handler(1)(patient)
        serving.serve(dispatcher)
    else:
        dispatcher.handler(1)(patient_task)
        dispatcher.handler(2)(stubborn_task)
        asyncio.run({"loop": serve, "cancel": cancel, "stop": stop}[way]())


if __name__ == "__main__":
    main(sys.argv[2])
