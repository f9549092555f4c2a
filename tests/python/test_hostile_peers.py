"""Peers that are hostile on the socket of a connection, against each way to wait in Python.

Each test runs twice: on the present system, which may refuse descriptors to their sender (since Linux 6.16), and as on
an older system, where the receiver examines each message.
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

from programs import program
from tachyon import RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer

AT_ONCE = 6.0
"""Seconds that an operation may take on a busy machine; the hostile descriptors linger for 20."""

NOT_PERMITTED = 77
"""Status of `sandboxed` where the system forbids the sandbox."""

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
"""Acts of a hostile peer, and the outcome for its connection."""

echo = tachyon_rpc(1)(bytes)


class Hostile:
    """The program `hostile` with one end of a connection."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen([program("hostile"), *arguments], stdout=subprocess.PIPE, text=True)

    def told(self) -> list[str]:
        """Wait until the peer has finished its acts; return the lines before."""
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
    """Return the start of a command that runs a program as on one of the two systems."""
    if request.param == "present":
        return []
    sandboxed = program("sandboxed")
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


PARTNERS = {"call": "callee", "acall": "callee", "recv": "sender", "send": "receiver"}


@pytest.mark.parametrize("way", PARTNERS)
def test_operations_end_in_time(
    service: Callable[..., Peer], path: str, hostile: Callable[..., Hostile], through: list[str], way: str
) -> None:
    """Each operation ends within seconds, by its timeout or a clear error; each connection closes at once."""
    places = {act: f"{path}.{number}" for number, act in enumerate(ACTS)}
    peers = {act: hostile(PARTNERS[way], where, act) for act, where in places.items()}
    while not all(os.path.lexists(where) for where in places.values()):
        time.sleep(0.001)
    victim = service("victim", way, json.dumps(list(places.values())), through=through)
    told = json.loads(victim.join())
    for (act, end), outcomes in zip(ACTS.items(), told, strict=True):
        *operations, (closed, _) = outcomes
        assert max(took for _, took in outcomes) < AT_ONCE, (act, outcomes)
        assert closed == "fine", (act, outcomes)
        ends = {"gone", "fault"}
        if end == "descriptor":
            # A refused descriptor has no effect.
            ends.update(set() if "refused" in peers[act].told() else {"descriptor"})
        expected = "PeerDeadError" if end in ends else "TimedOutError"
        assert operations[-1][0] == expected, (act, outcomes)


WAYS: dict[str, tuple[str, dict[str, int]]] = {
    "forever": ("server", {}),
    "workers": ("server", {"workers": 2}),
    "async": ("loop", {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_server_serves_its_other_callers(
    service: Callable[..., Peer], path: str, hostile: Callable[..., Hostile], through: list[str], way: str
) -> None:
    serving, options = WAYS[way]
    server = service("basics", serving, through=through, log="INFO", **options)

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
                # The peer stays: the server must find the fault of the peer, not its death.
                faults += 1
            else:
                one.end()
        tachyon_rpc(4)(bytes).call(steady, b"", timeout=AT_ONCE)
    told = server.join()
    assert told.endswith("served\n")
    assert told.count("was disconnected") == faults, told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can listen as another user")
@pytest.mark.parametrize("any_uid", [False, True])
def test_connecting_to_another_user_ends_in_time(
    service: Callable[..., Peer], path: str, hostile: Callable[..., Hostile], through: list[str], *, any_uid: bool
) -> None:
    Path(path).parent.chmod(0o777)
    hostile("foreign", path)
    victim = service("connecting", through=through, timeout=0.5, any_uid=any_uid)
    told, took = victim.join().splitlines()
    assert ("breaks the protocol" if any_uid else "runs as user 65534") in told
    assert float(took) < AT_ONCE
