"""Endpoints of an extension in Rust in a dispatcher in Python: one table, and no wait for the GIL."""

from __future__ import annotations

import asyncio
import ctypes
import datetime as dt
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pricing
import pytest

from tachyon import Array, ErrorKind, RpcBus, RpcDispatcher, RpcError, RustEndpoint, Struct, f64, tachyon_rpc, u64
from tachyon.errors import DuplicateError, ExtensionError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

SERVERS: dict[str, tuple[str, dict[str, int]]] = {
    "bus": ("bus", {}),
    "thread": ("thread", {}),
    "one worker": ("server", {"workers": 1}),
    "two workers": ("server", {"workers": 2}),
    "loop": ("loop", {}),
}

on_a_bus = pytest.mark.parametrize("server", ["bus", "thread"])
on_one_thread_or_more = pytest.mark.parametrize("server", ["bus", "one worker", "two workers"])


class Quote(Struct):
    instrument: u64
    bid: f64
    ask: f64


@tachyon_rpc(1)
def keep(request: Array[Quote]) -> u64: ...  # type: ignore[empty-body]


@tachyon_rpc(2)
def latest(request: u64) -> Quote: ...  # type: ignore[empty-body]


@tachyon_rpc(3)
def mean(request: Array[f64]) -> f64: ...  # type: ignore[empty-body]


@tachyon_rpc(4)
def running_sum(request: Array[f64]) -> Array[f64]: ...  # type: ignore[empty-body]


@tachyon_rpc(5)
def whoami() -> str: ...  # type: ignore[empty-body]


@tachyon_rpc(10)
def shout(request: bytes) -> bytes: ...  # type: ignore[empty-body]


@tachyon_rpc(11)
def where() -> bytes: ...  # type: ignore[empty-body]


@tachyon_rpc(12)
def leave() -> None: ...


@tachyon_rpc(2)
def raw_latest(request: memoryview) -> bytes: ...  # type: ignore[empty-body]


@pytest.fixture
def serve(service: Callable[..., Peer]) -> Callable[..., Peer]:
    """Return a function that starts one of `SERVERS`, which reports nothing unless an option says so."""

    def start(server: str, **options: object) -> Peer:
        way, more = SERVERS[server]
        return service("extension", way, **({"quiet": True} | more | options))

    return start


@pytest.fixture(params=SERVERS)
def anywhere(request: pytest.FixtureRequest, serve: Callable[..., Peer]) -> Peer:
    return serve(request.param)


def test_rust_and_python_in_one_table(anywhere: Peer, path: str) -> None:
    with RpcBus.connect(path) as bus:
        quotes = [Quote(instrument=number, bid=number - 0.5, ask=number + 0.5) for number in range(1, 4)]
        assert keep.call(bus, quotes, timeout=5.0) == 3
        assert latest.call(bus, 2, timeout=5.0) == quotes[1]
        assert mean.call(bus, [1.0, 2.0, 6.0], timeout=5.0) == 3.0
        assert running_sum.call(bus, [1.0, 2.0, 6.0], timeout=5.0) == [1.0, 3.0, 9.0]
        assert running_sum.call(bus, [], timeout=5.0) == []
        assert shout.call(bus, b"loud", timeout=5.0) == b"LOUD"
        described = bus.describe(timeout=5.0)
        assert [endpoint.name for endpoint in described] == [
            *("keep", "latest", "mean", "running_sum", "whoami"),
            *("shout", "where", "leave"),
        ]
        assert described["latest"].doc == "Returns the latest quote of an instrument."


def test_a_function_in_rust_reads_the_context_of_its_call(anywhere: Peer, path: str) -> None:
    with RpcBus.connect(path) as bus:
        own = f"process {os.getpid()} of"
        assert whoami.call(bus.metadata("tenant", "acme").metadata("note", ""), timeout=5.0) == f"{own} acme"
        assert whoami.call(bus, timeout=5.0) == f"{own} no tenant"
        assert whoami.call(bus.metadata("tenant", "ä" * 400), timeout=5.0) == f"{own} {'ä' * 400}"


