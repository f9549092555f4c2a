"""One server, 64 caller processes of both languages, a third of them killed and replaced while they call."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

ROOT = Path(__file__).parents[2]
BINARIES = Path(os.environ.get("TACHYON_PROGRAMS", ROOT / "target/debug"))
CALLERS = 64
LIMIT = 60.0
"""Seconds after which a caller is given up, far beyond what any of them needs."""

RUST_CALLS, PYTHON_CALLS = 4000, 1500

PYTHON_CALLER = f"""
import sys
import tachyon

@tachyon.tachyon_rpc(1)
def echo(payload): ...

with tachyon.RpcBus.connect(sys.argv[1]) as bus:
    for number in range({PYTHON_CALLS}):
        sent = number.to_bytes(4, "little") * (number % 300)
        assert echo.call(bus, sent, timeout=30) == sent, number
print({PYTHON_CALLS})
"""


class Caller:
    """A process that calls until it has made its number of calls, or is killed."""

    def __init__(self, number: int, path: str) -> None:
        self.number = number
        self.calls = RUST_CALLS if number % 2 else PYTHON_CALLS
        command = [sys.executable, "-W", "error", "-c", PYTHON_CALLER, path]
        if number % 2:
            command = [str(BINARIES / "peer"), "caller", path, str(RUST_CALLS), "3000"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self) -> None:
        """Wait for the end of a caller that was left alone: every call of it came back right."""
        out, err = self.process.communicate(timeout=LIMIT)
        assert (self.process.returncode, out.strip(), err) == (0, str(self.calls), ""), self.number

    def kill(self) -> bool:
        """Kill it; false if it had ended before."""
        alive = self.process.poll() is None
        self.process.kill()
        self.process.communicate(timeout=LIMIT)
        return alive


def footprint(pid: int) -> tuple[int, int]:
    """How many descriptors and shared mappings a process has."""
    process = Path(f"/proc/{pid}")
    return len(list((process / "fd").iterdir())), (process / "maps").read_text().count("memfd:tachyon")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_callers_of_both_languages_come_and_go(peer: Callable[[str], Peer], path: str) -> None:
    assert (BINARIES / "peer").exists(), (
        "the Rust caller is not built: run `cargo build -p tachyon-tests`, or set TACHYON_PROGRAMS"
    )
    server = peer("""
        import logging
        logging.disable(logging.INFO)
        dispatcher = tachyon.RpcDispatcher()
        with tachyon.RpcServer(path, max_callers=100) as server:
            dispatcher.handler(1)(lambda payload: payload.tobytes())
            dispatcher.handler(9)(lambda payload: server.stop() or b"")
            print("listening")
            dispatcher.serve_forever(server)
        print("stopped")
    """)
    assert server.line() == "listening"
    echo = tachyon.tachyon_rpc(1)(len)
    with tachyon.RpcBus.connect(path) as steady:
        assert echo.call(steady, b"steady") == b"steady"
        before = footprint(server.process.pid)

        chance = random.Random(64)
        with ExitStack() as stack:
            callers = [Caller(number, path) for number in range(CALLERS)]
            stack.callback(lambda: [caller.kill() for caller in callers])
            killed = 0
            for number in chance.sample(range(CALLERS), CALLERS // 3):
                time.sleep(chance.uniform(0.0, 0.15))
                killed += callers[number].kill()
                callers[number] = Caller(number, path)
                assert echo.call(steady, b"meanwhile", timeout=10) == b"meanwhile"
            for caller in callers:
                caller.finish()
        assert killed >= CALLERS // 6, "nearly all callers had ended before they were to be killed"

        deadline = time.monotonic() + 10
        while footprint(server.process.pid) != before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert footprint(server.process.pid) == before
        tachyon.tachyon_rpc(9)(len).call(steady, b"")
    assert server.join() == "stopped\n"
