"""`tachyon ps`, `top` and `ping`, beside a live server."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

import tachyon
from programs import tachyon_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Peer


@pytest.fixture
def server(service: Callable[..., Peer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """A server of `basics`, listed in the folder of this test."""
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    return service("basics", "server")


def called(path: str, times: int) -> tachyon.RpcBus:
    bus = tachyon.RpcBus.connect(path)
    echo = tachyon.tachyon_rpc(1)(len)
    for _ in range(times):
        echo.call(bus, b"x")
    return bus


@pytest.mark.usefixtures("server")
def test_a_live_server_is_listed_and_answers(path: str) -> None:
    with called(path, 1):
        listed = tachyon_command("ps")
        assert (listed.returncode, listed.stderr) == (0, "")
        assert path in listed.stdout
        (entry,) = json.loads(tachyon_command("ps", "--json").stdout)
        assert entry["path"] == path
        assert abs(time.time() - entry["started"]) < 60
        ping = tachyon_command("ping", path)
        assert ping.returncode == 0
        number, unit = ping.stdout.split()
        assert float(number) > 0
        assert unit == "us"


@pytest.mark.usefixtures("server")
def test_top_counts_calls(path: str) -> None:
    with called(path, 50) as bus:
        with pytest.raises(tachyon.NoHandlerError):
            tachyon.tachyon_rpc(99)(len).call(bus, b"")
        top = tachyon_command("top", path, "--once", "--json", "--interval", "0.1")
        assert (top.returncode, top.stderr) == (0, "")
        look = json.loads(top.stdout)
        assert (look["path"], look["callers_now"]) == (path, 1)
        assert (look["calls"], look["errors"]) == (51, 1)
        assert [line["calls"] for line in look["endpoints"] if line["msg_type"] == 1] == [50]
        assert look["callers"][0]["requests"] == 51
        text = tachyon_command("top", path, "--once", "--interval", "0.1").stdout
        assert "CALLS/S" in text
        assert "1 callers" in text


def test_a_path_without_server_is_an_error_in_one_line(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    for arguments in (["top", path, "--once"], ["ping", path, "--timeout", "0.1"]):
        failed = tachyon_command(*arguments)
        assert failed.returncode == 1
        assert failed.stderr.startswith("tachyon: ")
        assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["ps", "top"])
def test_a_path_cannot_control_the_terminal(
    peer: Callable[[str], Peer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    server = peer(r"""
        import os
        dispatcher = tachyon.RpcDispatcher()

        @dispatcher.handler(1)
        def evil(payload):
            return b""
        with tachyon.RpcServer(os.path.dirname(path) + "/\x1b[2J\n\udcff\u202e.sock") as server:
            print("listening")
            dispatcher.serve_forever(server)
    """)
    assert server.line() == "listening"
    (entry,) = json.loads(tachyon_command("ps", "--json").stdout)
    arguments = ["ps"] if command == "ps" else ["top", entry["path"], "--once", "--interval", "0.1"]
    shown = tachyon_command(*arguments)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert set(filter(lambda letter: not letter.isprintable(), shown.stdout)) == {"\n"}
    assert r"\x1b[2J\n" in shown.stdout
    assert r"\u202e.sock" in shown.stdout
