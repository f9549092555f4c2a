"""Interpreters that end in the middle of everything, and those that are no main ones."""

from __future__ import annotations

import signal
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

import tachyon
from misuse_scene import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

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
