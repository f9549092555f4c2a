"""A chat on asyncio: each member is a task. `chat_server.rs` is the same on tokio.

python examples/python/chat_server.py SOCKET
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

from chat_api import Line

import tachyon

BEHIND = 100
"""Lines that a slow member may be behind. It misses the oldest ones then, and keeps no other member waiting."""

dispatcher = tachyon.RpcDispatcher()
members: set[asyncio.Queue[Line | None]] = set()


def say(author: str, text: str) -> None:
    """Bring a line to all members."""
    for lines in members:
        if lines.full():
            lines.get_nowait()
        lines.put_nowait(Line(author=author, text=text))


@dispatcher.handler(msg_type=1)
async def enter(name: str, items: AsyncIterator[str]) -> AsyncIterator[Line]:
    """Enter the room until the caller ends its lines; all members receive the lines of all."""
    lines: asyncio.Queue[Line | None] = asyncio.Queue(BEHIND)

    async def listen() -> None:
        async for text in items:
            say(name, text)
        await lines.put(None)

    members.add(lines)
    say(name, "is here")
    listening = asyncio.create_task(listen())
    try:
        while (line := await lines.get()) is not None:
            yield line
    finally:
        # At the end of the caller's lines, and where the handler waits when its stream is cancelled.
        listening.cancel()
        members.remove(lines)
        say(name, "has left")


async def main() -> None:
    """Serve until a signal comes."""
    if len(sys.argv) == 1:
        sys.exit(f"usage: {sys.argv[0]} SOCKET")
    async with tachyon.RpcServer(sys.argv[1]) as server:
        print(f"serving at {sys.argv[1]}", flush=True)
        await dispatcher.aserve(server, stop_on=(signal.SIGTERM, signal.SIGINT))
    print("stopped")


if __name__ == "__main__":
    asyncio.run(main())
