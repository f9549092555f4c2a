"""Connections and listeners with few free descriptors: `PATH caller|listener OPTIONS`; each outcome is printed."""

import os
import resource
import sys
import time
from collections.abc import Callable

from services import serving
from tachyon import Bus, RpcBus, RpcServer, TimedOutError, tachyon_rpc
from tachyon.errors import SystemCallError

echo = tachyon_rpc(1)(len)


def with_descriptors_left(left: int, operation: Callable[[], Bus | RpcBus | RpcServer]) -> str:
    """Call while only so many more descriptors can be opened; return the outcome in a word."""
    filled = [os.open("/dev/null", os.O_RDONLY) for _ in range(64)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(filled) + 1 + left, hard))
    try:
        operation().close()
        outcome = "fine"
    except SystemCallError as error:
        outcome = "told" if "descriptor" in str(error) else str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in filled:
            os.close(descriptor)
    return outcome


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def assert_settles(before: int, left: int) -> None:
    """Wait for the thread that closes a socket which still holds descriptors of a peer."""
    end = time.monotonic() + 10
    while open_descriptors() != before:
        assert time.monotonic() < end, (left, open_descriptors(), before)
        time.sleep(0.001)


def connect_often(path: str) -> None:
    before = open_descriptors()
    for left in range(12):
        print(with_descriptors_left(left, lambda: RpcBus.connect(path, timeout=5)))
        assert_settles(before, left)
    with RpcBus.connect(path) as bus:
        print(echo.call(bus, b"after", timeout=10))


def listen_often(path: str) -> None:
    before = open_descriptors()
    for left in range(3):
        for listen in (lambda: Bus.listen(path, 4096, timeout=0), lambda: RpcServer(path)):
            try:
                print(with_descriptors_left(left, listen))
            except TimedOutError:
                print("fine")
        assert open_descriptors() == before, left
        assert not os.path.lexists(path)


if __name__ == "__main__":
    serving.ready()
    {"caller": connect_often, "listener": listen_often}[sys.argv[2]](serving.path())
