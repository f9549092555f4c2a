"""A server with async handlers: while one waits, the event loop runs others.

    python examples/python/asyncio_server.py serve /tmp/tachyon-weather.sock
    python examples/python/asyncio_server.py call /tmp/tachyon-weather.sock

Ctrl-C stops the server in good order. A caller may as well be written in Rust, or without asyncio: nothing shows how a
server does its work.
"""

import asyncio
import json
import signal
import sys
import time

from tachyon import RpcBus, RpcDispatcher, RpcServer, current_call, tachyon_rpc

CITIES = {"Oslo": 3.5, "Porto": 16.0, "Quito": 14.5}


@tachyon_rpc(msg_type=1)
async def temperature(city: memoryview) -> bytes:
    """Return a city's temperature from a slow source.

    Meanwhile the event loop serves other calls. The request is a copy, which stays valid until the handler returns.
    """
    call = current_call()
    await asyncio.sleep(0.1)
    name = str(city, "utf-8")
    return json.dumps({"city": name, "celsius": CITIES[name], "caller": call.caller_id}).encode()


@tachyon_rpc(msg_type=2)
def count(payload: memoryview) -> bytes:
    """Return the number of cities. The handler is short, so it is no coroutine."""
    return str(len(CITIES)).encode()


async def serve(socket: str) -> None:
    """Serve until a signal comes."""
    dispatcher = RpcDispatcher().register(temperature).register(count)
    async with RpcServer(socket) as server:
        print(f"serving at {socket}", flush=True)
        await dispatcher.aserve(server, concurrency=50, stop_on=(signal.SIGTERM, signal.SIGINT))
    print("stopped")


async def call(socket: str) -> None:
    """Ask for thirty temperatures, which takes hardly longer than one."""
    async with RpcBus.aconnect(socket) as caller:
        print(f"{(await count.acall(caller, b'', timeout=5)).decode()} cities")
        started = time.monotonic()
        asked = [temperature.acall(caller, city.encode(), timeout=5) for city in CITIES for _ in range(10)]
        replies = [json.loads(reply) for reply in await asyncio.gather(*asked)]
        together = time.monotonic() - started < 0.1 * len(asked) / 2
        print(f"{len(replies)} answers, {'together' if together else 'one after the other'}")
        for reply in replies[::10]:
            print(f"{reply['city']}: {reply['celsius']} degrees")


match sys.argv[1:]:
    case ["serve", socket]:
        asyncio.run(serve(socket))
    case ["call", socket]:
        asyncio.run(call(socket))
    case _:
        sys.exit("usage: asyncio_server.py serve|call SOCKET")
