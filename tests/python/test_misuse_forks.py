"""A forked child has its parent's connections, and may use none of them: an error with a name."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from misuse_scene import SENDER, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Peer


def fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests may still be around
        return os.fork()


def in_child(check: Callable[[], bool]) -> None:
    """Run a check in a forked child."""
    child = fork()
    if child == 0:
        code = 1
        try:
            code = 0 if check() else 2
        except BaseException as error:
            os.write(2, repr(error).encode())
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def refuses(*operations: Callable[[], object]) -> bool:
    for operation in operations:
        try:
            operation()
        except tachyon.BusClosedError as error:
            if "fork" not in str(error):
                return False
        else:
            return False
    return True


def test_every_operation_of_a_forked_child(receiving: tachyon.Bus, calling_pair: tuple[tachyon.RpcBus, Peer]) -> None:
    bus, _ = calling_pair
    endpoint = tachyon.tachyon_rpc(1)(len)
    cid = bus.call(b"before", 1)
    tx = bus.call_zero_copy(10, 1)
    assert receiving.recv().type_id == 0
    in_child(
        lambda: refuses(
            receiving.recv,
            receiving.recv_zero_copy,
            receiving.drain_batch,
            lambda: next(receiving),
            lambda: bus.wait(cid),
            lambda: tx.__exit__(None, None, None),
            lambda: bus.call(b"x", 1),
            lambda: bus.call_zero_copy(1, 1),
            lambda: endpoint.call(bus, b"x"),
        )
    )
    with tx, memoryview(tx) as view:
        view[:] = b"0123456789"
    for number, payload in ((cid, b"before"), (tx.out_cid, b"0123456789")):
        with bus.wait(number, timeout=10) as rx:
            assert bytes(rx) == payload
    assert receiving.recv(timeout=10).type_id == 1


def test_a_forked_child_that_ends_the_ordinary_way(peer: Callable[[str], Peer], path: str) -> None:
    """It collects what it inherited and runs its exit handlers: its parent's bus, guard and path are not touched."""
    peer(SENDER)
    script = """
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
    """
    ended = run(script, path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "whole\n", "")


@pytest.mark.parametrize("late", [False, True])
def test_a_child_forked_beside_a_loop_that_calls(peer: Callable[[str], Peer], path: str, late: bool) -> None:
    """The child shares the epoll and the socket of the loop with its parent, and takes nothing of them.

    What was under way ends for the child, also when its parent has heard the reply before the child looks.
    """
    peer("""
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            for _ in range(2):
                with bus.serve() as rx:
                    cid, payload = rx.correlation_id, bytes(rx)
                time.sleep(1.0)
                bus.reply(cid, payload, 1)
    """)
    script = """
    import asyncio, signal
    endpoint = tachyon.tachyon_rpc(1)(len)

    async def main():
        bus = tachyon.RpcBus.connect(path)
        slow = asyncio.create_task(endpoint.acall(bus, b"slow"))
        await asyncio.sleep(0.2)
        child = os.fork()
        if child == 0:
            code = 1
            signal.alarm(20)
            time.sleep({late})
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

    asyncio.run(main())
    """
    ended = run(script.replace("{late}", "1.5" if late else "0"), path)
    # The loop's debugging mode complains of the time that the fork took.
    assert (ended.returncode, ended.stdout) == (0, "b'slow' b'next'\n"), ended.stderr


