"""`tachyon.stats`: the statistics of a live server as typed values."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from tachyon import ErrorKind, RpcBus, stats, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

echo, fails, sleep, missing = (tachyon_rpc(number)(bytes) for number in (1, 8, 3, 99))


@pytest.fixture
def server(service: Callable[..., Peer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """A server of `basics`, listed in the folder of this test."""
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    started = service("basics", "server", quiet=True, workers=2)
    # The server publishes its statistics when it begins to serve.
    for _ in range(1000):
        if stats.servers():
            return started
        time.sleep(0.01)
    pytest.fail("the server never published its statistics")


def row(rows: tuple[stats.EndpointStats, ...], msg_type: int | None) -> stats.EndpointStats:
    (found,) = (row for row in rows if row.msg_type == msg_type)
    return found


def taken_when(path: str, done: Callable[[stats.Snapshot], bool]) -> stats.Snapshot:
    """Look until the server has counted: a caller that has its reply may be a moment ahead."""
    for _ in range(1000):
        taken = stats.snapshot(path)
        if done(taken):
            return taken
        time.sleep(0.01)
    pytest.fail(f"the server never counted: {taken}")


def test_live_servers_are_listed(server: Peer, path: str) -> None:
    (entry,) = stats.servers()
    assert (entry.pid, entry.path) == (server.process.pid, Path(path))
    assert abs(time.time() - entry.started) < 60
    server.kill()
    assert stats.servers() == []


def test_a_snapshot_has_every_count(server: Peer, path: str) -> None:
    with RpcBus.connect(path) as bus:
        for _ in range(50):
            echo.call(bus, b"four")
        for _ in range(3):
            with pytest.raises(tachyon.RpcError):
                fails.call(bus, b"")
        with pytest.raises(tachyon.NoHandlerError):
            missing.call(bus, b"")
        sleep.call(bus, b"0.02")
        now = taken_when(path, lambda taken: taken.calls == 55)
        assert (now.pid, now.path, now.workers) == (server.process.pid, Path(path), 2)
        assert abs(time.time() - now.started - now.uptime) < 60
        assert (now.callers_now, now.callers_ever, now.rejected, now.errors) == (1, 1, 0, 4)
        assert [row.msg_type for row in now.endpoints] == [*range(1, 14), None]
        echoed = row(now.endpoints, 1)
        assert (echoed.name, echoed.calls, echoed.errors, echoed.errors_by_kind) == ("echo", 50, 0, {})
        assert (echoed.request_bytes, echoed.reply_bytes, echoed.callers_gone) == (200, 200, 0)
        assert echoed.p50 is not None
        assert echoed.p99 is not None
        assert 0 < echoed.p50 <= echoed.p99
        assert row(now.endpoints, 8).errors_by_kind == {ErrorKind.HANDLER_FAILED: 3}
        assert row(now.endpoints, None).errors_by_kind == {ErrorKind.NO_HANDLER: 1}
        slept = row(now.endpoints, 3)
        assert slept.p50 is not None
        assert slept.p50 > 0.018
        assert slept.busy > 0.018
        assert row(now.endpoints, 5).p50 is None
        (caller,) = now.callers
        assert (caller.id, caller.pid, caller.uid, caller.requests) == (1, os.getpid(), os.getuid(), 55)
        assert caller.forward.used <= caller.forward.slots
        assert caller.reverse.slots > 0


def test_two_snapshots_make_an_interval(server: Peer, path: str) -> None:
    with RpcBus.connect(path) as bus:
        for _ in range(10):
            echo.call(bus, b"x")
        observer = stats.Observer(path)
        before = taken_when(path, lambda taken: taken.calls == 10)
        for _ in range(20):
            echo.call(bus, b"x")
        with pytest.raises(tachyon.RpcError):
            fails.call(bus, b"")
        with RpcBus.connect(path) as second:
            echo.call(second, b"x")
            taken_when(path, lambda taken: taken.calls == 32)
            now = observer.snapshot()
        interval = now.since(before)
        assert (interval.calls, interval.errors, interval.joined, interval.rejected) == (22, 1, 1, 0)
        assert interval.requests == {1: 21, 2: 1}
        assert interval.seconds == pytest.approx(now.uptime - before.uptime)
        assert interval.per_second(22) == pytest.approx(22 / interval.seconds)
        assert row(interval.endpoints, 1).calls == 21
        assert row(interval.endpoints, 8).errors_by_kind == {ErrorKind.HANDLER_FAILED: 1}
        # Quantiles are those of the interval.
        assert row(interval.endpoints, 3).p50 is None
        nothing = now.since(now)
        assert (nothing.calls, nothing.seconds, nothing.per_second(5)) == (0, 0, 0.0)
        assert observer.is_live
        server.kill()
        assert not observer.is_live


def test_snapshots_of_two_servers_have_nothing_in_common(server: Peer, service: Callable[..., Peer], path: str) -> None:
    with RpcBus.connect(path) as bus:
        echo.call(bus, b"x")
        before = taken_when(path, lambda taken: taken.calls == 1)
    server.kill()
    service("basics", "server", quiet=True)
    # The second server begins to serve with its first caller.
    with RpcBus.connect(path) as bus:
        echo.call(bus, b"x")
        now = taken_when(path, lambda taken: taken.calls == 1)
        assert now.since(before).calls == 1


@pytest.mark.usefixtures("server")
def test_the_program_of_the_guide(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs/guide/monitoring.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert "/run/user/1000/prices.sock" in program
    exec(program.replace("/run/user/1000/prices.sock", path), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f"serves {path}")
    assert lines[1] == "echo: 0 calls/s, p99 None s"


@pytest.mark.usefixtures("server")
def test_snapshots_are_plain_values(path: str) -> None:
    with RpcBus.connect(path) as bus:
        echo.call(bus, b"x")
        taken = taken_when(path, lambda taken: taken.calls == 1)
    plain = dataclasses.asdict(taken)
    assert json.loads(json.dumps(plain, default=str))["path"] == path
    assert plain["endpoints"][0]["name"] == "echo"
    assert "_counts" not in repr(taken)
    assert taken != stats.snapshot(path), "the uptime differs"
    with pytest.raises(dataclasses.FrozenInstanceError):
        taken.calls = 5  # type: ignore[misc]


def test_a_path_without_server_is_an_os_error(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACHYON_RUNTIME_DIR", str(tmp_path))
    assert stats.servers() == []
    with pytest.raises(OSError, match="no live server"):
        stats.snapshot(path)
    with pytest.raises(TypeError):
        stats.Observer(5)  # type: ignore[arg-type]


def test_everything_listed_is_documented() -> None:
    for name in stats.__all__:
        value = getattr(stats, name)
        assert value.__doc__, name
        if dataclasses.is_dataclass(value):
            # The text of a field stands below it.
            source = inspect.getsource(value)
            assert source.count('"""') // 2 >= len(dataclasses.fields(value)) + 1, name
