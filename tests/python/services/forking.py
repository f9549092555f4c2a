"""Processes that fork beside an event loop, in a handler, or beside open objects: `PATH PLACE NUMBER OPTIONS`."""

import asyncio
import gc
import os
import signal
import sys
import time

import tachyon
from services import serving

path = serving.path()
dispatcher = tachyon.RpcDispatcher()


def echo(view: memoryview) -> bytes:
    return view.tobytes()


def fork(view: memoryview) -> bytes:
    child = os.fork()
    if child == 0:
        return b"the child's"
    return b"%d" % os.waitpid(child, 0)[1]


async def serve_and_fork(turns: float) -> None:
    """Fork so many turns of the loop after the first admission; serve until a line comes on standard input."""
    dispatcher.handler(1)(echo)
    server = tachyon.RpcServer(path)
    task = asyncio.create_task(dispatcher.aserve(server))
    serving.ready()
    # This task runs in each turn of the loop before the loop polls the server.
    while server.callers == 0:
        await asyncio.sleep(0)
    for _ in range(int(turns)):
        await asyncio.sleep(0)
    child = os.fork()
    if child == 0:
        try:
            await task
        except tachyon.BusClosedError:
            # The child has dropped its copy of the server. asyncio owns the loop, which the child must not close.
            os._exit(0)
        os._exit(1)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    print("child ended with", status, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    server.stop()
    await task
    print("stopped", flush=True)


async def call_and_fork(late: float) -> None:
    """Fork while a call is in flight; the child looks at its copy of the call `late` seconds after."""
    endpoint = tachyon.tachyon_rpc(1)(len)
    serving.ready()
    bus = tachyon.RpcBus.connect(path)
    slow = asyncio.create_task(endpoint.acall(bus, b"slow"))
    await asyncio.sleep(0.2)
    child = os.fork()
    if child == 0:
        code = 1
        signal.alarm(20)
        time.sleep(late)
        try:
            await slow
        except tachyon.BusClosedError as error:
            code = int(error.safe_to_retry)
        bus.close()
        del bus
        gc.collect()
        os._exit(code)
    first = await slow
    assert os.waitpid(child, 0)[1] == 0
    print(first, await endpoint.acall(bus, b"next"))


def exit_in_the_child() -> None:
    """Leave the child by an ordinary exit, and go on in the parent with a bus, a guard and a server."""
    serving.ready()
    bus = tachyon.Bus.listen(path, 4096)
    server = tachyon.RpcServer(path + ".server")
    rx = bus.recv_zero_copy()
    child = os.fork()
    if child == 0:
        bus.close()
        server.close()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert bytes(rx) == bytes(100)
    rx.__exit__(None, None, None)
    assert [bus.recv(timeout=10).type_id for _ in range(999)] == list(range(1, 1000))
    assert os.path.exists(server.path)
    server.close()
    print("whole")


def fork_in_a_handler() -> None:
    dispatcher.handler(1)(fork)
    with tachyon.RpcServer(path) as server:
        serving.ready()
        try:
            dispatcher.serve_forever(server)
        except tachyon.BusClosedError:
            pass


if __name__ == "__main__":
    if sys.argv[2] == "handler":
        fork_in_a_handler()
    elif sys.argv[2] == "exit":
        exit_in_the_child()
    else:
        places = {"serving loop": serve_and_fork, "calling loop": call_and_fork}
        asyncio.run(places[sys.argv[2]](float(sys.argv[3])))
