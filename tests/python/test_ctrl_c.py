"""Ctrl-C, a real SIGINT from outside, ends every blocking call of the package within 100 ms."""

from __future__ import annotations

import inspect
import os
import shutil
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from proc import wait_until_parked

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

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
    "RpcBus.start": ("for_ever(lambda bus=RpcBus.connect(path): bus.start(bytes(1000), 1))", "rpc"),
    "RpcBus.finish": ("(bus := RpcBus.connect(path)).finish(bus.start(b'', 1))", "rpc"),
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
    "RpcBus.stream": ("next(RpcBus.connect(path).stream(1))", "rpc"),
    "RpcBus.astream": ("asyncio.run(take(RpcBus.connect(path).astream(1)))", "rpc"),
    "RpcBus.ping": ("RpcBus.connect(path).ping()", "rpc"),
    "RpcBus.describe": ("RpcBus.connect(path).describe()", "rpc"),
    "RpcBus.limits": ("RpcBus.connect(path).limits()", "rpc"),
    "RpcBus.aconnect": ("asyncio.run(aconnect(path))", None),
    "RpcEndpoint.call": ("endpoint.call(RpcBus.connect(path), b'')", "rpc"),
    "RpcEndpoint.acall": ("asyncio.run(acall(RpcBus.connect(path)))", "rpc"),
    "RpcEndpoint.acall, connecting again": ("asyncio.run(acall_again(path))", None),
    "RpcEndpoint.stream": ("next(items.stream(RpcBus.connect(path), b''))", "rpc"),
    "RpcEndpoint.astream": ("asyncio.run(take(items.astream(RpcBus.connect(path), b'')))", "rpc"),
    "RpcDispatcher.serve_once": ("dispatcher.serve_once(RpcBus.connect(path))", "rpc"),
    "RpcDispatcher.serve_forever": ("dispatcher.serve_forever(RpcBus.connect(path))", "rpc"),
    "RpcDispatcher.serve_forever, replying": ("dispatcher.serve_forever(RpcBus.connect(path))", "calls"),
    "RpcDispatcher.serve_forever, server": ("dispatcher.serve_forever(RpcServer(path))", None),
    "RpcDispatcher.serve_forever, workers": ("dispatcher.serve_forever(RpcServer(path), workers=3)", None),
    "RpcDispatcher.aserve": ("asyncio.run(dispatcher.aserve(RpcServer(path)))", None),
    "RpcServer.close": ("close_while_serving(path)", None),
    "Pool.caller": ("lend_twice(Pool(path, 1))", "rpc"),
    "Pool.caller, connecting": ("lend_twice(Pool(path, 1, timeout=None))", None),
    "Pool.call": ("Pool(path, 1).call(endpoint, b'')", "rpc"),
    "Pool.acall": ("asyncio.run(Pool(path, 1).acall(endpoint, b''))", "rpc"),
    "Pool.acall, connecting": ("asyncio.run(Pool(path, 1, timeout=None).acall(endpoint, b''))", None),
    "ping": ("tachyon._tachyon.ping(path, 60.0)", "server"),
}

"""The operation of the child, and the other side at the path: a `Bus` that does nothing, an `RpcBus` that does nothing,
an `RpcBus` that calls and takes no replies, a server that is not served, or nothing.
"""

ENDS_AT_ONCE = {"RpcServer.__init__", "Pool.close", "AsyncStream.__init__"}


def take_place(side: str | None, path: str, stack: ExitStack) -> None:
    """Make the other side of the operation."""
    if side == "bus":
        stack.enter_context(tachyon.Bus.listen(path, 4096))
    elif side == "server":
        # A server that is not served admits no caller.
        stack.enter_context(tachyon.RpcServer(path))
    elif side == "rpc":
        stack.enter_context(tachyon.RpcBus.listen(path, 4096, 4096))
    elif side == "calls":
        # The ring holds one such reply; the other replies wait.
        bus = stack.enter_context(tachyon.RpcBus.listen(path, 4096, 64))
        for _ in range(5):
            bus.call(b"", 1)


def seconds_to_end(service: Callable[..., Peer], operation: str) -> float:
    """Interrupt an operation of a child; return the time from the signal to its exception."""
    code, side = OPERATIONS[operation]
    directory = tempfile.mkdtemp(prefix="tachyon-")
    path = str(Path(directory, "bus.sock"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        child = service("blocked_call", code, at=path, exit_at_once=True)
        stack.callback(child.discard)
        take_place(side, path, stack)
        if "again" in operation:
            assert child.line() == "gone"
        wait_until_parked(child.process.pid)
        sent = time.monotonic()
        os.kill(child.process.pid, signal.SIGINT)
        return float(child.line()) - sent


@pytest.mark.parametrize("operation", OPERATIONS)
def test_ctrl_c_ends_a_blocked_call(service: Callable[..., Peer], operation: str) -> None:
    # A busy machine may delay one child, but not three in a row.
    taken = []
    for _ in range(3):
        taken.append(seconds_to_end(service, operation))
        if taken[-1] < 1:
            break
    print(f"{operation}: {min(taken) * 1000:.1f} ms")  # noqa: T201  # `-rA` shows it
    assert min(taken) < 1, taken


def blocking() -> set[str]:
    """Return the public methods that take a timeout, or are known to wait without one."""
    found = {"Bus.__next__", "RpcDispatcher.serve_forever", "RpcDispatcher.aserve", "RpcServer.close"}
    # The parameters of these methods are those of the endpoint.
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
    assert covered - {"ping"} <= blocking(), "each tested operation exists"
