"""A member of a chat: sends the lines of its input, and prints the lines of all. `chat_caller.rs` does the same.

python examples/python/chat_caller.py SOCKET NAME
"""

import asyncio
import sys

from chat_api import Line, enter

import tachyon


async def send_input(chat: tachyon.AsyncStream[Line, str, None]) -> None:
    """Send the lines of the standard input."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async for line in reader:
        if not await chat.send(line.decode().rstrip("\n")):
            return  # the server has ended the stream
    await chat.end()


async def main(socket: str, name: str) -> None:
    """Be in the room until the input ends."""
    async with tachyon.RpcBus.aconnect(socket) as bus, enter.astream(bus, name) as chat:
        sending = asyncio.create_task(send_input(chat))
        async for line in chat:
            print(f"{line.author}: {line.text}", flush=True)
        sending.cancel()


if __name__ == "__main__":
    match sys.argv[1:]:
        case [socket, name]:
            asyncio.run(main(socket, name))
        case _:
            sys.exit(f"usage: {sys.argv[0]} SOCKET NAME")
