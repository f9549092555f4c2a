"""`tachyon.testing`, the fixtures for pytest, and the page of the guide about them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import forks
import tachyon
from proc import descriptors, mappings
from tachyon import RpcDispatcher, current_call, errors, tachyon_rpc, testing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tachyon import RpcBus

PAGE = (Path(__file__).parents[2] / "docs/guide/testing.md").read_text(encoding="utf-8")
LIMIT = 60.0


@tachyon_rpc(msg_type=1)
def shout(text: str) -> str:
    return text.upper()


@tachyon_rpc(msg_type=2)
async def later(text: str) -> str:
    await asyncio.sleep(0)
    return text


@tachyon_rpc(msg_type=3)
def where(fail: tachyon.bool) -> str:
    if fail:
        message = "on purpose"
        raise errors.FailedPreconditionError(message)
    call = current_call()
    return f"{threading.current_thread().name} {call.caller_pid} {call.name}"


@tachyon_rpc(msg_type=4)
def leaves(code: tachyon.u32) -> str:
    raise SystemExit(code)


@tachyon_rpc(msg_type=5)
def absent() -> str: ...  # type: ignore[empty-body]


@pytest.fixture
def dispatcher() -> RpcDispatcher:
    made = RpcDispatcher()
    for endpoint in (shout, later, where, leaves):
        made.register(endpoint)
    return made


def test_a_dispatcher_is_served_in_a_thread(dispatcher: RpcDispatcher) -> None:
    with testing.serve(dispatcher) as bus:
        assert shout.call(bus, "a") == "A"
        assert later.call(bus, "later") == "later"
        assert where.call(bus.within(LIMIT), fail=False) == f"tachyon-pair {os.getpid()} where"
        with pytest.raises(errors.FailedPreconditionError, match="on purpose"):
            where.call(bus, fail=True)
        with pytest.raises(tachyon.NoHandlerError):
            absent.call(bus)
        long = "x" * 300_000
        assert shout.call(bus, long) == long.upper()
        with pytest.raises(errors.TooLargeError):
            shout.call(bus, "x" * (1 << 21))
        assert len(bus.describe()) == 4
        assert "(in this process)" in repr(bus)
    assert bus.closed
    assert "tachyon-pair" not in [thread.name for thread in threading.enumerate()]


def test_a_dispatcher_is_served_in_a_loop(dispatcher: RpcDispatcher) -> None:
    async def main() -> None:
        async with testing.aserve(dispatcher) as bus:
            words = [f"w{n}" for n in range(20)]
            assert await asyncio.gather(*(later.acall(bus, word) for word in words)) == words
            assert await shout.acall(bus, "a") == "A"
            with pytest.raises(errors.FailedPreconditionError):
                await where.acall(bus, fail=True)
        assert bus.closed
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_an_error_of_the_block_is_raised(dispatcher: RpcDispatcher) -> None:
    with pytest.raises(ZeroDivisionError), testing.serve(dispatcher) as bus:
        assert shout.call(bus, "a") == "A"
        raise ZeroDivisionError

    async def main() -> None:
        async with testing.aserve(dispatcher) as bus:
            assert await shout.acall(bus, "a") == "A"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())


def test_a_forked_child_leaves_the_block(dispatcher: RpcDispatcher) -> None:
    def in_child() -> bool:
        stack.close()
        with testing.serve(dispatcher) as own:
            return shout.call(own, "child") == "CHILD"

    with ExitStack() as stack:
        bus = stack.enter_context(testing.serve(dispatcher))
        assert shout.call(bus, "a") == "A"
        forks.in_child(in_child)
        assert shout.call(bus, "b") == "B"


def test_the_error_that_ended_the_serving_is_raised(dispatcher: RpcDispatcher) -> None:
    with pytest.raises(SystemExit) as ended, testing.serve(dispatcher) as bus, pytest.raises(errors.RpcError):
        leaves.call(bus, 7)
    assert ended.value.code == 7
    with pytest.raises(errors.RpcError) as raised, testing.serve(dispatcher) as bus:
        leaves.call(bus, 7)
    assert raised.value.__notes__ == ["serving ended by SystemExit(7)"]


def test_a_handler_that_runs_at_the_end_is_awaited(dispatcher: RpcDispatcher) -> None:
    began, go_on, ended = threading.Event(), threading.Event(), []

    @dispatcher.handler(9)
    def slow(payload: memoryview) -> bytes:
        began.set()
        go_on.wait(LIMIT)
        ended.append(bytes(payload))
        return b""

    with testing.serve(dispatcher) as bus:
        bus.start(b"x", 9)
        assert began.wait(LIMIT)
        threading.Timer(0.05, go_on.set).start()
    assert ended == [b"x"]


def test_pairs_leave_nothing_behind(dispatcher: RpcDispatcher) -> None:
    def once() -> None:
        with testing.serve(dispatcher) as bus:
            shout.call(bus, "a")
        asyncio.run(_once(dispatcher))

    once()
    opened, mapped = descriptors(), mappings()
    for _ in range(20):
        once()
    assert descriptors() < opened + 20
    assert mappings() < mapped + 20


async def _once(dispatcher: RpcDispatcher) -> None:
    async with testing.aserve(dispatcher) as bus:
        await shout.acall(bus, "a")


def test_a_capacity_that_no_ring_has() -> None:
    from tachyon._tachyon import rpc_pair  # noqa: PLC0415

    with pytest.raises(OSError, match="not a power of two"):
        rpc_pair(1000)


def test_the_fixtures(
    tachyon_serve: Callable[[RpcDispatcher], RpcBus], tachyon_path: Path, dispatcher: RpcDispatcher
) -> None:
    first, second = tachyon_serve(dispatcher), tachyon_serve(dispatcher)
    assert (shout.call(first, "a"), later.call(second, "b")) == ("A", "b")
    with tachyon.RpcServer(tachyon_path) as server:
        assert server.path == tachyon_path
    assert len(os.fsencode(tachyon_path)) < 107


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_a_run_without_the_fixtures_does_not_import_the_package(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\ndef test_it():\n    assert 'tachyon_pytest' in sys.modules and 'tachyon' not in sys.modules\n"
    )
    process = run_pytest(tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_page(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    source = "\n\n".join(blocks)
    (tmp_path / "test_page.py").write_text(source, encoding="utf-8")
    process = run_pytest(tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    assert f"{source.count('def test_')} passed" in process.stdout
