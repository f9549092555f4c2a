"""Coroutine functions that return the type of their payload; the server stops when standard input ends."""

import asyncio
import sys

from services import serving
from tachyon import RpcDispatcher, RpcServer

dispatcher = RpcDispatcher()


@dispatcher.handler(msg_type=1)
async def name(payload: bytes) -> bytes:
    await asyncio.sleep(0)
    return type(payload).__name__.encode() + payload


@dispatcher.handler(msg_type=2)
async def name_of_view(payload: memoryview) -> bytes:
    return type(payload).__name__.encode() + payload


async def main() -> None:
    with RpcServer(serving.path()) as server:
        serving.ready()
        task = asyncio.ensure_future(dispatcher.aserve(server))
        await asyncio.to_thread(sys.stdin.readline)
        server.stop()
        await task


if __name__ == "__main__":
    asyncio.run(main())
