"""Handlers that count their runs in a file, for callers behind a link: `counted PATH WAY NOTES OPTIONS`.

The file outlives the process. A held call ends when the file `NOTES.go` exists.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import tachyon
from services import serving

notes = Path(sys.argv[3])
go = Path(f"{notes}.go")
dispatcher = tachyon.RpcDispatcher()


def note(word: str, token: str) -> None:
    with notes.open("a") as file:
        file.write(f"{word} {token}\n")


@dispatcher.handler(1)
async def hold(token: str) -> str:
    note("begun", token)
    try:
        while not go.exists():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        note("cancelled", token)
        raise
    note("ended", token)
    return token


@dispatcher.handler(2)
async def echo(payload: bytes) -> bytes:
    return payload


@dispatcher.handler(3)
async def run(token: str) -> str:
    note("run", token)
    return token


@dispatcher.handler(4)
async def items(token: str, count: tachyon.u32, size: tachyon.u32) -> AsyncIterator[bytes]:
    try:
        for number in range(count):
            yield number.to_bytes(4, "little") + bytes(size)
        while not go.exists():
            await asyncio.sleep(0.01)
    except (asyncio.CancelledError, GeneratorExit):
        note("cancelled", token)
        raise
    note("ended", token)


@dispatcher.handler(5)
async def taken(token: str, items: AsyncIterator[bytes]) -> tachyon.u64:
    note("begun", token)
    total = 0
    async for item in items:
        total += len(item)
    note("ended", token)
    return total


@dispatcher.handler(6)
async def origin(payload: bytes) -> str:
    return tachyon.current_call().metadata.get("link.origin", "")


if __name__ == "__main__":
    serving.serve(dispatcher)
