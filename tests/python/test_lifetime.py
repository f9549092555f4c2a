"""Ends of a connection: close, death, fork, collection; and what a bus leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

import pytest

import tachyon
from forks import fork
from proc import descriptors, mappings

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer


@pytest.fixture
def idle(peer: Callable[[str], Peer]) -> Peer:
    """A peer that connects a one-way bus and waits for a line."""
    return peer("""
        with tachyon.Bus.connect(path) as bus:
            sys.stdin.readline()
    """)


def test_use_after_close(idle: Peer, path: str) -> None:
    assert idle
    bus = tachyon.Bus.listen(path, 4096)
    assert not bus.closed
    bus.close()
    bus.close()
    assert bus.closed
    for operation in (
        lambda: bus.send(b"x"),
        lambda: bus.recv(),
        lambda: bus.recv_zero_copy(),
        lambda: bus.send_zero_copy(1),
        lambda: bus.drain_batch(),
        lambda: next(bus),
        lambda: bus.set_numa_node(0),
        lambda: bus.set_polling_mode(1),
        lambda: bus.__enter__(),
    ):
        with pytest.raises(tachyon.BusClosedError, match="closed"):
            operation()


def test_rpc_use_after_close(peer: Callable[[str], Peer], path: str) -> None:
    peer("tachyon.RpcBus.connect(path); sys.stdin.readline()")
    with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
        pass
    for operation in (
        lambda: bus.call(b"x", 1),
        lambda: bus.call_zero_copy(1, 1),
        lambda: bus.wait(1),
        lambda: bus.serve(),
        lambda: bus.reply(1, b"x", 1),
        lambda: bus.reply_zero_copy(1, 1, 1),
        lambda: bus.set_numa_node(0),
        lambda: tachyon.RpcDispatcher().serve_forever(bus),
        lambda: tachyon.tachyon_rpc(1)(len).call(bus, b""),
    ):
        with pytest.raises(ValueError, match="closed"):
            operation()


def test_memory_goes_with_the_bus(idle: Peer, path: str) -> None:
    before = mappings()
    bus = tachyon.Bus.listen(path, 4096)
    assert mappings() > before
    bus.close()
    assert mappings() == before
    idle.tell("go")
    idle.join()


def test_memory_stays_for_open_guards(peer: Callable[[str], Peer], path: str) -> None:
    peer("""
        with tachyon.Bus.connect(path) as bus:
            bus.send(b"kept")
    """)
    before = mappings()
    bus = tachyon.Bus.listen(path, 4096)
    rx = bus.recv_zero_copy()
    view = memoryview(rx)
    bus.close()
    assert mappings() > before
    assert view == b"kept"
    view.release()
    rx.__exit__(None, None, None)
    assert mappings() == before


def test_a_collected_bus_closes(peer: Callable[[str], Peer], path: str) -> None:
    receiver = peer("""
        with tachyon.Bus.listen(path, 4096) as bus:
            print(len(list(bus)))
    """)
    bus = tachyon.Bus.connect(path)
    bus.send(b"x")
    ended = weakref.ref(bus)
    del bus
    gc.collect()
    assert ended() is None
    assert receiver.join() == "1\n"


def test_a_killed_peer(peer: Callable[[str], Peer], path: str) -> None:
    sender = peer("""
        bus = tachyon.Bus.connect(path)
        for n in range(3):
            bus.send(b"committed", n)
        print("sent", flush=True)
        time.sleep(60)
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        sender.line()
        sender.kill()
        assert [bus.recv(timeout=10).type_id for _ in range(3)] == [0, 1, 2]
        with pytest.raises(tachyon.PeerDeadError):
            bus.recv()
        with pytest.raises(ConnectionError):
            list(bus)


@pytest.mark.parametrize("operation", ["recv", "wait", "serve", "call", "serve_forever"])
def test_death_ends_a_wait_at_once(peer: Callable[[str], Peer], path: str, operation: str) -> None:
    kind = "Bus" if operation == "recv" else "RpcBus"
    victim = peer(f"""
        bus = tachyon.{kind}.connect(path)
        print("connected", flush=True)
        time.sleep(60)
    """)
    bus = tachyon.Bus.listen(path, 4096) if kind == "Bus" else tachyon.RpcBus.listen(path, 4096, 4096)
    victim.line()
    threading.Timer(0.2, victim.kill).start()
    operations = {
        "recv": lambda: bus.recv(),
        "wait": lambda: bus.wait(bus.call(b"", 1)),
        "serve": lambda: bus.serve(),
        "call": lambda: tachyon.tachyon_rpc(1)(len).call(bus, b""),
        "serve_forever": lambda: tachyon.RpcDispatcher().serve_forever(bus),
    }
    started = time.monotonic()
    with pytest.raises(tachyon.PeerDeadError):
        operations[operation]()
    assert 0.1 < time.monotonic() - started < 5


