"""Who only asks whether a callee is there, and what it offers, takes nobody's place."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

SHOUT = """
dispatcher = tachyon.RpcDispatcher()

@dispatcher.handler(1)
def shout(text: str) -> str:
    return text.upper()
"""
DESCRIBED = f"""{SHOUT}
with tachyon.RpcBus.listen(path, 1 << 14, 1 << 14, dispatcher=dispatcher) as bus:
    dispatcher.serve_forever(bus)
"""
SILENT = DESCRIBED.replace(", dispatcher=dispatcher", "")


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "tachyon", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def shouts(path: str) -> None:
    with tachyon.RpcBus.connect(path) as bus:

        @tachyon.tachyon_rpc(msg_type=1)
        def shout(text: str) -> str:
            raise NotImplementedError(text)

        assert shout.call(bus, "still there") == "STILL THERE"


def test_a_waiting_callee_answers_every_command_and_waits_on(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer(DESCRIBED)
    for _ in range(2):
        pinged = cli("ping", path)
        assert (pinged.returncode, pinged.stdout) == (0, "is there, and waits for its one peer\n"), pinged.stderr
        described = cli("describe", path)
        assert described.returncode == 0, described.stderr
        assert "shout(str) -> str" in described.stdout
        assert "def shout(" in cli("codegen", "python", path).stdout
    shouts(path)
    callee.join()


def test_a_callee_that_was_not_given_its_dispatcher_says_how(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer(SILENT)
    described = cli("describe", path)
    assert described.returncode == 1
    assert described.stderr.count("\n") == 1
    assert "pass the dispatcher to `RpcBus.listen`, or serve with `RpcServer`" in described.stderr
    shouts(path)
    callee.join()


def test_a_call_says_first_that_it_takes_the_place(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer(SILENT)
    called = cli("call", path, "shout", '"hello"')
    assert (called.returncode, json.loads(called.stdout)) == (0, "HELLO")
    assert called.stderr == f"tachyon: the callee at {path} takes one caller: it ends after this call\n"
    callee.join()


def test_many_probes_at_once_leave_the_place(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer(DESCRIBED)
    for _ in range(300):
        with pytest.raises(tachyon.OnePeerError, match="RpcServer") as found:
            tachyon.RpcBus.connect(path, probe=True)
        assert found.value.description is not None
        (endpoint,) = json.loads(found.value.description)["endpoints"]
        assert endpoint["name"] == "shout"
    shouts(path)
    callee.join()


def test_a_server_takes_a_probe_as_a_caller(peer: Callable[[str], Peer], path: str) -> None:
    server = peer(f"{SHOUT}\nwith tachyon.RpcServer(path) as server:\n    dispatcher.serve_forever(server)\n")
    with tachyon.RpcBus.connect(path, probe=True) as bus:
        assert [endpoint.name for endpoint in bus.describe(timeout=30)] == ["shout"]
    called = cli("call", path, "shout", '"hello"')
    assert (called.returncode, json.loads(called.stdout), called.stderr) == (0, "HELLO", "")
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


def test_a_probe_of_a_bus_is_told_so(peer: Callable[[str], Peer], path: str) -> None:
    listener = peer("with tachyon.Bus.listen(path, 4096) as bus:\n    print(bus.recv().data)\n")
    with pytest.raises(tachyon.WrongKindError):
        tachyon.RpcBus.connect(path, probe=True)
    with tachyon.Bus.connect(path) as bus:
        bus.send(b"right")
        assert listener.join() == "b'right'\n"


def test_a_second_caller_is_told_of_the_first(
    peer: Callable[[str], Peer], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    callee = peer(SILENT)
    first = tachyon.RpcBus.connect(path)
    with pytest.raises(tachyon.NoListenerError, match=r"takes no other.*`RpcServer`"):
        tachyon.RpcBus.connect(path, timeout=0.1)
    monkeypatch.chdir(Path(path).parent)
    with pytest.raises(tachyon.NoListenerError, match="takes no other"):
        tachyon.RpcBus.connect(Path(path).name, timeout=0)
    other = f"{path}.other"
    with pytest.raises(tachyon.NoListenerError, match="start the listening side first"):
        tachyon.RpcBus.connect(other, timeout=0)
    first.close()
    callee.join()
    # The one that had the place is gone, and with it what the system knew.
    deadline = time.monotonic() + 30
    while True:
        with pytest.raises(tachyon.NoListenerError) as gone:
            tachyon.RpcBus.connect(path, timeout=0)
        if "start the listening side first" in str(gone.value) or time.monotonic() > deadline:
            break
    assert "start the listening side first" in str(gone.value)
