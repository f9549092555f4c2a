"""Fixtures that put a second interpreter on the other end of a bus."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from misuse_scene import ECHO, SENDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# A shell starts its background jobs with Ctrl-C ignored, and a child inherits that: here it has to arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)

LIMIT = 30.0
"""Seconds after which a child is given up, far beyond what any of them needs."""

PRELUDE = """\
import logging, struct, sys, time
import tachyon
path = sys.argv[1]
# In development mode a loop complains of every step that a busy machine makes long.
logging.getLogger("asyncio").setLevel(logging.ERROR)
"""


class Peer:
    """A child interpreter running one script."""

    def __init__(self, code: str, path: str, through: Sequence[str] = ()) -> None:
        script = PRELUDE + textwrap.dedent(code)
        self.process = subprocess.Popen(
            [*through, sys.executable, "-X", "dev", "-W", "error", "-u", "-c", script, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def join(self) -> str:
        """Wait for a good end and return what the script printed."""
        out, err = self.process.communicate(timeout=LIMIT)
        assert self.process.returncode == 0, f"exit {self.process.returncode}\n{out}\n{err}"
        assert err == ""
        return out

    def line(self) -> str:
        """Return the next line the script prints: a way to know how far it is."""
        assert self.process.stdout is not None
        line = b""
        # Byte by byte from the descriptor: what a buffer took beyond the line would be lost to `join`.
        while not line.endswith(b"\n"):
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                self.join()
                pytest.fail("the child ended without printing the line that was waited for")
            line += byte
        return line.decode().rstrip("\n")

    def tell(self, line: str) -> None:
        """Send the script a line to read from its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hang_up(self) -> None:
        """End the script's standard input."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def kill(self) -> None:
        """End the child the hard way."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LIMIT)

    def discard(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def path() -> Iterator[str]:
    """Return a socket path in a directory of its own, short enough for any temporary directory."""
    directory = tempfile.mkdtemp(prefix="tachyon-")
    yield str(Path(directory, "bus.sock"))
    shutil.rmtree(directory)


@pytest.fixture
def peer(path: str) -> Iterator[Callable[[str], Peer]]:
    """Return a function that runs a script in a child interpreter, which another program may start."""
    peers: list[Peer] = []

    def start(code: str, through: Sequence[str] = ()) -> Peer:
        peers.append(Peer(code, path, through))
        return peers[-1]

    yield start
    for one in peers:
        one.discard()


@pytest.fixture
def receiving(peer: Callable[[str], Peer], path: str) -> Iterator[tachyon.Bus]:
    """A receiver with a thousand messages under way."""
    peer(SENDER)
    with tachyon.Bus.listen(path, 4096) as bus:
        yield bus


@pytest.fixture
def calling_pair(peer: Callable[[str], Peer], path: str) -> Iterator[tuple[tachyon.RpcBus, Peer]]:
    """A caller at a path of its own, beside the path of `receiving`."""
    callee = peer(ECHO.replace("path,", "path + '.rpc',"))
    with tachyon.RpcBus.connect(path + ".rpc") as bus:
        yield bus, callee
