"""A process that imports the package several times, and gets the classes of the last import."""

# mypy: disable-error-code="valid-type, misc, untyped-decorator, no-any-return"

import asyncio
import importlib
import logging
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

tachyon: Any = importlib.import_module("tachyon")


def expect(error: type[BaseException], function: Callable[..., object], *arguments: object) -> None:
    try:
        function(*arguments)
    except error:
        return
    raise SystemExit(f"{error} was not raised")


def listen() -> None:
    tachyon.RpcBus.listen(tempfile.mkdtemp() + "/s", 4096, 4096, timeout=0)


def import_anew() -> None:
    """Import the package once more."""
    global tachyon
    old = tachyon
    for name in [name for name in sys.modules if name.partition(".")[0] == "tachyon"]:
        del sys.modules[name]
    tachyon = importlib.import_module("tachyon")
    assert tachyon.TimedOutError is not old.TimedOutError


def call_and_serve() -> None:
    """Call an endpoint of the present import, by a thread and by a loop."""

    class Point(tachyon.Struct):
        x: tachyon.u64

    @tachyon.tachyon_rpc(1)
    def picky(point: Point) -> Point:
        if point.x == 0:
            raise tachyon.BadRequestError("not nothing")
        return point.replace(x=point.x + 1)

    async def ask(bus: Any) -> None:
        assert await picky.acall(bus, Point(x=3)) == Point(x=4)
        try:
            await picky.acall(bus, Point(x=0))
        except tachyon.RpcError as error:
            assert error.kind is tachyon.ErrorKind.BAD_REQUEST, error

    path = tempfile.mkdtemp() + "/s"
    dispatcher = tachyon.RpcDispatcher().register(picky)
    with tachyon.RpcServer(path) as server:
        thread = threading.Thread(target=dispatcher.serve_forever, args=(server,))
        thread.start()
        with tachyon.RpcBus.connect(path) as bus:
            assert picky.call(bus, Point(x=1)) == Point(x=2)
            assert type(bus.describe()) is tachyon.Description
            try:
                picky.call(bus, Point(x=0))
            except tachyon.RpcError as error:
                assert error.kind is tachyon.ErrorKind.BAD_REQUEST, error
            expect(tachyon.NoHandlerError, tachyon.tachyon_rpc(9)(lambda payload: payload).call, bus, b"")
        with tachyon.RpcBus.connect(path) as bus:
            asyncio.run(ask(bus))
        server.stop()
        thread.join()


if __name__ == "__main__":
    logging.disable()
    print("ready", flush=True)
    expect(tachyon.TimedOutError, listen)
    for _ in range(3):
        import_anew()
        expect(tachyon.TimedOutError, listen)
        expect(tachyon.errors.InvalidArgumentError, tachyon.Bus.listen, "/tmp/never", 3)
        call_and_serve()
    print("done")
