"""Peers that are hostile on the socket of a connection, and what each way to wait in Python makes of them.

Each test runs on the present system, which may refuse descriptors to their sender (Linux 6.16), and as before it, where
each message is looked at first.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tachyon import RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(os.environ.get("TACHYON_PROGRAMS", ROOT / "target/debug"))

AT_ONCE = 6.0
"""Seconds that an operation may take on a busy machine; the descriptors linger for 20."""

NOT_PERMITTED = 77
"""How `sandboxed` ends where the system does not permit what it does."""

ACTS = {
    "linger": "descriptor",
    "say:0": "gone",
    "say:7": "fault",
    "say:9": "fault",
    "say:100": "fault",
    "fill:8": "none",
    "flood:8": "none",
    "flood:9": "fault",
    "peek": "none",
    "stuck": "none",
}
"""What a hostile peer does, and what becomes of its connection."""

echo = tachyon_rpc(1)(bytes)


class Hostile:
    """The program `hostile` with one end of a connection."""

    def __init__(self, *arguments: str) -> None:
        program = PROGRAMS / "hostile"
        assert program.exists(), f"{program} is not built: run `cargo build -p tachyon-tests`, or set TACHYON_PROGRAMS"
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)

    def told(self) -> list[str]:
        """Wait until it has done all it was to do; return what it said before."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            if line == "done\n":
                return lines
            lines.append(line.rstrip("\n"))
        pytest.fail(f"the hostile peer ended: {lines}")

    def end(self) -> None:
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.kill()
            self.process.communicate()


@pytest.fixture(params=["present", "before 6.16"])
def through(request: pytest.FixtureRequest) -> list[str]:
    """Return the beginning of a command that runs a program on one of the two systems."""
    if request.param == "present":
        return []
    sandboxed = str(PROGRAMS / "sandboxed")
    tried = subprocess.run([sandboxed, "before_6_16", "true"], capture_output=True, text=True, check=False)
    if tried.returncode == NOT_PERMITTED:
        pytest.skip(tried.stdout)
    assert tried.returncode == 0, tried
    return [sandboxed, "before_6_16"]


@pytest.fixture
def hostile() -> Iterator[Callable[..., Hostile]]:
    """Return a function that starts hostile peers."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Hostile:
            peer = Hostile(*arguments)
            stack.callback(peer.end)
            return peer

        yield start


VICTIM = """
import asyncio, json, os
from concurrent.futures import ThreadPoolExecutor
from tachyon import *
from tachyon.errors import *
echo = tachyon_rpc(1)(bytes)

def outcome(operation):
    began = time.monotonic()
    try:
        operation()
        told = "fine"
    except TachyonError as error:
        told = type(error).__name__
    return told, time.monotonic() - began

def twice(connect, operation):
    # What the peer does during the first one is met by the second at the latest.
    bus = connect()
    return [outcome(lambda: operation(bus)) for _ in range(2)] + [outcome(bus.close)]

def call(where):
    return twice(lambda: RpcBus.connect(where), lambda bus: echo.call(bus, b"x", timeout=0.5))

def recv(where):
    def operation(bus):
        with bus.recv(timeout=0.5):
            pass
    return twice(lambda: Bus.connect(where), operation)

def send(where):
    def operation(bus):
        while True:
            bus.send(bytes(1000), timeout=0.5)
    return twice(lambda: Bus.connect(where), operation)

async def acall(where):
    bus = await asyncio.to_thread(RpcBus.connect, where)
    told = []
    for _ in range(2):
        began = time.monotonic()
        try:
            await echo.acall(bus, b"x", timeout=0.5)
            told.append(("fine", time.monotonic() - began))
        except TachyonError as error:
            told.append((type(error).__name__, time.monotonic() - began))
    return told + [outcome(bus.close)]

async def acalls(places):
    return await asyncio.gather(*map(acall, places))

def at_once(way, places):
    if way == "acall":
        # All of them on one loop: none holds the others up.
        return asyncio.run(acalls(places))
    with ThreadPoolExecutor(len(places)) as threads:
        return list(threads.map(globals()[way], places))
