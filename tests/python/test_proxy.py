"""The example `proxy` between callers and callees of both languages: nothing of a call changes on its way through."""

from __future__ import annotations

import asyncio
import json
import signal
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from calling import by_acall, by_call, by_pool
from programs import EXAMPLES, program
from programs import tachyon as command_line
from tachyon import RpcBus, errors, tachyon_rpc
from test_examples import chat, command, pair, upload
from test_kinds import SERVED, catch_every_kind, served_in_rust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Peer

LIMIT = 60.0


@pytest.fixture
def back(path: str) -> str:
    """Return the path of the callee behind the proxy."""
    return f"{path}.back"


def listening(path: str) -> None:
    """Wait until a process listens at a path."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        try:
            RpcBus.connect(path, probe=True).close()
        except tachyon.NoListenerError:
            time.sleep(0.02)
        except errors.OnePeerError:
            return
        else:
            return
    pytest.fail(f"no process listens at {path}")


@contextmanager
def proxied(path: str, back: str) -> Iterator[None]:
    """Run the proxy, which stops in good order."""
    listening(back)
    with subprocess.Popen(
        [str(EXAMPLES / "proxy"), path, back], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            listening(path)
            yield
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    assert out.startswith("passed ")


@contextmanager
def running(line: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def printed(line: list[str]) -> str:
    done = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pair
def test_streams_of_all_kinds_and_declared_errors(listener: str, connector: str, path: str, back: str) -> None:
    """The route service has a stream of each kind; without a proxy its caller prints the same."""
    shown = []
    for at in (back, path):
        with running(command(listener, "route_service", back)) as service:
            if at == path:
                with proxied(path, back):
                    shown.append(printed(command(connector, "route_caller", path)))
            else:
                listening(back)
                shown.append(printed(command(connector, "route_caller", back)))
            assert service.wait(LIMIT) == 0
    assert shown[0] == shown[1]
    assert "an earlier note at the trail: third" in shown[0]


@contextmanager
def waiting_proxy(path: str, back: str) -> Iterator[None]:
    """Run the proxy as soon as the callee listens, beside the code that starts the callee."""
    with ThreadPoolExecutor(1) as pool:
        proxy = proxied(path, back)
        entered = pool.submit(proxy.__enter__)
        yield
        entered.result(LIMIT)
        proxy.__exit__(None, None, None)


@pair
def test_a_chat_whose_members_leave_and_are_killed(listener: str, connector: str, path: str, back: str) -> None:
    with waiting_proxy(path, back):
        chat(listener, connector, back, path)


def test_an_upload(path: str, back: str, tmp_path: Path) -> None:
    with waiting_proxy(path, back):
        upload(back, path, tmp_path)


@pytest.mark.parametrize("way", [by_call, by_acall, by_pool])
@pytest.mark.parametrize("language", ["Rust", "Python"])
def test_every_kind_of_error(  # noqa: PLR0913, PLR0917  # fixtures
    way: Any, language: str, path: str, back: str, service: Callable[..., Peer], connected: Callable[..., Any]
) -> None:
    if language == "Rust":
        with served_in_rust("server", back, "false"), proxied(path, back):
            catch_every_kind(connected(way))
        return
    served, options = SERVED["server"]
    service("kinds", served, at=back, quiet=True, **options)
    with proxied(path, back):
        catch_every_kind(connected(way))


def test_rust_calls_python(path: str, back: str, service: Callable[..., Peer]) -> None:
    served, options = SERVED["loop"]
    service("kinds", served, at=back, quiet=True, **options)
    with proxied(path, back):
        assert printed([program("kinds"), "call", path, "false"]) == ""


@tachyon_rpc(1)
def refuse_otherwise(kind: tachyon.u32, text: str) -> tachyon.u32: ...  # type: ignore[empty-body]


def test_a_mismatch_is_refused_with_the_same_sentence(path: str, back: str) -> None:
    with served_in_rust("server", back, "false"), proxied(path, back):
        said = []
        for at in (path, back):
            for way in (by_call, by_acall):
                with way(at) as call, pytest.raises(tachyon.LayoutMismatchError) as raised:
                    call(refuse_otherwise, 0, "")
                said.append(str(raised.value))
        assert len(set(said)) == 1


def test_the_command_line_sees_the_callee(path: str, back: str) -> None:
    with served_in_rust("server", back, "false"), proxied(path, back):
        assert command_line("describe", path, "--json") == command_line("describe", back, "--json")
        assert command_line("describe", path) == command_line("describe", back)
        assert command_line("codegen", "python", path) == command_line("codegen", "python", back)
        assert json.loads(command_line("call", path, "refuse", '{"kind": 0, "text": ""}')) == 7
        said = command_line("call", path, "find", "7", status=1)
        assert said == "tachyon: find: NOT_FOUND NoSensor: no sensor 7\n"
        (row,) = json.loads(command_line("top", path, "--once", "--json"))["endpoints"]
        assert (row["msg_type"], row["calls"], row["errors"]) == (None, 2, 1)


def test_limits(path: str, back: str, peer: Callable[..., Peer]) -> None:
    with served_in_rust("server", back, "false"), proxied(path, back):
        with RpcBus.connect(back) as bus:
            behind = bus.limits(timeout=LIMIT)
            assert behind == bus.limits() == (behind.max_request, behind.max_reply, behind.version)
            assert (behind.max_request, behind.max_reply) > (0, 0)
        with RpcBus.connect(path) as bus:
            assert bus.limits() == bus.limits(timeout=LIMIT)
            assert bus.limits().version not in {behind.version, 0}
    silent = peer(
        """
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            try:
                bus.serve()
            except tachyon.PeerClosedError:
                pass
        """,
        at=f"{path}.silent",
    )
    with RpcBus.connect(f"{path}.silent") as bus, pytest.raises(errors.NoHandlerError):
        bus.limits(timeout=LIMIT)
    silent.join()


CALLS = """
    import threading
    dispatcher = tachyon.RpcDispatcher()

    @dispatcher.handler(msg_type=1)
    def seen(key: str) -> str:
        call = tachyon.current_call()
        return f"{call.metadata.get(key)} {call.remaining is not None}"

    @dispatcher.handler(msg_type=2)
    def ponder(seconds: tachyon.f64) -> str:
        call, until = tachyon.current_call(), time.monotonic() + seconds
        print("pondering", flush=True)
        while time.monotonic() < until and not call.is_cancelled():
            time.sleep(0.005)
        print("cancelled" if call.is_cancelled() else "done", flush=True)
        return "pondered"

    server = tachyon.RpcServer(path)
    print("ready", flush=True)
    dispatcher.serve_forever(server, workers=2)
