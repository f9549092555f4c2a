"""Four threads whose loops serve for the first time at once: `PATH`."""

import asyncio
import threading

import tachyon
from services import serving

start = threading.Barrier(4)


def serve(path: str) -> None:
    async def served() -> None:
        async with tachyon.RpcServer(path) as server:
            start.wait()
            task = asyncio.create_task(tachyon.RpcDispatcher().aserve(server))
            await asyncio.sleep(0.1)
            server.stop()
            await task
            print("served", flush=True)

    asyncio.run(served())


serving.ready()
threads = [threading.Thread(target=serve, args=(f"{serving.path()}.{n}",)) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
