"""Misuse is an error with a name, and never undefined behaviour."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from typing import TYPE_CHECKING

import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer

SENDER = """
with tachyon.Bus.connect(path) as bus:
    for n in range(1000):
        bus.send(bytes([n & 0xFF]) * 100, n)
"""

ECHO = """
import logging
logging.disable()
dispatcher = tachyon.RpcDispatcher()
dispatcher.handler(1)(lambda view: view.tobytes())
with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
    dispatcher.serve_forever(bus)
"""


@pytest.fixture
def receiving(peer: Callable[[str], Peer], path: str) -> Iterator[tachyon.Bus]:
    """A receiver with a thousand messages under way."""
    peer(SENDER)
    with tachyon.Bus.listen(path, 4096) as bus:
        yield bus


@pytest.fixture
def calling(peer: Callable[[str], Peer], path: str) -> Iterator[tachyon.RpcBus]:
    """A caller of an echo."""
    peer(ECHO)
    with tachyon.RpcBus.connect(path) as bus:
        yield bus


def run(script: str, path: str, *, limit: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own, in development mode, warnings being errors."""
    prelude = "import gc, os, sys, threading, time, types\nimport tachyon\npath = sys.argv[1]\n"
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", prelude + textwrap.dedent(script), path]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)


def fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests may still be around
        return os.fork()


# Threads


