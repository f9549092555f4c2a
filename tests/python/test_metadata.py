"""Metadata: from callers of both languages to handlers and layers of both, and the context of a call."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from contract import rust
from programs import program
from tachyon import ErrorKind, Pool, RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 60.0
MOST = "x" * (1024 - 3 - len("most") - 3 - len("tokenopen"))
"""The longest text of an entry `most` beside the token."""


@tachyon_rpc(msg_type=1)
def metadata(key: str) -> str | None:
    raise NotImplementedError


@tachyon_rpc(msg_type=2)
def entries(payload: bytes) -> bytes:
    raise NotImplementedError


@tachyon_rpc(msg_type=3)
def context(payload: str) -> str:
    raise NotImplementedError


def with_entries(target: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that makes a call with the metadata of its keyword arguments."""

    def act(endpoint: Any, *args: Any, **given: str) -> Any:
        view = target
        for key, value in given.items():
            view = view.metadata(key, value)
        return call(view.within(LIMIT) if given else view, endpoint, *args)

    return act


@contextmanager
def by_call(path: str) -> Iterator[Callable[..., Any]]:
    with RpcBus.connect(path) as bus:
        yield with_entries(bus, lambda view, endpoint, *args: endpoint.call(view, *args))


@contextmanager
def by_pool(path: str) -> Iterator[Callable[..., Any]]:
    with Pool(path, 1) as pool:
        yield with_entries(pool, lambda view, endpoint, *args: view.call(endpoint, *args))


@contextmanager
def by_acall(path: str) -> Iterator[Callable[..., Any]]:
    async def acall(view: Any, endpoint: Any, *args: Any) -> Any:
        return await endpoint.acall(view, *args)

    with asyncio.Runner() as runner, RpcBus.connect(path) as bus:
        yield with_entries(bus, lambda *args: runner.run(acall(*args)))


@contextmanager
def by_pool_acall(path: str) -> Iterator[Callable[..., Any]]:
    async def acall(view: Any, endpoint: Any, *args: Any) -> Any:
        return await view.acall(endpoint, *args)

    with asyncio.Runner() as runner, Pool(path, 1) as pool:
        yield with_entries(pool, lambda *args: runner.run(acall(*args)))


WAYS = [by_call, by_pool, by_acall, by_pool_acall]


@pytest.fixture
def token_server(service: Callable[..., Any], path: str, language: str) -> Iterator[None]:
    """Serve `metadata` and `entries` behind a layer that wants a token, in either language."""
    if language == "python":
        service("layered", "server", layers=["token"])
        yield
        return
    with subprocess.Popen([program("contract"), "token_server", path]) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.usefixtures("token_server")
@pytest.mark.parametrize("way", WAYS)
def test_metadata_reaches_layers_and_handlers(path: str, way: Any) -> None:
    with way(path) as call:
        for given in ({}, {"token": "shut"}):
            with pytest.raises(tachyon.errors.UnauthenticatedError, match="the token is") as raised:
                call(metadata, "a", **given)
            assert raised.value.kind is ErrorKind.UNAUTHENTICATED
        assert call(metadata, "a", token="open", a="grün") == "grün"
        assert call(metadata, "b", token="open", a="grün") is None
        assert call(entries, b"n", token="open", a="") == b"n2"
        assert call(entries, b"n" * 5000, token="open", most=MOST) == b"n" * 5000 + b"2"
        # A view changes no other call.
        with pytest.raises(tachyon.errors.UnauthenticatedError, match="the token is"):
            call(metadata, "a")


@pytest.mark.usefixtures("token_server")
def test_raw_requests_carry_metadata(path: str) -> None:
    with RpcBus.connect(path) as bus:
        number = bus.metadata("token", "open").within(LIMIT).start(b"raw", 2)
        with bus.finish(number, timeout=LIMIT) as reply:
            assert bytes(reply) == b"raw1"
        with bus.finish(bus.start(b"raw", 2), timeout=LIMIT) as reply:
            assert reply.error_kind is ErrorKind.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("way", "options"),
    [
        ("server", {}),
        ("server", {"workers": 2}),
        ("bus", {}),
        ("thread", {}),
        ("loop", {}),
        ("loop", {"coroutines": True}),
        ("bus_loop", {"coroutines": True}),
    ],
)
def test_rust_sends_metadata_to_every_kind_of_handler(
    service: Callable[..., Any], path: str, way: str, options: dict[str, Any]
) -> None:
    service("layered", way, layers=["token"], **options)
    rust("call_token_server", path)


@tachyon_rpc(msg_type=2)
def awaiting(key: str) -> str | None:
    raise NotImplementedError


