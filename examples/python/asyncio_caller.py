"""A thousand calls in flight from one event loop, over one connection.

    python examples/python/asyncio_caller.py

Here the server is a thread, so that the example is one program. Usually it is another process.
"""

import asyncio
import tempfile
import threading
import time

from tachyon import RpcBus, RpcDispatcher, RpcServer, tachyon_rpc


@tachyon_rpc(msg_type=1)
def square(number: memoryview) -> bytes:
    """Square a number."""
    return (int.from_bytes(number, "little") ** 2).to_bytes(8, "little")


@tachyon_rpc(msg_type=2)
def ponder(payload: memoryview) -> bytes:
    """Take a long time."""
    time.sleep(0.2)
    return b""


async def compute(caller: RpcBus, number: int) -> int:
    """Return the square of a number, computed by the server."""
    reply = await square.acall(caller, number.to_bytes(8, "little"))
    return int.from_bytes(reply, "little")


async def call(server: RpcServer) -> None:
    """Make concurrent calls."""
    async with RpcBus.aconnect(server.path) as caller:
        squares = await asyncio.gather(*(compute(caller, number) for number in range(1000)))
        print(f"1000 squares add up to {sum(squares)}")

        # A call can be cancelled or time out. The connection stays usable.
        try:
            await ponder.acall(caller, b"", timeout=0.02)
        except TimeoutError:
            print("ponder: too slow, given up")
        print(f"12 squared is {await compute(caller, 12)}")


def main() -> None:
    """Run the server and the event loop that calls it."""
    with tempfile.TemporaryDirectory() as directory, RpcServer(f"{directory}/squares.sock") as server:
        dispatcher = RpcDispatcher().register(square).register(ponder)
        service = threading.Thread(target=dispatcher.serve_forever, args=(server,))
        service.start()
        asyncio.run(call(server))
        server.stop()
        service.join()


if __name__ == "__main__":
    main()
