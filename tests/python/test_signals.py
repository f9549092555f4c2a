"""Ctrl-C ends every blocking call within 100 ms, and leaves the interpreter in order."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

OPERATIONS = {
    "listen": "tachyon.Bus.listen(path, 4096)",
    "connect": "tachyon.Bus.connect(path, timeout=None)",
    "recv": "tachyon.Bus.connect(path).recv()",
    "recv_zero_copy": "tachyon.Bus.connect(path).recv_zero_copy()",
    "iterate": "next(tachyon.Bus.connect(path))",
    "drain_batch": "tachyon.Bus.connect(path).drain_batch()",
    "send": "fill(tachyon.Bus.connect(path))",
    "serve": "tachyon.RpcBus.connect(path).serve()",
    "wait": "(bus := tachyon.RpcBus.connect(path)).wait(bus.call(b'', 1))",
    "endpoint": "tachyon.tachyon_rpc(1)(len).call(tachyon.RpcBus.connect(path), b'')",
    "serve_once": "tachyon.RpcDispatcher().serve_once(tachyon.RpcBus.connect(path))",
    "serve_forever": "tachyon.RpcDispatcher().serve_forever(tachyon.RpcBus.connect(path))",
}

BLOCKED = """
import signal, threading

def fill(bus):
    while True:
        bus.send(bytes(1000))

interrupted = []

def handler(signum, frame):
    interrupted.append(time.monotonic())
    raise KeyboardInterrupt

signal.signal(signal.SIGUSR1, handler)
print("ready", flush=True)
try:
    {operation}
except KeyboardInterrupt:
    print(time.monotonic())
"""


def threads_blocked(pid: int) -> bool:
    """Whether the process sleeps in a system call that waits."""
    from pathlib import Path

    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_signal_ends_it(peer: Callable[[str], Peer], path: str, operation: str) -> None:
    child = peer(BLOCKED.format(operation=OPERATIONS[operation]))
    assert child.line() == "ready"
    bus: object = None
    if operation not in ("listen", "connect"):
        kind = tachyon.Bus if OPERATIONS[operation].find("RpcBus") < 0 else tachyon.RpcBus
        bus = kind.listen(path, 4096) if kind is tachyon.Bus else kind.listen(path, 4096, 4096)
    time.sleep(0.2)
    assert threads_blocked(child.process.pid)
    sent = time.monotonic()
    child.process.send_signal(signal.SIGUSR1)
    assert float(child.join()) - sent < 0.1
    del bus


def test_other_threads_run_while_one_waits(peer: Callable[[str], Peer], path: str) -> None:
    """A blocked call holds no lock of the interpreter."""
    peer("""
        with tachyon.Bus.connect(path) as bus:
            sys.stdin.readline()
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        ended = threading.Event()

        def wait() -> None:
            with pytest.raises(tachyon.TimedOutError):
                bus.recv(timeout=0.3)
            ended.set()

        thread = threading.Thread(target=wait)
        thread.start()
        turns = 0
        while not ended.is_set():
            turns += 1
            time.sleep(0.001)
        thread.join()
    assert turns > 50


def test_a_handler_that_returns_lets_the_call_go_on(peer: Callable[[str], Peer], path: str) -> None:
    child = peer("""
        import signal
        signal.signal(signal.SIGUSR1, lambda *_: print("signal", flush=True))
        print("ready", flush=True)
        with tachyon.Bus.listen(path, 4096) as bus:
            print(bus.recv().data)
    """)
    assert child.line() == "ready"
    with tachyon.Bus.connect(path) as bus:
        time.sleep(0.1)
        child.process.send_signal(signal.SIGUSR1)
        assert child.line() == "signal"
        bus.send(b"after the signal")
    assert child.join() == "b'after the signal'\n"