@pytest.mark.usefixtures("token_server")
@pytest.mark.parametrize("way", ["server", "loop"])
def test_a_trace_passes_three_processes(service: Callable[..., Any], path: str, way: str) -> None:
    service("relay", way, path, at=f"{path}.relay")
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    async def in_tasks() -> None:
        with RpcBus.connect(f"{path}.relay") as bus:
            traces = [f"{trace[:-2]}{number:02}" for number in range(10)]
            calls = [awaiting.acall(bus.metadata("traceparent", each), "traceparent") for each in traces]
            assert await asyncio.gather(*calls) == traces

    with RpcBus.connect(f"{path}.relay") as bus:
        assert metadata.call(bus.metadata("traceparent", trace), "traceparent") == trace
        assert metadata.call(bus.metadata("other", "x"), "traceparent") is None
        assert metadata.call(bus.metadata("other", "x"), "other") is None
    if way == "loop":
        asyncio.run(in_tasks())


@pytest.mark.parametrize(("way", "coroutines"), [("server", False), ("bus", False), ("loop", False), ("loop", True)])
def test_the_context_of_a_call(service: Callable[..., Any], path: str, way: str, *, coroutines: bool) -> None:
    service("layered", way, coroutines=coroutines)
    with RpcBus.connect(path) as bus:
        plain = json.loads(context.call(bus, "abc"))
        assert plain == {
            "metadata": {},
            "name": "context",
            "msg_type": 3,
            "request_size": 3,
            "pid": os.getpid(),
            "uid": os.getuid(),
            "is_limited": False,
            "is_cancelled": False,
        }
        view = bus.metadata("b", "2").metadata("a", "1").within(30).metadata("b", "3")
        full = json.loads(context.call(view, "abc"))
        assert full == {**plain, "metadata": {"b": "3", "a": "1"}, "is_limited": True}
        assert list(full["metadata"]) == ["b", "a"]
        assert json.loads(context.call(bus, "abc")) == plain


def test_received_metadata_is_read_only(path: str, peer: Callable[..., Any]) -> None:
    caller = peer("""
        with tachyon.RpcBus.connect(path) as bus:
            view = bus.metadata("a", "1")
            print(bytes(bus.finish(view.start(b"with", 1))).decode())
            print(bytes(bus.finish(bus.start(b"without", 1))).decode())
    """)
    with RpcBus.listen(path, 4096, 4096, timeout=LIMIT) as bus:
        for expected in ({"a": "1"}, {}):
            with bus.serve(timeout=LIMIT) as request:
                assert (request.metadata, request.type_id) == (expected, 1)
                with pytest.raises(TypeError):
                    request.metadata["b"] = "2"  # type: ignore[index]
                number, payload = request.correlation_id, bytes(request)
            bus.reply(number, payload, 1)
        assert caller.join() == "with\nwithout\n"


@pytest.mark.parametrize(
    ("key", "value", "error", "text"),
    [
        ("", "x", ValueError, '"" is no key of metadata: a key has 1 to 255 of the characters'),
        ("Trace", "x", ValueError, '"Trace" is no key'),
        ("a b", "x", ValueError, '"a b" is no key'),
        ("k" * 256, "x", ValueError, "is no key"),
        ("a", "x" * 1021, ValueError, 'takes at most 1024 bytes, and with "a" it would be 1025'),
        ("a", "\ud800", ValueError, "surrogates not allowed"),
        ("a", 3, TypeError, "a value of metadata is text, not int"),
        (b"a", "x", TypeError, "a key of metadata is text, not bytes"),
    ],
)
def test_metadata_that_cannot_travel_is_refused(  # noqa: PLR0913, PLR0917
    service: Callable[..., Any], path: str, key: Any, value: Any, error: type[Exception], text: str
) -> None:
    service("layered", "bus")
    with RpcBus.connect(path) as bus, Pool(path, 1) as pool:
        for target in (bus, pool, bus.within(1), pool.within(1)):
            with pytest.raises(error, match=text.replace("\\", "")) as raised:
                target.metadata(key, value)
            assert error is TypeError or isinstance(raised.value, tachyon.TachyonError | UnicodeError)
        assert json.loads(context.call(bus, "abc"))["metadata"] == {}


def test_a_request_too_long_with_its_metadata(service: Callable[..., Any], path: str) -> None:
    service("layered", "bus", rings=(1024, 4096))
    with RpcBus.connect(path) as bus:
        assert entries.call(bus, bytes(600)) == bytes(600) + b"0"
        with pytest.raises(tachyon.errors.TooLargeError):
            entries.call(bus.metadata("a", "x" * 900), bytes(600))
        assert entries.call(bus, b"") == b"0"


def test_views_have_a_text(service: Callable[..., Any], path: str) -> None:
    service("layered", "bus")
    with RpcBus.connect(path) as bus:
        assert (
            repr(bus.metadata("token", "secret").within(0.5))
            == "<tachyon.RpcBus within 0.5 seconds with metadata token>"
        )
        assert repr(bus.within(2)) == "<tachyon.RpcBus within 2 seconds>"