def test_errors_reach_the_caller(anywhere: Peer, path: str) -> None:
    with RpcBus.connect(path) as bus:
        with pytest.raises(RpcError, match="instrument 9 has no quote") as raised:
            latest.call(bus, 9, timeout=5.0)
        assert raised.value.kind is ErrorKind.HANDLER_FAILED
        with pytest.raises(RpcError, match="panicked: the mean needs at least one number") as raised:
            mean.call(bus, [], timeout=5.0)
        assert raised.value.kind is ErrorKind.HANDLER_FAILED
        with pytest.raises(RpcError, match="3 bytes") as raised:
            raw_latest.call(bus, b"abc", timeout=5.0)
        assert raised.value.kind is ErrorKind.BAD_REQUEST
        assert mean.call(bus, [2.0], timeout=5.0) == 2.0


@on_a_bus
def test_a_reply_that_never_fits(serve: Callable[..., Peer], path: str, server: str) -> None:
    serve(server, rings=(1 << 16, 1 << 12))
    with RpcBus.connect(path) as bus:
        with pytest.raises(RpcError, match="can never fit the reverse ring") as raised:
            running_sum.call(bus, [1.0] * 4000, timeout=5.0)
        assert raised.value.kind is ErrorKind.REPLY_TOO_LARGE
        assert running_sum.call(bus, [1.0, 1.0], timeout=5.0) == [1.0, 2.0]


@pytest.mark.parametrize("server", ["bus", "thread", "one worker", "two workers"])
def test_calls_proceed_while_a_thread_holds_the_interpreter(serve: Callable[..., Peer], path: str, server: str) -> None:
    child = serve(server)
    with RpcBus.connect(path) as bus:
        assert keep.call(bus, [Quote(instrument=1, bid=1.0, ask=2.0)], timeout=5.0) == 1
        assert shout.call(bus, b"warm", timeout=5.0) == b"WARM"
        child.tell("hold")
        assert child.line() == "held"
        for number in range(200):
            # A pause is longer than any wait between two looks for signals; after the first the lock is certainly held.
            if number % 50 == 0:
                time.sleep(0.2)
            assert latest.call(bus, 1, timeout=20.0).ask == 2.0
            assert mean.call(bus, [float(number), 1.0], timeout=20.0) == (number + 1) / 2
        if "worker" in server:
            with RpcBus.connect(path) as newcomer:
                assert mean.call(newcomer, [3.0], timeout=20.0) == 3.0
        # A handler in Python must wait for the lock, so the thread held it all the time.
        with pytest.raises(TimeoutError):
            shout.call(bus, b"late", timeout=0.5)
        child.tell("go")
        assert child.line() == "released"
        assert shout.call(bus, b"free", timeout=20.0) == b"FREE"
        assert latest.call(bus, 1, timeout=20.0).ask == 2.0


@on_one_thread_or_more
def test_failures_are_logged(serve: Callable[..., Peer], path: str, server: str) -> None:
    child = serve(server, quiet=False, log="WARNING")
    with RpcBus.connect(path) as bus:
        with pytest.raises(RpcError):
            latest.call(bus, 7, timeout=5.0)
        line = child.line()
        assert line.startswith("tachyon ERROR ")
        assert "latest" in line
        assert line.endswith("instrument 7 has no quote")


def test_two_callers_of_two_workers_change_the_state_in_turn(serve: Callable[..., Peer], path: str) -> None:
    serve("two workers")

    def write(first: int) -> None:
        with RpcBus.connect(path) as bus:
            for number in range(first, first + 200):
                keep.call(bus, [Quote(instrument=number, bid=float(number), ask=0.0)], timeout=20.0)
                assert latest.call(bus, number, timeout=20.0).bid == number

    with ThreadPoolExecutor() as threads:
        list(threads.map(write, [0, 1000, 2000, 3000]))
    with RpcBus.connect(path) as bus:
        assert keep.call(bus, [], timeout=5.0) == 800


@on_one_thread_or_more
def test_ctrl_c_ends_serving(serve: Callable[..., Peer], path: str, server: str) -> None:
    child = serve(server)
    with RpcBus.connect(path) as bus:
        assert mean.call(bus, [1.0], timeout=5.0) == 1.0
        child.process.send_signal(signal.SIGINT)
        assert child.line() == "interrupted"
    child.join()


@on_one_thread_or_more
def test_a_handler_in_python_may_end_the_process(serve: Callable[..., Peer], path: str, server: str) -> None:
    child = serve(server)
    with RpcBus.connect(path) as bus:
        with pytest.raises(RpcError):
            leave.call(bus, timeout=5.0)
        assert child.process.wait(10) == 3


def test_python_handlers_run_in_the_serving_thread(serve: Callable[..., Peer], path: str) -> None:
    child = serve("bus")
    with RpcBus.connect(path) as bus:
        assert where.call(bus, timeout=5.0) != b"MainThread"
    child.join()


