"""A server or a bus in an event loop, with handlers that wait: `PATH WAY LOOP OPTIONS`, LOOP `asyncio` or `uvloop`."""

import asyncio
import json
import logging
import sys
import time

import uvloop

import tachyon
from services import serving
from tachyon import RpcBus, RpcDispatcher, RpcServer, current_call

dispatcher = RpcDispatcher()
running = most = 0
"""Runs of `sleep`: now, and the most at a time."""


@dispatcher.handler(msg_type=1)
def echo(payload: memoryview) -> bytes:
    return payload.tobytes()


@dispatcher.handler(msg_type=2)
async def sleep(payload: memoryview) -> bytes:
    global running, most
    running += 1
    most = max(most, running)
    try:
        await asyncio.sleep(float(bytes(payload)))
    finally:
        running -= 1
    return b"slept"


@dispatcher.handler(msg_type=3)
async def fails(payload: memoryview) -> bytes:
    await asyncio.sleep(0)
    raise ValueError("on purpose")


@dispatcher.handler(msg_type=4)
async def introduce(payload: memoryview) -> bytes:
    await asyncio.sleep(0.01)
    call = await asyncio.to_thread(current_call)
    assert call.caller_id == current_call().caller_id
    return json.dumps([call.name, call.caller_id, call.caller_pid, call.correlation_id, call.remaining]).encode()


@dispatcher.handler(msg_type=5)
async def buffers(payload: memoryview) -> bytes:
    await asyncio.sleep(0)
    replies = (b"b", bytearray(b"ba"), payload, payload[1:], "text", bytes(1 << 20))
    return replies[payload[0]]  # type: ignore[return-value]


@dispatcher.handler(msg_type=6)
async def gives_up(payload: memoryview) -> bytes:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)
    return b""


@dispatcher.handler(msg_type=7)
async def stop(payload: memoryview) -> bytes:
    serving.server.stop()
    return str(most).encode()


@dispatcher.handler(msg_type=8)
async def echo_later(payload: memoryview) -> bytes:
    await asyncio.sleep(0.001)
    return payload  # type: ignore[return-value]


@dispatcher.handler(msg_type=9)
def introduce_now(payload: memoryview) -> bytes:
    return str(current_call().caller_id).encode()


async def serve_many() -> None:
    with RpcServer(serving.path()) as serving.server:
        serving.ready()
        await dispatcher.aserve(serving.server, **serving.options())
    print("served", len(asyncio.all_tasks()), running)


async def serve_one() -> None:
    serving.ready()
    with RpcBus.listen(serving.path(), 4096, 4096) as bus:
        try:
            await dispatcher.aserve(bus)
        except tachyon.PeerDeadError:
            print("dead")
        assert bus.closed
    print("done")


if __name__ == "__main__":
    logging.disable()
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[sys.argv[3]]
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run({"server": serve_many, "bus": serve_one}[sys.argv[2]]())
    except KeyboardInterrupt:
        print(time.monotonic(), running)
