"""An interpreter that ends while daemon threads block and objects are in use: `PATH ENDING OPTIONS`."""

import atexit
import os
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any

import tachyon
from services import serving

path = serving.path()
begun = threading.Semaphore(0)
endpoint = tachyon.tachyon_rpc(1)(len)
dispatcher = tachyon.RpcDispatcher()
dispatcher.handler(1)(lambda view: view.tobytes())
kept: list[Any] = []


class Late:
    """Keeps the interpreter busy after its end began, so that blocked threads wake up meanwhile."""

    def __del__(
        self, sleep: Callable[[float], None] = time.sleep, write: Callable[[int, bytes], int] = os.write
    ) -> None:
        sleep(0.3)
        write(1, b"late\n")


def daemon(target: Callable[..., object], *args: object) -> None:
    threading.Thread(target=target, args=args, daemon=True).start()


def keep(thing: Any) -> Any:
    """Keep an object for the rest of the interpreter, and go on with the ending."""
    kept.append(thing)
    begun.release()
    return thing


def recv() -> object:
    daemon(lambda: keep(tachyon.Bus.listen(path, 4096)).recv())
    return tachyon.Bus.connect(path)


def send() -> object:
    def fill() -> None:
        bus = tachyon.Bus.listen(path, 4096)
        begun.release()
        while True:
            bus.send(bytes(100))

    daemon(fill)
    return tachyon.Bus.connect(path)


def listen() -> None:
    def run() -> None:
        begun.release()
        tachyon.Bus.listen(path, 4096)

    daemon(run)


def connect() -> None:
    def run() -> None:
        begun.release()
        tachyon.Bus.connect(path, timeout=None)

    daemon(run)


def serve() -> object:
    daemon(lambda: keep(tachyon.RpcBus.listen(path, 4096, 4096)).serve())
    return tachyon.RpcBus.connect(path)


def called() -> tachyon.RpcBus:
    """Connect, and call once."""
    bus = tachyon.RpcBus.connect(path)
    endpoint.call(bus, b"")
    begun.release()
    return bus


def serve_forever() -> object:
    daemon(lambda: dispatcher.serve_forever(tachyon.RpcBus.listen(path, 4096, 4096)))
    return called()


def server() -> object:
    daemon(lambda: dispatcher.serve_forever(tachyon.RpcServer(path)))
    return called()


def workers() -> object:
    daemon(lambda: dispatcher.serve_forever(tachyon.RpcServer(path), workers=3))
    return called()


def workers_under_load() -> None:
    def hammer() -> None:
        with tachyon.RpcBus.connect(path) as bus:
            begun.release()
            while True:
                endpoint.call(bus, bytes(100))

    daemon(lambda: dispatcher.serve_forever(tachyon.RpcServer(path), workers=3))
    daemon(hammer)


def wait() -> object:
    def listen_only() -> None:
        keep(tachyon.RpcBus.listen(path, 4096, 4096))
        time.sleep(60)

    daemon(listen_only)
    bus = tachyon.RpcBus.connect(path)
    daemon(lambda bus: bus.wait(bus.call(b"", 1)), bus)
    kept.extend([bus, kept])
    sys.modules["keeps"] = kept  # type: ignore[assignment]
    return bus


def an_open_guard() -> object:
    def send_one() -> None:
        with tachyon.Bus.connect(path) as bus:
            bus.send(bytes(100))
            begun.release()
            time.sleep(60)

    daemon(send_one)
    bus = tachyon.Bus.listen(path, 4096)
    rx = bus.recv_zero_copy()
    view = memoryview(rx)
    kept.extend([kept, rx, view, bus])
    return bus, rx, view


def a_guard_that_was_never_left() -> object:
    daemon(lambda: keep(tachyon.Bus.connect(path)).recv())
    bus = tachyon.Bus.listen(path, 4096)
    tx = bus.send_zero_copy(100)
    view = memoryview(tx)
    view[:3] = b"abc"
    return bus, tx, view


def an_exit_handler() -> object:
    daemon(lambda: dispatcher.serve_forever(keep(tachyon.RpcBus.listen(path, 4096, 4096))))
    bus = tachyon.RpcBus.connect(path)
    atexit.register(lambda: endpoint.call(bus, b"last words", timeout=10))
    return bus


if __name__ == "__main__":
    serving.ready()
    late = types.ModuleType("late")
    late.late = Late()  # type: ignore[attr-defined]
    sys.modules["late"] = late
    del late, Late
    # The objects of the ending stay names of this module until the interpreter clears it.
    left = globals()[sys.argv[2]]()
    begun.acquire()
    time.sleep(0.05)
    print("ending", flush=True)