def test_serving_once(peer: Callable[[str], Peer], path: str) -> None:
    child = peer("""
        from services.extension import dispatcher
        with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
            dispatcher.serve_once(bus)
            try:
                dispatcher.serve_once(bus)
            except tachyon.HandlerError as error:
                print(error)
    """)
    with RpcBus.connect(path) as bus:
        assert mean.call(bus, [1.0], timeout=5.0) == 1.0 or mean.call(bus, [1.0], timeout=5.0)
        with pytest.raises(RpcError):
            raw_latest.call(bus, bytes(8), timeout=5.0)
    assert "instrument 0 has no quote" in child.join()


def test_attributes_of_an_exported_endpoint() -> None:
    assert isinstance(pricing.mean, RustEndpoint)
    assert pricing.mean.msg_type == 3
    assert pricing.mean.__name__ == "mean"
    assert pricing.mean.__doc__ == "Returns the mean of numbers."
    assert repr(pricing.mean) == "RustEndpoint(msg_type=3, fn='mean')"


def test_registration() -> None:
    dispatcher = RpcDispatcher().register(pricing.mean).register(pricing.keep)
    assert len(dispatcher) == 2
    assert 3 in dispatcher
    assert 4 not in dispatcher
    with pytest.raises(DuplicateError, match="mean"):
        dispatcher.register(pricing.mean)
    with pytest.raises(DuplicateError, match="mean"):
        dispatcher.handler(3)(bytes)
    with pytest.raises(TypeError, match="an object of a Service is registered, not type"):
        dispatcher.register(bytes)  # type: ignore[arg-type]
    # Another table may hold the same endpoints, with the same state.
    assert len(RpcDispatcher().register(pricing.mean)) == 1


class Head(ctypes.Structure):
    """The first fields of an exported endpoint, in every version."""

    _fields_ = (
        ("magic", ctypes.c_char * 8),
        ("abi", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("version", ctypes.c_char_p),
        ("version_len", ctypes.c_size_t),
        ("rest", ctypes.c_uint8 * 64),
    )


def capsule(head: Head, name: bytes = b"tachyon.RustEndpoint") -> object:
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return make(ctypes.addressof(head), name, None)


def test_another_version_is_refused_by_name() -> None:
    newer = Head(b"tachyon", 2, 0, b"7.8.9", 5)
    with pytest.raises(
        ExtensionError, match=r"built with tachyon 7\.8\.9 \(interface 2\) and is used with tachyon"
    ) as raised:
        RustEndpoint(capsule(newer))  # type: ignore[arg-type]
    assert isinstance(raised.value, ImportError)
    of_other_size = Head(b"tachyon", 1, 0, b"0.1.0", 5)
    with pytest.raises(ExtensionError, match="build both with the same version"):
        RustEndpoint(capsule(of_other_size))  # type: ignore[arg-type]


def test_a_foreign_capsule_is_refused() -> None:
    with pytest.raises(ExtensionError, match="no endpoint that a Rust extension exported"):
        RustEndpoint(dt.datetime_CAPI)  # type: ignore[attr-defined]
    other = Head(b"other", 1, 0, b"", 0)
    with pytest.raises(ExtensionError, match="no endpoint that a Rust extension exported"):
        RustEndpoint(capsule(other))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        RustEndpoint(3)  # type: ignore[arg-type]


def test_coroutines_call_rust_in_python(serve: Callable[..., Peer], path: str) -> None:
    serve("one worker")

    async def main() -> None:
        with RpcBus.connect(path) as bus:
            means = await asyncio.gather(*(mean.acall(bus, [float(number)], timeout=20.0) for number in range(200)))
            assert means == [float(number) for number in range(200)]

    asyncio.run(main())


@pytest.mark.parametrize("server", list(SERVERS))
def test_a_layer_in_python_sees_endpoints_in_rust(service: Callable[..., Peer], path: str, server: str) -> None:
    way, options = SERVERS[server]
    service("extension", way, layered=True, **options)
    with RpcBus.connect(path) as bus:
        for endpoint, argument, reply in ((mean, [1.0, 2.0], 1.5), (shout, b"abc", b"ABC")):
            for _ in range(3):
                assert endpoint.call(bus.metadata("token", endpoint.__name__), argument) == reply
                with pytest.raises(PermissionDeniedError):
                    endpoint.call(bus, argument)
