"""Fixtures that put a second interpreter on the other end of a connection."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import linked
import programs
import tachyon
from contract import served
from generated import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# A shell starts its background jobs with Ctrl-C ignored, and children inherit the setting; the tests send Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

LIMIT = 60.0
"""Seconds after which a child is given up, far beyond the need of any child."""

PRELUDE = """\
import logging, struct, sys, time
import tachyon
path = sys.argv[1]
# In development mode a loop warns of every step that a busy machine makes long.
logging.getLogger("asyncio").setLevel(logging.ERROR)
"""

SENDER = """
with tachyon.Bus.connect(path) as bus:
    for n in range(1000):
        bus.send(bytes([n & 0xFF]) * 100, n)
"""


class Peer:
    """A child interpreter in development mode, where each warning is an error."""

    def __init__(self, arguments: Sequence[str], through: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*through, sys.executable, "-X", "dev", "-W", "error", "-u", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        )

    def join(self, *, reports: str = "") -> str:
        """Wait for a good end and return the output that `line` did not read.

        The child may report lines with the text `reports`, and no other.
        """
        out, err = self.process.communicate(timeout=LIMIT)
        assert self.process.returncode == 0, f"exit {self.process.returncode}\n{out}\n{err}"
        assert [line for line in err.splitlines() if not reports or reports not in line] == []
        return out

    def line(self) -> str:
        """Return the next line of the output."""
        assert self.process.stdout is not None
        line = b""
        # The descriptor is read byte by byte: `join` would lose the bytes that a buffer took beyond the line.
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], LIMIT)
            assert ready, f"the child printed no line within {LIMIT} s"
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                self.join()
                pytest.fail("the child ended without the expected line")
            line += byte
        return line.decode().rstrip("\n")

    def tell(self, line: str) -> None:
        """Write a line to the standard input of the child."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hang_up(self) -> None:
        """End the standard input of the child."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LIMIT)

    def discard(self) -> None:
        """Kill the child if it still runs, and close the pipes."""
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
def child() -> Iterator[Callable[..., Peer]]:
    """Return a function that starts an interpreter, directly or through another command."""
    with ExitStack() as stack:

        def start(*arguments: str, through: Sequence[str] = ()) -> Peer:
            peer = Peer(arguments, through)
            stack.callback(peer.discard)
            return peer

        yield start


@pytest.fixture
def peer(child: Callable[..., Peer], path: str) -> Callable[..., Peer]:
    """Return a function that runs a snippet, which finds the path of the test in `path`."""

    def start(code: str, *, at: str = path) -> Peer:
        return child("-c", PRELUDE + textwrap.dedent(code), at)

    return start


@pytest.fixture
def service(child: Callable[..., Peer], path: str) -> Callable[..., Peer]:
    """Return a function that starts a module of `services`, and waits until it is ready."""

    def start(name: str, *arguments: str, at: str = path, through: Sequence[str] = (), **options: object) -> Peer:
        started = child("-m", f"services.{name}", at, *arguments, json.dumps(options), through=through)
        assert started.line() == "ready"
        return started

    return start


@pytest.fixture
def connected(path: str) -> Iterator[Callable[..., Any]]:
    """Return a function that connects in one of the ways of `calling`, until the end of the test."""
    with ExitStack() as stack:
        yield lambda way: stack.enter_context(way(path))


@pytest.fixture(params=["rust", "python"])
def language(request: pytest.FixtureRequest) -> str:
    """Return the language of the service of `contract`."""
    return str(request.param)


@pytest.fixture
def api(language: str, path: str, tmp_path: Path) -> Callable[[str], Any]:
    """Return a function that imports the generated module for a role of the service of `contract`."""

    def generate(role: str) -> Any:
        with served(language, role, path):
            source = programs.tachyon("codegen", "python", path)
            tachyon.RpcBus.connect(path).close()
        file = tmp_path / f"{role}_api.py"
        file.write_text(source)
        return load(file)

    return generate


@pytest.fixture
def receiving(peer: Callable[..., Peer], path: str) -> Iterator[tachyon.Bus]:
    """A receiver with a thousand messages in its ring."""
    peer(SENDER)
    with tachyon.Bus.listen(path, 4096) as bus:
        yield bus


@pytest.fixture
def calling_pair(service: Callable[..., Peer], path: str) -> Iterator[tuple[tachyon.RpcBus, Peer]]:
    """A caller at a path of its own, beside the path of `receiving`."""
    callee = service("basics", "bus", at=path + ".rpc", rings=(4096, 4096), quiet=True)
    with tachyon.RpcBus.connect(path + ".rpc") as bus:
        yield bus, callee


@pytest.fixture(scope="session")
def link_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of certificates for `host-a` and `host-b`."""
    return linked.certificates(tmp_path_factory.mktemp("certificates"), "host-a", "host-b")


@pytest.fixture
def link(path: str, link_files: Path) -> Iterator[linked.Link]:
    """Return the places of a link, in a folder of the test. Its processes end with the test."""
    with ExitStack() as stack:
        yield linked.Link(Path(path).parent, link_files, stack)
