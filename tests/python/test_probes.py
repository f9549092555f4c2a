"""Probes, which ask whether a callee is there and for its endpoints, take no caller's place."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from programs import tachyon_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer


def shouts(path: str) -> None:
    with tachyon.RpcBus.connect(path) as bus:

        @tachyon.tachyon_rpc(msg_type=1)
        def shout(text: str) -> str:
            raise NotImplementedError(text)

        assert shout.call(bus, "still there") == "STILL THERE"


def test_a_waiting_callee_answers_every_command_and_waits_on(service: Callable[..., Peer], path: str) -> None:
    callee = service("shout", "bus", described=True)
    for _ in range(2):
        pinged = tachyon_command("ping", path)
        assert (pinged.returncode, pinged.stdout) == (0, "is listening for its one peer\n"), pinged.stderr
        described = tachyon_command("describe", path)
        assert described.returncode == 0, described.stderr
        assert "shout(str) -> str" in described.stdout
        assert "def shout(" in tachyon_command("codegen", "python", path).stdout
    shouts(path)
    callee.join()


def test_a_callee_without_its_dispatcher_explains_how_to_pass_it(service: Callable[..., Peer], path: str) -> None:
    callee = service("shout", "bus")
    described = tachyon_command("describe", path)
    assert described.returncode == 1
    assert described.stderr.count("\n") == 1
    assert "pass its dispatcher to `RpcBus.listen`, or serve with `RpcServer`" in described.stderr
    shouts(path)
    callee.join()


def test_a_call_says_first_that_it_takes_the_place(service: Callable[..., Peer], path: str) -> None:
    callee = service("shout", "bus")
    called = tachyon_command("call", path, "shout", '"hello"')
    assert (called.returncode, json.loads(called.stdout)) == (0, "HELLO")
    assert called.stderr == f"tachyon: the callee at {path} takes one caller, and ends after this call\n"
    callee.join()


def test_many_probes_at_once_leave_the_place(service: Callable[..., Peer], path: str) -> None:
    callee = service("shout", "bus", described=True)
    for _ in range(300):
        with pytest.raises(tachyon.errors.OnePeerError, match="RpcServer") as found:
            tachyon.RpcBus.connect(path, probe=True)
        assert found.value.description is not None
        (endpoint,) = json.loads(found.value.description)["endpoints"]
        assert endpoint["name"] == "shout"
    shouts(path)
    callee.join()


def test_a_server_takes_a_probe_as_a_caller(service: Callable[..., Peer], path: str) -> None:
    server = service("shout", "server")
    with tachyon.RpcBus.connect(path, probe=True) as bus:
        assert [endpoint.name for endpoint in bus.describe(timeout=30)] == ["shout"]
    called = tachyon_command("call", path, "shout", '"hello"')
    assert (called.returncode, json.loads(called.stdout), called.stderr) == (0, "HELLO", "")
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


def test_a_probe_of_a_bus_is_an_error(peer: Callable[[str], Peer], path: str) -> None:
    listener = peer("with tachyon.Bus.listen(path, 4096) as bus:\n    print(bus.recv().data)\n")
    with pytest.raises(tachyon.errors.WrongKindError):
        tachyon.RpcBus.connect(path, probe=True)
    with tachyon.Bus.connect(path) as bus:
        bus.send(b"right")
        assert listener.join() == "b'right'\n"


def test_the_error_of_a_second_caller_mentions_the_first(
    service: Callable[..., Peer], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    callee = service("shout", "bus")
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
    # The first caller is gone, and with it the evidence in the system.
    deadline = time.monotonic() + 30
    while True:
        with pytest.raises(tachyon.NoListenerError) as gone:
            tachyon.RpcBus.connect(path, timeout=0)
        if "start the listening side first" in str(gone.value) or time.monotonic() > deadline:
            break
    assert "start the listening side first" in str(gone.value)