"""


PARTNERS = {"call": "callee", "acall": "callee", "recv": "sender", "send": "receiver"}


@pytest.mark.parametrize("way", PARTNERS)
def test_operations_end_in_time(
    peer: Callable[..., Peer], path: str, hostile: Callable[..., Hostile], through: list[str], way: str
) -> None:
    """Each within seconds, by its timeout or by a clear error, and each connection closes at once."""
    places = {act: f"{path}.{number}" for number, act in enumerate(ACTS)}
    peers = {act: hostile(PARTNERS[way], where, act) for act, where in places.items()}
    while not all(os.path.lexists(where) for where in places.values()):
        time.sleep(0.001)
    victim = peer(
        f"{VICTIM}\nprint(json.dumps(at_once({way!r}, {list(places.values())!r})))",
        through,
    )
    told = json.loads(victim.join())
    for (act, end), outcomes in zip(ACTS.items(), told, strict=True):
        *operations, (closed, _) = outcomes
        assert max(took for _, took in outcomes) < AT_ONCE, (act, outcomes)
        assert closed == "fine", (act, outcomes)
        ends = {"gone", "fault"}
        if end == "descriptor":
            # Where the system refuses it, nothing comes of it.
            ends.update(set() if "refused" in peers[act].told() else {"descriptor"})
        expected = "PeerDeadError" if end in ends else "TimedOutError"
        assert operations[-1][0] == expected, (act, outcomes)


SERVER = """
import asyncio, logging, sys
from tachyon import *
from tachyon.errors import *
log = logging.getLogger("tachyon")
log.addHandler(logging.StreamHandler(sys.stdout))
log.setLevel(logging.INFO)
dispatcher = RpcDispatcher()
dispatcher.handler(1)(lambda view: view.tobytes())
with RpcServer(path) as server:
    dispatcher.handler(9)(lambda view: server.stop() or b"")
    print("ready", flush=True)
    WAY
print("stopped")
"""

WAYS = {
    "forever": "dispatcher.serve_forever(server)",
    "workers": "dispatcher.serve_forever(server, workers=2)",
    "async": "asyncio.run(dispatcher.serve_async(server))",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_server_serves_its_other_callers(
    peer: Callable[..., Peer], path: str, hostile: Callable[..., Hostile], through: list[str], way: str
) -> None:
    server = peer(SERVER.replace("WAY", WAYS[way]), through)
    assert server.line() == "ready"

    def call(bus: RpcBus) -> None:
        began = time.monotonic()
        assert echo.call(bus, b"honest", timeout=AT_ONCE) == b"honest"
        assert time.monotonic() - began < AT_ONCE

    faults = 0
    with RpcBus.connect(path) as steady:
        for act, end in ACTS.items():
            one = hostile("caller", path, "call", act)
            told = one.told()
            for _ in range(20):
                call(steady)
            with RpcBus.connect(path) as another:
                call(another)
            if end == "fault" or (end == "descriptor" and "refused" not in told):
                # It stays: the server is to find its fault, not its death.
                faults += 1
            else:
                one.end()
        tachyon_rpc(9)(bytes).call(steady, b"", timeout=AT_ONCE)
    told = server.join()
    assert told.endswith("stopped\n")
    assert told.count("was disconnected") == faults, told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can listen as another user")
@pytest.mark.parametrize("any_uid", [False, True])
def test_connecting_to_another_user_ends_in_time(
    peer: Callable[..., Peer], path: str, hostile: Callable[..., Hostile], through: list[str], *, any_uid: bool
) -> None:
    Path(path).parent.chmod(0o777)
    hostile("foreign", path)
    victim = peer(
        f"""
        began = time.monotonic()
        try:
            tachyon.RpcBus.connect(path, timeout=0.5, any_uid={any_uid})
        except tachyon.errors.HandshakeError as error:
            print(error)
        print(time.monotonic() - began)
        """,
        through,
    )
    told, took = victim.join().splitlines()
    assert ("breaks the protocol" if any_uid else "runs as user 65534") in told
    assert float(took) < AT_ONCE
