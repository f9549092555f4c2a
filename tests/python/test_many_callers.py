"""One server, 64 caller processes of both languages, a third of them killed and replaced while they call."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from proc import descriptors, mappings
from programs import program

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

CALLERS = 64
LIMIT = 60.0
"""Seconds after which a caller is given up, far beyond the need of any caller."""

RUST_CALLS, PYTHON_CALLS = 4000, 1500
CALLER = Path(__file__).parent / "services/checking_caller.py"


class Caller:
    """A process that makes a number of calls, unless it is killed first."""

    def __init__(self, number: int, path: str) -> None:
        self.number = number
        self.calls = RUST_CALLS if number % 2 else PYTHON_CALLS
        command = [sys.executable, "-W", "error", str(CALLER), path, str(PYTHON_CALLS)]
        if number % 2:
            command = [program("peer"), "caller", path, str(RUST_CALLS), "3000"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self) -> None:
        """Wait for the end of the caller; every reply must have been right."""
        out, err = self.process.communicate(timeout=LIMIT)
        assert (self.process.returncode, out.strip(), err) == (0, str(self.calls), ""), self.number

    def kill(self) -> bool:
        """Kill the caller; return whether it still ran."""
        alive = self.process.poll() is None
        self.process.kill()
        self.process.communicate(timeout=LIMIT)
        return alive


def footprint(pid: int) -> tuple[int, int]:
    """Return how many descriptors and shared mappings a process has."""
    return descriptors(pid), mappings(pid)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_callers_of_both_languages_come_and_go(service: Callable[..., Peer], path: str) -> None:
    server = service("basics", "server", max_callers=100)
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
        assert killed >= CALLERS // 6, "nearly all callers had ended before their kill"

        deadline = time.monotonic() + 10
        while footprint(server.process.pid) != before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert footprint(server.process.pid) == before
        tachyon.tachyon_rpc(4)(len).call(steady, b"")
    # A caller may be killed while it connects.
    assert server.join(reports="it hung up during the handshake") == "served\n"
