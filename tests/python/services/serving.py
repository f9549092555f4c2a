"""The command line of the services, and the ways to serve a dispatcher."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

from tachyon import RpcBus, RpcDispatcher, RpcServer

if TYPE_CHECKING:
    from collections.abc import Callable

server: RpcServer
"""The server of this process, for its handlers."""

# In development mode a loop warns of every step that a busy machine makes long.
logging.getLogger("asyncio").setLevel(logging.ERROR)


def path() -> str:
    """Return the path to serve at."""
    return sys.argv[1]


def options() -> dict[str, Any]:
    """Return the options of the command line."""
    found: dict[str, Any] = json.loads(sys.argv[-1])
    return found


def ready() -> None:
    """Let the test go on."""
    print("ready", flush=True)


def serve(dispatcher: RpcDispatcher, settings: dict[str, Any] | None = None) -> None:
    """Serve in the way and with the options of the command line, or with other settings.

    Ways `bus`, `thread` and `bus_loop` serve one caller, `server` and `loop` many; `thread` serves outside the main
    thread, `loop` and `bus_loop` in an event loop. Option `quiet` drops all reports; `log` prints reports from a level
    up. The other options are those of `serve_forever`, `aserve`, `RpcBus.listen` and `RpcServer`.
    """
    global server
    way = sys.argv[2]
    settings = options() if settings is None else settings
    if settings.pop("quiet", False):
        logging.disable()
    if level := settings.pop("log", None):
        logging.basicConfig(stream=sys.stdout, format="%(name)s %(levelname)s %(message)s", level=level)
    how: dict[str, Any] = {
        name: settings.pop(name) for name in ("workers", "concurrency", "stop_on") if name in settings
    }
    rings = settings.pop("rings", (1 << 16, 1 << 16))
    if way in {"server", "loop"}:
        with RpcServer(path(), **settings) as server:
            ready()
            _serve(dispatcher, server, way, how)
            assert server.closed or way == "loop"
        return
    if settings.pop("described", False):
        settings["dispatcher"] = dispatcher
    ready()
    with RpcBus.listen(path(), *rings, **settings) as bus:
        _serve(dispatcher, bus, way, how)


def _serve(dispatcher: RpcDispatcher, target: RpcBus | RpcServer, way: str, how: dict[str, Any]) -> None:
    if way.endswith("loop"):
        asyncio.run(dispatcher.aserve(target, **how))
    elif way == "thread":
        thread = threading.Thread(target=dispatcher.serve_forever, args=[target])
        thread.start()
        thread.join()
    else:
        dispatcher.serve_forever(target, **how)


def as_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a coroutine function with the signature and the outcome of a function."""

    @functools.wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    return coroutine
