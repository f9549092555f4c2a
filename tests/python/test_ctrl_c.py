"""Ctrl-C, a real SIGINT from outside, ends every blocking call of the package within 100 ms."""

from __future__ import annotations

import inspect
import os
import select
import shutil
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import tachyon
from conftest import Peer

CHILD = """
import asyncio, threading
from tachyon import Bus, Pool, RpcBus, RpcDispatcher, RpcServer, tachyon_rpc

signal = __import__("signal")
signal.signal(signal.SIGINT, signal.default_int_handler)
dispatcher = RpcDispatcher()
endpoint = tachyon_rpc(1)(len)

@dispatcher.handler(msg_type=1)
def long_reply(payload):
    return bytes(60)

def for_ever(operation):
    while True:
        operation()

def answer(bus, reply):
    while True:
        with bus.serve() as rx:
            cid = rx.correlation_id
        reply(cid)

def place(room):
    with room as tx:
        pass

def close_while_serving(path):
    server = RpcServer(path)
    busy = threading.Event()

    @dispatcher.handler(msg_type=2)
    def sleep(payload):
        busy.set()
        time.sleep(60)

    threading.Thread(target=dispatcher.serve_forever, args=(server,), daemon=True).start()
    RpcBus.connect(path).call(b"", 2)
    busy.wait()
    server.close()

async def acall(bus):
    await endpoint.acall(bus, b"")

async def acall_again(path):
    server = RpcServer(path)
    serving = asyncio.create_task(dispatcher.serve_async(server))
    bus = await asyncio.to_thread(RpcBus.connect, path, reconnect=True, timeout=None)
    await endpoint.acall(bus, b"")
    server.stop()
    await serving
    # The loop has to see that the bus is closed, too.
    await asyncio.sleep(0.1)
    print("gone", flush=True)
    await endpoint.acall(bus, b"")

def lend_twice(pool):
    with pool.caller(), pool.caller():
        pass

print("ready", flush=True)
try:
    {operation}
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
    import os
    os._exit({status})
"""

# What the child does, and what this side puts at the path: a `Bus` that does nothing, an `RpcBus` that does nothing,
# an `RpcBus` that calls and takes no replies, a server that nobody serves, or nothing.
OPERATIONS = {
    "Bus.listen": ("Bus.listen(path, 4096)", None),
    "Bus.connect": ("Bus.connect(path, timeout=None)", None),
    "Bus.send": ("for_ever(lambda bus=Bus.connect(path): bus.send(bytes(1000)))", "bus"),
    "Bus.send_zero_copy": ("for_ever(lambda bus=Bus.connect(path): place(bus.send_zero_copy(1000)))", "bus"),
    "Bus.recv": ("Bus.connect(path).recv()", "bus"),
    "Bus.recv_zero_copy": ("Bus.connect(path).recv_zero_copy()", "bus"),
    "Bus.drain_batch": ("Bus.connect(path).drain_batch()", "bus"),
    "Bus.__next__": ("next(Bus.connect(path))", "bus"),
    "RpcBus.listen": ("RpcBus.listen(path, 4096, 4096)", None),
    "RpcBus.connect": ("RpcBus.connect(path, timeout=None)", None),
    "RpcBus.rpc_listen": ("RpcBus.rpc_listen(path, 4096, 4096)", None),
    "RpcBus.rpc_connect": ("RpcBus.rpc_connect(path, timeout=None)", None),
    "RpcBus.call": ("for_ever(lambda bus=RpcBus.connect(path): bus.call(bytes(1000), 1))", "rpc"),
    "RpcBus.call_zero_copy": (
        "for_ever(lambda bus=RpcBus.connect(path): place(bus.call_zero_copy(1000, 1)))",
        "rpc",
    ),
    "RpcBus.wait": ("(bus := RpcBus.connect(path)).wait(bus.call(b'', 1))", "rpc"),
    "RpcBus.serve": ("RpcBus.connect(path).serve()", "rpc"),
    "RpcBus.reply": ("bus = RpcBus.connect(path); answer(bus, lambda cid: bus.reply(cid, bytes(60), 1))", "calls"),
    "RpcBus.reply_zero_copy": (
        "bus = RpcBus.connect(path); answer(bus, lambda cid: place(bus.reply_zero_copy(cid, 60, 1)))",
        "calls",
    ),
    "RpcBus.ping": ("RpcBus.connect(path).ping()", "rpc"),
    "RpcBus.describe": ("RpcBus.connect(path).describe()", "rpc"),
    "RpcEndpoint.call": ("endpoint.call(RpcBus.connect(path), b'')", "rpc"),
    "RpcEndpoint.acall": ("asyncio.run(acall(RpcBus.connect(path)))", "rpc"),
    "RpcEndpoint.acall, connecting again": ("asyncio.run(acall_again(path))", None),
    "RpcDispatcher.serve_once": ("dispatcher.serve_once(RpcBus.connect(path))", "rpc"),
    "RpcDispatcher.serve_forever": ("dispatcher.serve_forever(RpcBus.connect(path))", "rpc"),
    "RpcDispatcher.serve_forever, replying": ("dispatcher.serve_forever(RpcBus.connect(path))", "calls"),
    "RpcDispatcher.serve_forever, server": ("dispatcher.serve_forever(RpcServer(path))", None),
    "RpcDispatcher.serve_forever, workers": ("dispatcher.serve_forever(RpcServer(path), workers=3)", None),
    "RpcDispatcher.serve_async": ("asyncio.run(dispatcher.serve_async(RpcServer(path)))", None),
    "RpcServer.close": ("close_while_serving(path)", None),
    "Pool.caller": ("lend_twice(Pool(path, 1))", "rpc"),
    "Pool.caller, connecting": ("lend_twice(Pool(path, 1, timeout=None))", None),
    "Pool.call": ("Pool(path, 1).call(endpoint, b'')", "rpc"),
    "Pool.acall": ("asyncio.run(Pool(path, 1).acall(endpoint, b''))", "rpc"),
    "Pool.acall, connecting": ("asyncio.run(Pool(path, 1, timeout=None).acall(endpoint, b''))", None),
    "ping": ("tachyon._tachyon.ping(path, 60.0)", "server"),
}