@contextlib.contextmanager
def started(script: str, path: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script that serves; a minute at most, so that whoever waits for its next line is not left there."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as serving:
        timer = threading.Timer(60, serving.kill)
        timer.start()
        try:
            yield serving
        finally:
            timer.cancel()
            serving.kill()


def test_a_child_forked_beside_a_loop_that_serves(path: str) -> None:
    script = """
    import asyncio, os, sys
    import tachyon
    path = sys.argv[1]
    dispatcher = tachyon.RpcDispatcher()
    dispatcher.handler(1)(lambda view: view.tobytes())

    async def main():
        server = tachyon.RpcServer(path)
        serving = asyncio.create_task(dispatcher.serve_async(server))
        while server.callers == 0:
            await asyncio.sleep(0.01)
        child = os.fork()
        if child == 0:
            # Whatever this loop would do, it is not to take its parent's clients.
            try:
                await serving
            except tachyon.BusClosedError:
                os._exit(0)
            os._exit(1)
        await asyncio.to_thread(os.waitpid, child, 0)
        print("child ended", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        server.stop()
        await serving

    asyncio.run(main())
    """
    with started(textwrap.dedent(script), path) as serving:
        endpoint = tachyon.tachyon_rpc(1)(len)
        with tachyon.RpcBus.connect(path, timeout=20) as bus:
            # The child of that fork wakes for this call as its parent does.
            for n in range(200):
                assert endpoint.call(bus, bytes([n]), timeout=20) == bytes([n])
                time.sleep(0.002)
            with tachyon.RpcBus.connect(path) as another:
                assert endpoint.call(another, b"another", timeout=20) == b"another"
        out, _ = serving.communicate("stop\n", timeout=30)
        assert (serving.returncode, out) == (0, "child ended\n")


SERVES = """
import asyncio, os, sys
import tachyon
path = sys.argv[1]
dispatcher = tachyon.RpcDispatcher()
dispatcher.handler(1)(lambda view: view.tobytes())

async def main():
    server = tachyon.RpcServer(path)
    serving = asyncio.create_task(dispatcher.serve_async(server))
    # Asked in each turn of the loop, before it attends to the server: the fork comes right after the admission, or so
    # many turns later.
    while server.callers == 0:
        await asyncio.sleep(0)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    child = os.fork()
    if child == 0:
        try:
            await serving
        except tachyon.BusClosedError:
            # What it inherited of the server has been dropped by now. The loop is asyncio's, and not to be closed here.
            os._exit(0)
        os._exit(1)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    print("child ended with", status, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    server.stop()
    await serving
    print("stopped", flush=True)

asyncio.run(main())
"""


def looked_at(path: str) -> dict[str, Any]:
    top = [sys.executable, "-m", "tachyon", "top", path, "--once", "--json", "--interval", "0.1"]
    look: dict[str, Any] = json.loads(subprocess.run(top, capture_output=True, timeout=30, check=True).stdout)
    return look


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
def test_a_caller_is_the_parents_whenever_it_forks(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """A caller that was admitted and not looked at yet is not taken by the child, and no line of it is freed there."""
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    endpoint = tachyon.tachyon_rpc(1)(len)
    with started(SERVES.replace("TURNS", str(turns)), path) as serving:
        with tachyon.RpcBus.connect(path, timeout=20) as bus:
            # The child wakes for these as its parent does, and finds that they are not for it.
            for n in range(100):
                assert endpoint.call(bus, bytes([n]), timeout=20) == bytes([n])
                time.sleep(0.002)
            assert serving.stdout is not None
            assert serving.stdout.readline() == "child ended with 0\n"
            look = looked_at(path)
            assert (look["callers_now"], look["callers_ever"], look["calls"]) == (1, 1, 100)
            assert [line["pid"] for line in look["callers"]] == [os.getpid()]
            # Another one has a line of its own.
            with tachyon.RpcBus.connect(path, timeout=20) as another:
                assert endpoint.call(another, b"another", timeout=20) == b"another"
                assert [line["id"] for line in looked_at(path)["callers"]] == [1, 2]
        out, _ = serving.communicate("stop\n", timeout=30)
        assert (serving.returncode, out) == (0, "stopped\n")


FORKING = """
import os, sys
import tachyon
dispatcher = tachyon.RpcDispatcher()

@dispatcher.handler(1)
def fork(view):
    child = os.fork()
    if child == 0:
        return b"the child's"
    return b"%d" % os.waitpid(child, 0)[1]

with tachyon.RpcServer(sys.argv[1]) as server:
    try:
        dispatcher.serve_forever(server)
    except tachyon.BusClosedError:
        pass
"""


def test_a_child_of_a_blocking_server_frees_no_lines(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler forks, and the child leaves the server in the ordinary way."""
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    endpoint = tachyon.tachyon_rpc(1)(len)
    with started(FORKING, path), tachyon.RpcBus.connect(path, timeout=20) as bus:
        for _ in range(2):
            assert endpoint.call(bus, b"", timeout=20) == b"0"
        look = looked_at(path)
        assert (look["callers_now"], len(look["callers"]), look["calls"]) == (1, 1, 2)