def test_threads_that_fight_over_a_direction(receiving: tachyon.Bus) -> None:
    """Each message comes once, in order, to whoever had the turn; the others are told that they had not."""
    taken: list[int] = []
    refused = [0] * 4
    strange: list[BaseException] = []

    def grab(who: int) -> None:
        while len(taken) < 1000:
            try:
                with receiving.recv_zero_copy(timeout=0.01) as rx:
                    assert bytes(rx) == bytes([rx.type_id & 0xFF]) * 100
                    taken.append(rx.type_id)
                    if rx.type_id < 20:
                        # Long enough for the others to come by.
                        time.sleep(0.005)
            except (tachyon.BusyError, tachyon.TimedOutError):
                refused[who] += 1
                time.sleep(0)
            except tachyon.PeerClosedError:
                return
            except BaseException as error:
                strange.append(error)
                return

    threads = [threading.Thread(target=grab, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert strange == []
    assert taken == list(range(1000))
    assert sum(refused) > 0


def test_threads_that_fight_over_one_guard(receiving: tachyon.Bus) -> None:
    """Views, releases and the end of a guard from several threads at once."""
    for n in range(300):
        guard = receiving.recv_zero_copy(timeout=10)
        assert guard.type_id == n
        barrier = threading.Barrier(3)
        outcomes: list[object] = []

        def look(
            guard: tachyon.RxGuard = guard, barrier: threading.Barrier = barrier, outcomes: list = outcomes
        ) -> None:
            barrier.wait()
            try:
                with memoryview(guard) as view:
                    outcomes.append(view.tobytes())
            except tachyon.ReleasedError as error:
                outcomes.append(error)

        def end(guard: tachyon.RxGuard = guard, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            with contextlib.suppress(tachyon.ViewError):
                guard.__exit__(None, None, None)

        threads = [threading.Thread(target=look), threading.Thread(target=look), threading.Thread(target=end)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        expected = bytes([n & 0xFF]) * 100
        assert all(isinstance(outcome, tachyon.ReleasedError) or outcome == expected for outcome in outcomes)
        del guard, look, end, threads


def test_threads_that_fight_over_a_caller(calling: tachyon.RpcBus) -> None:
    endpoint = tachyon.tachyon_rpc(1)(len)
    right = [0] * 4
    strange: list[object] = []

    def call(who: int) -> None:
        for n in range(2000):
            payload = bytes([who, n & 0xFF]) * 10
            try:
                if endpoint.call(calling, payload, timeout=30) == payload:
                    right[who] += 1
                else:
                    strange.append("another's reply")
            except tachyon.BusyError:
                pass
            except BaseException as error:
                strange.append(error)
                return

    threads = [threading.Thread(target=call, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert strange == []
    assert sum(right) > 0
    assert endpoint.call(calling, b"good", timeout=30) == b"good"


def test_a_thread_that_closes_beside_threads_that_work(peer: Callable[[str], Peer], path: str) -> None:
    for _ in range(10):
        other = peer(ECHO)
        bus = tachyon.RpcBus.connect(path)
        endpoint = tachyon.tachyon_rpc(1)(len)
        strange: list[object] = []

        def work(
            bus: tachyon.RpcBus = bus,
            endpoint: tachyon.RpcEndpoint = endpoint,
            strange: list[object] = strange,
        ) -> None:
            try:
                while True:
                    try:
                        with bus.call_zero_copy(10, 1) as tx, memoryview(tx) as view:
                            view[:] = b"0123456789"
                        with bus.wait(tx.out_cid) as rx, memoryview(rx) as view:
                            assert view == b"0123456789"
                        endpoint.call(bus, b"x")
                    except tachyon.BusyError:
                        time.sleep(0)
                    except tachyon.InvalidArgumentError:
                        pass
            except tachyon.BusClosedError:
                pass
            except BaseException as error:
                strange.append(error)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        bus.close()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        assert strange == []
        del bus, work, threads
        other.join()


# Guards


def test_a_guard_used_twice(receiving: tachyon.Bus, calling_pair: tuple[tachyon.RpcBus, Peer]) -> None:
    bus, _ = calling_pair
    with receiving.recv_zero_copy() as rx:
        pass
    with receiving.drain_batch(1) as batch:
        pass
    tx = bus.call_zero_copy(4, 1)
    with tx, memoryview(tx) as view:
        view[:] = b"once"
    reply = bus.wait(tx.out_cid, timeout=10)
    with reply:
        pass
    for guard in (rx, batch, tx, reply):
        with pytest.raises(tachyon.ReleasedError), guard:
            pass
        guard.__exit__(None, None, None)  # an end too many does nothing
        guard.__exit__(ValueError, ValueError(), None)
        assert "released" in repr(guard)
    for guard in (rx, tx, reply):
        with pytest.raises(tachyon.ReleasedError):
            memoryview(guard)
    # Nothing was sent twice, and nothing given back that is in use.
    cid = bus.call(b"next", 1)
    assert cid == tx.out_cid + 1
    with bus.wait(cid, timeout=10) as rx:
        assert bytes(rx) == b"next"
    assert receiving.recv(timeout=10).type_id == 2


@pytest.fixture
def calling_pair(peer: Callable[[str], Peer], path: str) -> Iterator[tuple[tachyon.RpcBus, Peer]]:
    """A caller at a path of its own, beside the path of `receiving`."""
    callee = peer(ECHO.replace("path,", "path + '.rpc',"))
    with tachyon.RpcBus.connect(path + ".rpc") as bus:
        yield bus, callee


def test_guards_after_close(receiving: tachyon.Bus, calling_pair: tuple[tachyon.RpcBus, Peer]) -> None:
    bus, _ = calling_pair
    rx, tx = receiving.recv_zero_copy(), bus.call_zero_copy(4, 1)
    receiving.close()
    bus.close()
    with memoryview(rx) as view:
        assert view == bytes(100)
    with memoryview(tx) as view:
        view[:] = b"late"
    rx.__exit__(None, None, None)
    with pytest.raises(tachyon.BusClosedError):
        tx.__exit__(None, None, None)
    assert tx.out_cid == 0
    tx.actual_size = 2
    tx.msg_type = 9
    assert len(tx) == 4


def test_guards_whose_bus_is_gone(peer: Callable[[str], Peer], path: str) -> None:
    peer(SENDER)
    bus = tachyon.Bus.listen(path, 4096)
    rx = bus.recv_zero_copy()
    view = memoryview(rx)[10:20]
    del bus
    gc.collect()
    assert view == bytes(10)
    with pytest.raises(tachyon.ViewError):
        rx.__exit__(None, None, None)
    del rx
    gc.collect()
    assert view == bytes(10)


@pytest.mark.parametrize("collector", ["count", "cycle"])
def test_guards_collected_half_way(peer: Callable[[str], Peer], path: str, collector: str) -> None:
    """A guard, a view into it and the bus in a cycle: the collector takes them in any order it likes."""

    class Holder:
        pass

    for number in range(20):
        where = f"{path}{number}"
        peer(SENDER.replace("path)", repr(where) + ")"))
        holder = Holder()
        holder.bus = tachyon.Bus.listen(where, 4096)
        holder.rx = holder.bus.recv_zero_copy(timeout=10)
        holder.view = memoryview(holder.rx)
        holder.part = holder.view[1:]
        holder.batch = None
        if collector == "cycle":
            holder.itself = holder
            holder.views = [holder.part, holder]
        del holder
        gc.collect()


def test_batches_and_replies_in_cycles(peer: Callable[[str], Peer], path: str) -> None:
    peer(SENDER)
    callee = peer(ECHO.replace("path,", "path + '.rpc',"))
    cycle: dict[str, object] = {}
    cycle["itself"] = cycle
    bus = cycle["bus"] = tachyon.Bus.listen(path, 4096)
    batch = cycle["batch"] = bus.drain_batch(3)
    cycle["message"] = batch[0]
    cycle["view"] = memoryview(batch[0])
    caller = cycle["caller"] = tachyon.RpcBus.connect(path + ".rpc")
    rx = cycle["reply"] = caller.wait(caller.call(b"x" * 100, 1))
    cycle["reply_view"] = memoryview(rx)
    tx = cycle["room"] = caller.call_zero_copy(10, 1)
    cycle["room_view"] = memoryview(tx)
    del bus, batch, caller, rx, tx, cycle
    gc.collect()
    # Collected means closed.
    callee.join()


# Forks


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


def test_a_child_forked_beside_a_loop_that_calls(peer: Callable[[str], Peer], path: str) -> None:
    """The child shares the loop's epoll and the bells with its parent, and takes nothing of them."""
    peer("""
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            for _ in range(2):
                with bus.serve() as rx:
                    cid, payload = rx.correlation_id, bytes(rx)
                time.sleep(1.0)
                bus.reply(cid, payload, 1)
    """)
    script = """
    import asyncio
    endpoint = tachyon.tachyon_rpc(1)(len)

    async def main():
        bus = tachyon.RpcBus.connect(path)
        slow = asyncio.create_task(endpoint.acall(bus, b"slow"))
        await asyncio.sleep(0.2)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                await slow
            except tachyon.BusClosedError:
                code = 0
            bus.close()
            del bus
            gc.collect()
            os._exit(code)
        first = await slow
        assert os.waitpid(child, 0)[1] == 0
        print(first, await endpoint.acall(bus, b"next"))

    asyncio.run(main())
    """
    ended = run(script, path)
    # The loop's debugging mode complains of the time that the fork took.
    assert (ended.returncode, ended.stdout) == (0, "b'slow' b'next'\n"), ended.stderr


def test_a_child_forked_beside_a_loop_that_serves(peer: Callable[[str], Peer], path: str) -> None:
    script = """
    import asyncio
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
    prelude = "import os, sys\nimport tachyon\npath = sys.argv[1]\n"
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", prelude + textwrap.dedent(script), path]
    serving = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
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
    finally:
        serving.kill()
        serving.wait()


# The end of the interpreter

LATE = """
class Late:
    # Keeps the interpreter busy after it began to end, so that threads that wait wake up meanwhile.
    def __del__(self, sleep=time.sleep, write=os.write):
        sleep(0.3)
        write(1, b"late\\n")

late = types.ModuleType("late")
late.late = Late()
sys.modules["late"] = late
del late, Late
ready = threading.Semaphore(0)

def daemon(target, *args):
    threading.Thread(target=target, args=args, daemon=True).start()

endpoint = tachyon.tachyon_rpc(1)(len)
dispatcher = tachyon.RpcDispatcher()
dispatcher.handler(1)(lambda view: view.tobytes())
kept = []
"""

ENDINGS = {
    "recv": """
        daemon(lambda: kept.append(tachyon.Bus.listen(path, 4096)) or ready.release() or kept[0].recv())
        peer = tachyon.Bus.connect(path)
    """,
    "send": """
        def fill():
            bus = tachyon.Bus.listen(path, 4096)
            ready.release()
            while True:
                bus.send(bytes(100))
        daemon(fill)
        peer = tachyon.Bus.connect(path)
    """,
    "listen": "daemon(lambda: ready.release() or tachyon.Bus.listen(path, 4096))",
    "connect": "daemon(lambda: ready.release() or tachyon.Bus.connect(path, timeout=None))",
    "serve": """
        daemon(lambda: kept.append(tachyon.RpcBus.listen(path, 4096, 4096)) or ready.release() or kept[0].serve())
        peer = tachyon.RpcBus.connect(path)
    """,
    "serve_forever": """
        daemon(lambda: dispatcher.serve_forever(tachyon.RpcBus.listen(path, 4096, 4096)))
        peer = tachyon.RpcBus.connect(path)
        endpoint.call(peer, b"")
        ready.release()
    """,
    "server": """
        daemon(lambda: dispatcher.serve_forever(tachyon.RpcServer(path)))
        peer = tachyon.RpcBus.connect(path)
        endpoint.call(peer, b"")
        ready.release()
    """,
    "workers": """
        daemon(lambda: dispatcher.serve_forever(tachyon.RpcServer(path), workers=3))
        peer = tachyon.RpcBus.connect(path)
        endpoint.call(peer, b"")
        ready.release()
    """,
    "workers under load": """
        daemon(lambda: dispatcher.serve_forever(tachyon.RpcServer(path), workers=3))
        def hammer():
            with tachyon.RpcBus.connect(path) as bus:
                ready.release()
                while True:
                    endpoint.call(bus, bytes(100))
        daemon(hammer)
    """,
    "wait": """
        daemon(lambda: kept.append(tachyon.RpcBus.listen(path, 4096, 4096)) or ready.release() or time.sleep(60))
        peer = tachyon.RpcBus.connect(path)
        kept.append(peer)
        daemon(lambda bus: bus.wait(bus.call(b"", 1)), peer)
        kept.append(kept)
        sys.modules["keeps"] = kept
    """,
    "an open guard": """
        def send():
            with tachyon.Bus.connect(path) as bus:
                bus.send(bytes(100))
                ready.release()
                time.sleep(60)
        daemon(send)
        bus = tachyon.Bus.listen(path, 4096)
        rx = bus.recv_zero_copy()
        view = memoryview(rx)
        kept += [kept, rx, view, bus]
    """,
    "a guard that was never left": """
        daemon(lambda: kept.append(tachyon.Bus.connect(path)) or ready.release() or kept[0].recv())
        bus = tachyon.Bus.listen(path, 4096)
        tx = bus.send_zero_copy(100)
        view = memoryview(tx)
        view[:3] = b"abc"
    """,
    "an exit handler": """
        import atexit
        daemon(lambda: kept.append(tachyon.RpcBus.listen(path, 4096, 4096)) or dispatcher.serve_forever(kept[0]))
        bus = tachyon.RpcBus.connect(path)
        atexit.register(lambda: endpoint.call(bus, b"last words", timeout=10))
        ready.release()
    """,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_end_of_the_interpreter(path: str, ending: str) -> None:
    """Daemon threads in blocking calls and objects that are left: the interpreter ends in good order all the same."""
    script = (
        LATE + textwrap.dedent(ENDINGS[ending]) + "\nready.acquire()\ntime.sleep(0.05)\nprint('ending', flush=True)\n"
    )
    ended = run(script, path, limit=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ending\nlate\n", "")


def test_a_program_killed_in_a_call_leaves_no_core(peer: Callable[[str], Peer], path: str) -> None:
    """SIGTERM has no handler in Python, and ends the process where it is."""
    child = peer("""
        import os
        print(os.getpid(), flush=True)
        tachyon.Bus.listen(path, 4096).recv()
    """)
    child.line()
    with tachyon.Bus.connect(path) as bus:
        child.process.send_signal(signal.SIGTERM)
        with pytest.raises(tachyon.PeerDeadError):
            while True:
                bus.send(bytes(100), timeout=10)
    assert child.process.wait(10) == -signal.SIGTERM


# Interpreters


INNER = """
import os
try:
    import tachyon
    outcome = "imported"
except ImportError as error:
    outcome = str(error)
os.write({writer}, outcome.encode())
"""


def test_a_sub_interpreter_is_refused(path: str) -> None:
    script = """
    import _xxsubinterpreters as interpreters

    reader, writer = os.pipe()
    interpreters.run_string(interpreters.create(), INNER.format(writer=writer))
    print(os.read(reader, 1000).decode())
    # The main one has it all the same.
    bus = threading.Thread(target=tachyon.Bus.connect, args=(path,))
    bus.start()
    tachyon.Bus.listen(path, 4096).close()
    bus.join()
    """
    if sys.version_info >= (3, 13):
        pytest.skip("the module to make one has another name; Python itself refuses from 3.12 on")
    ended = run(script.replace("INNER", repr(INNER)), path)
    assert ended.returncode == 0, ended.stderr
    assert "sub-interpreter" in ended.stdout
