"""Signals during blocking calls: a handler that raises ends the call, and the interpreter ends in good order."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

import tachyon
from proc import wait_until_parked

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
    "send": "for_ever(lambda bus=tachyon.Bus.connect(path): bus.send(bytes(1000)))",
    "serve": "tachyon.RpcBus.connect(path).serve()",
    "wait": "(bus := tachyon.RpcBus.connect(path)).wait(bus.call(b'', 1))",
    "endpoint": "tachyon.tachyon_rpc(1)(len).call(tachyon.RpcBus.connect(path), b'')",
    "serve_once": "tachyon.RpcDispatcher().serve_once(tachyon.RpcBus.connect(path))",
    "serve_forever": "tachyon.RpcDispatcher().serve_forever(tachyon.RpcBus.connect(path))",
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_signal_ends_a_blocked_call(service: Callable[..., Peer], path: str, operation: str) -> None:
    child = service("blocked_call", OPERATIONS[operation])
    bus: object = None
    if operation not in ("listen", "connect"):
        kind = tachyon.Bus if OPERATIONS[operation].find("RpcBus") < 0 else tachyon.RpcBus
        bus = kind.listen(path, 4096) if kind is tachyon.Bus else kind.listen(path, 4096, 4096)
    wait_until_parked(child.process.pid)
    sent = time.monotonic()
    child.process.send_signal(signal.SIGUSR1)
    assert float(child.join()) - sent < 5
    del bus


def test_other_threads_run_while_one_waits(peer: Callable[[str], Peer], path: str) -> None:
    """A blocked call does not hold the GIL."""
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


def test_a_signal_ends_a_pure_spin(service: Callable[..., Peer], path: str) -> None:
    spinning = "(bus := tachyon.Bus.connect(path)).set_polling_mode(1); print('spins'); bus.recv()"
    child = service("blocked_call", spinning)
    with tachyon.Bus.listen(path, 4096):
        assert child.line() == "spins"
        time.sleep(0.05)
        sent = time.monotonic()
        child.process.send_signal(signal.SIGUSR1)
        assert float(child.join()) - sent < 5


def test_a_handler_that_uses_the_bus_it_interrupts(peer: Callable[[str], Peer], path: str) -> None:
    child = peer("""
        import signal

        def meddle(signum, frame):
            try:
                bus.recv()
            except tachyon.errors.BusyError as error:
                print("busy", flush=True)

        signal.signal(signal.SIGUSR1, meddle)
        with tachyon.Bus.connect(path) as bus:
            print("ready", flush=True)
            print(bus.recv().data)
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        assert child.line() == "ready"
        wait_until_parked(child.process.pid)
        child.process.send_signal(signal.SIGUSR1)
        assert child.line() == "busy"
        bus.send(b"after all")
    assert child.join() == "b'after all'\n"


def test_a_handler_that_closes_the_bus_it_interrupts(peer: Callable[[str], Peer], path: str) -> None:
    child = peer("""
        import signal
        signal.signal(signal.SIGUSR1, lambda *_: bus.close())
        with tachyon.Bus.connect(path) as bus:
            print("ready", flush=True)
            try:
                bus.recv()
            except tachyon.BusClosedError:
                print("closed")
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        assert child.line() == "ready"
        wait_until_parked(child.process.pid)
        child.process.send_signal(signal.SIGUSR1)
        assert child.join() == "closed\n"
        with pytest.raises(tachyon.PeerClosedError):
            bus.send(b"x")