@pytest.mark.parametrize("how", ["serve_forever", "aserve", "async_handler"])
@pytest.mark.parametrize("killed", [True, False])
def test_requests_before_the_end_are_served(peer: Callable[[str], Peer], path: str, how: str, killed: bool) -> None:
    caller = peer("""
        bus = tachyon.RpcBus.connect(path)
        for n in range(20):
            bus.call(b"%d" % n, 1)
        print("sent", flush=True)
        sys.stdin.readline()
        bus.close()
    """)
    served: list[bytes] = []
    finished: list[bytes] = []
    dispatcher = tachyon.RpcDispatcher()

    def note(payload: memoryview) -> bytes:
        served.append(bytes(payload))
        return bytes(100)

    async def note_later(payload: memoryview) -> bytes:
        note(payload)
        await asyncio.sleep(0.01)
        finished.append(bytes(payload))
        return b""

    dispatcher.handler(1)(note_later if how == "async_handler" else note)
    # The reverse ring has room for one such reply.
    with tachyon.RpcBus.listen(path, 4096, 128) as bus:
        assert caller.line() == "sent"
        if killed:
            caller.kill()
        else:
            caller.tell("close")
            caller.join()
        with pytest.raises(tachyon.PeerDeadError) if killed else contextlib.nullcontext():
            if how == "serve_forever":
                dispatcher.serve_forever(bus)
            else:
                asyncio.run(dispatcher.aserve(bus))
    if how == "async_handler":
        # The caller is gone: begun handlers are cancelled, and no other handler begins.
        assert served == [b"%d" % n for n in range(len(served))]
        assert not finished
    else:
        assert served == [b"%d" % n for n in range(20)]


def test_an_orderly_close_is_told_apart(peer: Callable[[str], Peer], path: str) -> None:
    peer("tachyon.RpcBus.connect(path).close()")
    with tachyon.RpcBus.listen(path, 4096, 4096) as bus, pytest.raises(tachyon.PeerClosedError):
        bus.serve()


def test_close_from_another_thread_ends_a_wait(idle: Peer, path: str) -> None:
    assert idle
    bus = tachyon.Bus.listen(path, 4096)
    threading.Timer(0.1, bus.close).start()
    with pytest.raises(tachyon.BusClosedError):
        bus.recv()
    assert bus.closed


def test_a_forked_child_is_refused(idle: Peer, path: str) -> None:
    bus = tachyon.Bus.listen(path, 4096)
    child = fork()
    if child == 0:
        code = 1
        try:
            bus.recv(timeout=1)
        except tachyon.BusClosedError as error:
            code = 42 if "fork" in str(error) else 2
        bus.close()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    with pytest.raises(tachyon.TimedOutError):  # the close of the child left the parent's bus open
        bus.recv(timeout=0.05)
    idle.tell("go")
    with pytest.raises(tachyon.PeerClosedError):
        bus.recv()
    bus.close()


def test_a_forked_child_leaves_the_message_of_its_parent_alone(peer: Callable[[str], Peer], path: str) -> None:
    sender = peer("""
        with tachyon.Bus.connect(path) as bus:
            bus.send(b"1" * 60)
            bus.send(b"2" * 60)
            print("sent both")
    """)
    # The ring has room for one such message: the second message overwrites the first after its release.
    with tachyon.Bus.listen(path, 64) as bus:
        with bus.recv_zero_copy() as rx, memoryview(rx) as view:
            child = fork()
            if child == 0:
                view.release()
                rx.__exit__(None, None, None)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            time.sleep(0.1)
            assert view.tobytes() == b"1" * 60
        assert bus.recv().data == b"2" * 60
        assert sender.line() == "sent both"


def test_nothing_leaks(service: Callable[..., Peer], path: str) -> None:
    """Descriptors and memory stay level over many guards, views and failures."""
    service("basics", "bus", rings=(1 << 14, 1 << 14), quiet=True)
    endpoint, missing = tachyon.tachyon_rpc(1)(len), tachyon.tachyon_rpc(99)(len)
    with tachyon.RpcBus.connect(path) as bus:

        def use() -> None:
            for _ in range(2000):
                endpoint.call(bus, b"x" * 200)
                endpoint.call(bus, b"x", lambda view: view[0])
                with bus.wait(bus.call(b"y" * 100, 1)) as rx, memoryview(rx):
                    pass
                with pytest.raises(tachyon.NoHandlerError):
                    missing.call(bus, b"")

        use()
        gc.collect()
        before = descriptors()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        use()
        gc.collect()
        assert descriptors() == before
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 2048


def test_endpoints_in_a_cycle_are_collected() -> None:
    def tangle() -> tuple[weakref.ref, weakref.ref]:
        dispatcher = tachyon.RpcDispatcher()

        @dispatcher.handler(1)
        def handler(payload: memoryview) -> bytes:
            return bytes(len(dispatcher))

        return weakref.ref(dispatcher), weakref.ref(handler)

    gone = tangle()
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_an_interpreter_that_ends_in_a_wait(peer: Callable[[str], Peer]) -> None:
    """A daemon thread in a blocking call neither keeps the interpreter from its end nor crashes it."""
    ending = peer("""
        import threading
        ready = threading.Event()
        def wait():
            bus = tachyon.Bus.listen(path, 4096)
            ready.set()
            bus.recv()
        threading.Thread(target=wait, daemon=True).start()
        peer = tachyon.Bus.connect(path)
        ready.wait()
        time.sleep(0.1)
        print("ending")
    """)
    assert ending.join() == "ending\n"


def test_sigint_reaches_the_default_handler(path: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys, tachyon; tachyon.Bus.listen(sys.argv[1], 4096)", path],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not os.path.lexists(path):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=10)
    assert "KeyboardInterrupt" in err
    assert child.returncode == -signal.SIGINT
    assert not os.path.lexists(path)