PATIENCE = 20.0
"""Seconds after which a child is given up."""

ENDS_AT_ONCE = {"RpcServer.__init__", "Pool.close"}


def take_place(what: str | None, path: str, stack: ExitStack) -> None:
    """Be the other side, as far as the child needs one."""
    if what == "bus":
        stack.enter_context(tachyon.Bus.listen(path, 4096))
    elif what == "server":
        # It lets nobody in, since nobody serves it.
        stack.enter_context(tachyon.RpcServer(path))
    elif what == "rpc":
        stack.enter_context(tachyon.RpcBus.listen(path, 4096, 4096))
    elif what == "calls":
        # A ring that holds one such reply; the others wait.
        bus = stack.enter_context(tachyon.RpcBus.listen(path, 4096, 64))
        for _ in range(5):
            bus.call(b"", 1)


def wait_until_parked(pid: int) -> None:
    """Return when all threads of the process have slept for a while."""
    parked = 0
    for _ in range(1000):
        states = [task.read_text().rsplit(")", 1)[1].split()[0] for task in Path(f"/proc/{pid}/task").glob("*/stat")]
        parked = parked + 1 if set(states) == {"S"} else 0
        if parked == 10:
            return
        time.sleep(0.01)
    pytest.fail("the child never parked")


def next_line(child: Peer) -> str:
    """Return the next line of a child that may be stuck."""
    assert child.process.stdout is not None
    ready, _, _ = select.select([child.process.stdout], [], [], PATIENCE)
    assert ready, "the child is stuck"
    return child.line()


def seconds_to_end(operation: str) -> float:
    """Interrupt an operation of a child; return the time from the signal to its exception."""
    code, what = OPERATIONS[operation]
    directory = tempfile.mkdtemp(prefix="tachyon-")
    path = str(Path(directory, "bus.sock"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        # A plain exit would wait for threads of the child's that have nothing to do with what is measured.
        child = Peer(CHILD.replace("{operation}", code).replace("{status}", "0"), path)
        stack.callback(child.discard)
        assert next_line(child) == "ready"
        take_place(what, path, stack)
        if "again" in operation:
            assert next_line(child) == "gone"
        wait_until_parked(child.process.pid)
        sent = time.monotonic()
        os.kill(child.process.pid, signal.SIGINT)
        return float(next_line(child)) - sent


@pytest.mark.parametrize("operation", OPERATIONS)
def test_ctrl_c_ends_it(operation: str) -> None:
    # A busy machine may keep one child waiting for its turn, not three in a row.
    taken = []
    for _ in range(3):
        taken.append(seconds_to_end(operation))
        if taken[-1] < 1:
            break
    print(f"{operation}: {min(taken) * 1000:.1f} ms")  # noqa: T201  # `-rA` shows it
    assert min(taken) < 1, taken


def blocking() -> set[str]:
    """Return everything public that takes a timeout, or is known to wait without one."""
    found = {"Bus.__next__", "RpcDispatcher.serve_forever", "RpcDispatcher.serve_async", "RpcServer.close"}
    # Their parameters are the endpoint's.
    found |= {"RpcEndpoint.call", "RpcEndpoint.acall", "Pool.call", "Pool.acall"}
    for name in tachyon.__all__:
        kind = getattr(tachyon, name)
        if not inspect.isclass(kind) or issubclass(kind, BaseException):
            continue
        for method, function in inspect.getmembers(kind):
            if method.startswith("_") and method != "__init__":
                continue
            signature = getattr(function, "__text_signature__", None) or ""
            if inspect.isfunction(function):
                signature = str(inspect.signature(function))
            if "timeout" in signature:
                found.add(f"{name}.{method}")
    return found - {"Pool.__init__"}


def test_no_blocking_call_is_missing() -> None:
    covered = {operation.partition(",")[0] for operation in OPERATIONS}
    assert blocking() - ENDS_AT_ONCE <= covered
    assert covered - {"ping"} <= blocking(), "nothing is tested that is not there"