"""


@tachyon_rpc(1)
def seen(key: str) -> str: ...  # type: ignore[empty-body]


@tachyon_rpc(2)
def ponder(seconds: tachyon.f64) -> str: ...  # type: ignore[empty-body]


def test_metadata_deadlines_and_cancellation(path: str, back: str, peer: Callable[..., Peer]) -> None:
    callee = peer(CALLS, at=back)
    assert callee.line() == "ready"
    with proxied(path, back):
        with RpcBus.connect(path) as bus:
            assert seen.call(bus, "tenant") == "None False"
            assert seen.call(bus.metadata("tenant", "grün").within(LIMIT), "tenant") == "grün True"
            assert ponder.call(bus, 0.01) == "pondered"
            assert [callee.line(), callee.line()] == ["pondering", "done"]
            with pytest.raises(tachyon.TimedOutError):
                ponder.call(bus.within(1.0), LIMIT)
            assert [callee.line(), callee.line()] == ["pondering", "cancelled"]

        async def give_up() -> None:
            with RpcBus.connect(path) as bus:
                task = asyncio.ensure_future(ponder.acall(bus, LIMIT))
                assert await asyncio.to_thread(callee.line) == "pondering"
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await seen.acall(bus, "tenant") == "None False"

        asyncio.run(give_up())
        assert callee.line() == "cancelled"
        # A caller that leaves.
        with RpcBus.connect(path) as bus:
            bus.start(struct.pack("<d", LIMIT), 2)
            assert callee.line() == "pondering"
        assert callee.line() == "cancelled"


def test_the_callee_restarts(path: str, back: str, peer: Callable[..., Peer]) -> None:
    callee = peer(CALLS, at=back)
    assert callee.line() == "ready"
    with proxied(path, back), RpcBus.connect(path) as bus:
        assert seen.call(bus, "a") == "None False"
        with ThreadPoolExecutor(1) as pool, RpcBus.connect(path) as other:
            calling = pool.submit(ponder.call, other, LIMIT)
            assert callee.line() == "pondering"
            callee.kill()
            with pytest.raises(errors.UnavailableError) as lost:
                calling.result(LIMIT)
        assert not lost.value.safe_to_retry
        with pytest.raises(errors.UnreachableError) as away:
            seen.call(bus, "a")
        assert away.value.safe_to_retry
        # Of a new caller, whose contract cannot be compared.
        for way in (by_call, by_acall):
            with way(path) as call, pytest.raises(errors.UnreachableError) as away:
                call(seen, "a")
            assert (away.value.safe_to_retry, away.value.msg_type) == (True, 1)
        with pytest.raises(tachyon.TimedOutError):
            seen.call(bus.within(0.05), "a")
        assert peer(CALLS, at=back).line() == "ready"
        assert seen.call(bus, "a") == "None False"


def test_a_callee_that_hangs_costs_no_more_than_the_time_of_the_call(
    path: str, back: str, peer: Callable[..., Peer]
) -> None:
    callee = peer(CALLS, at=back)
    assert callee.line() == "ready"

    async def call(bus: RpcBus, seconds: float) -> str:
        return await seen.acall(bus.within(seconds), "a")

    with proxied(path, back), asyncio.Runner() as runner, RpcBus.connect(path) as bus, RpcBus.connect(path) as loop_bus:
        ways: list[Callable[[float], str]] = [
            lambda seconds: seen.call(bus.within(seconds), "a"),
            lambda seconds: runner.run(call(loop_bus, seconds)),
        ]
        callee.process.send_signal(signal.SIGSTOP)
        for way in ways:
            # The comparison waits for the callee, and the call was not sent.
            with pytest.raises(tachyon.TimedOutError) as late:
                way(0.2)
            assert late.value.safe_to_retry
        callee.process.send_signal(signal.SIGCONT)
        for way in ways:
            assert way(LIMIT) == "None True"
        callee.process.send_signal(signal.SIGSTOP)
        for way in ways:
            with pytest.raises(tachyon.TimedOutError) as late:
                way(0.2)
            assert not late.value.safe_to_retry
        callee.process.send_signal(signal.SIGCONT)
        for way in ways:
            assert way(LIMIT) == "None True"
