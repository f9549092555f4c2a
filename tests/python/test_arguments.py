"""Arguments of calls: by position and by name, with defaults, in every way to call and to serve."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tachyon
from calling import by_acall, by_call, by_pool, by_timed_pool
from services.arguments import NUMBERS, OF_SETTINGS
from serving_thread import serving
from tachyon import Pool, RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer


class Point(tachyon.Struct):
    x: tachyon.f32
    y: tachyon.f32


@tachyon_rpc(1)
def area(  # type: ignore[empty-body]
    point: Point,
    scale: tachyon.f64 = 3.0,
    tags: list[str] = ["c"],  # noqa: B006
    note: str | None = None,
) -> str: ...


@tachyon_rpc(2)
def left(a: tachyon.u8, b: tachyon.u8) -> tachyon.f64: ...  # type: ignore[empty-body]


@tachyon_rpc(3)
def slow(a: tachyon.u8, seconds: tachyon.f64) -> tachyon.u8: ...  # type: ignore[empty-body]


@tachyon_rpc(4)
def add(a: tachyon.u8, b: tachyon.u8, /) -> tachyon.u64: ...  # type: ignore[empty-body]


@tachyon_rpc(5)
def echo(payload: memoryview) -> bytes: ...  # type: ignore[empty-body]


@tachyon_rpc(6)
def one(value: tachyon.u32 = 9) -> tachyon.u32: ...  # type: ignore[empty-body]


@tachyon_rpc(7)
def odd(  # type: ignore[empty-body]
    timeout: tachyon.u8,
    on_response: tachyon.u8,
    payload: tachyon.u8,
    bus: tachyon.u8,
) -> list[tachyon.u8]: ...


@tachyon_rpc(8)
def nothing() -> tachyon.u8: ...  # type: ignore[empty-body]


@tachyon_rpc(9)
def named(x: tachyon.u8, _class: tachyon.u8) -> tachyon.u8: ...  # type: ignore[empty-body]


_HERE = {function.__name__: tachyon_rpc(NUMBERS[function])(function) for function in OF_SETTINGS}
"""Endpoints as the callee has them; the tests never serve these."""

POINT = Point(x=2.0, y=0.0)

LONG = 20.001
"""Seconds that remain of twenty at most: a deadline travels rounded up."""

SERVERS: dict[str, tuple[str, bool]] = {
    "bus": ("bus", False),
    "server": ("server", False),
    "loop": ("loop", True),
    "mixed": ("loop", False),
}
"""The way to serve, and whether the handlers are coroutine functions."""


@pytest.fixture
def serve(service: Callable[..., Peer]) -> Callable[[str], Peer]:
    """Return a function that starts a server of `arguments`."""

    def start(served: str) -> Peer:
        way, coroutines = SERVERS[served]
        return service("arguments", way, coroutines=coroutines)

    return start


@pytest.mark.parametrize("served", ["server", "loop", "mixed"])
@pytest.mark.parametrize("way", [by_call, by_acall, by_pool, by_timed_pool])
def test_arguments_arrive(serve: Callable[[str], Peer], served: str, way: Any, connected: Callable[..., Any]) -> None:
    callee = serve(served)
    call = connected(way)
    # The defaults of the caller, not of the callee, stand for missing arguments.
    assert call(area, POINT) == "6.0 ['c'] None"
    assert call(area, POINT, 0.5) == "1.0 ['c'] None"
    assert call(area, POINT, 0.5, ["a", "b"], "n") == "1.0 ['a', 'b'] n"
    assert call(area, note="n", point=POINT, tags=[]) == "6.0 [] n"
    assert call(area, POINT, tags=("x",)) == "6.0 ['x'] None"
    assert call(add, 200, 100) == 300
    assert call(one) == 9
    assert call(one, 5) == 5
    assert call(one, value=6) == 6
    assert call(one, payload=6) == 6
    assert call(odd, 1, 2, 3, 4) == [1, 2, 3, 4]
    assert call(odd, payload=1, timeout=2, bus=3, on_response=4) == [2, 4, 1, 3]
    assert call(nothing) == 3
    assert call(nothing, None) == 3
    assert call(named, 3, _class=4) == 7
    assert call(echo, b"abc") == b"abc"
    assert call(echo, payload=b"abc", timeout=20) == b"abc"
    callee.kill()


@pytest.mark.parametrize("served", ["server", "loop"])
@pytest.mark.parametrize("way", [by_call, by_acall, by_pool, by_timed_pool])
def test_a_parameter_comes_before_a_setting_of_its_name(
    serve: Callable[[str], Peer], served: str, way: Any, connected: Callable[..., Any]
) -> None:
    callee = serve(served)
    call = connected(way)
    for name, own, default, value in (
        ("timeout", "timeout", 1.0, 30.0),
        ("spins", "spin_threshold", 7, 500),
        ("respond", "on_response", "x", "y"),
        ("payload", "payload", "x", "y"),
        ("bus", "bus", "x", "y"),
    ):
        endpoint = _HERE[name]
        assert (call(endpoint), call(endpoint, value), call(endpoint, **{own: value})) == (default, value, value)
    # An endpoint without such a parameter has the setting.
    assert call(_HERE["payload"], "y", timeout=20.0) == "y"
    callee.kill()


@pytest.mark.parametrize("way", [by_call, by_acall, by_pool, by_timed_pool])
def test_the_default_of_a_lone_buffer(serve: Callable[[str], Peer], way: Any, connected: Callable[..., Any]) -> None:
    callee = serve("server")
    call = connected(way)
    for name in ("lone", "lone_view", "lone_array", "untold"):
        endpoint = _HERE[name]
        assert (call(endpoint), call(endpoint, b"ab"), call(endpoint, payload=b"ab")) == (b"default", b"ab", b"ab")
        assert call(endpoint, data=b"ab") == b"ab"
    # The function gets a view, as without a default.
    assert _HERE["lone_view"](b"ab") == b"ab"
    with pytest.raises(TypeError, match="this endpoint takes bytes"):
        call(_HERE["lone"], None)
    callee.kill()


@pytest.mark.parametrize("way", [by_call, by_acall, by_pool, by_timed_pool])
def test_one_argument_too_many_is_refused_before_it_is_sent(path: str, way: Any, connected: Callable[..., Any]) -> None:
    handled: list[object] = []
    dispatcher = tachyon.RpcDispatcher()

    @dispatcher.handler(1)
    def side(value: tachyon.u32) -> tachyon.u32:
        handled.append(value)
        return value

    @dispatcher.handler(2)
    def nothing() -> tachyon.u32:
        return 3

    @dispatcher.handler(3)
    def raw(payload):  # type: ignore[no-untyped-def]
        handled.append(bytes(payload))
        return payload

    with serving(dispatcher, path):
        call = connected(way)
        with pytest.raises(TypeError, match=r"^side\(\) takes 1 positional argument but 2 were given$"):
            call(side, 1, 2)
        with pytest.raises(TypeError, match=r"^nothing\(\) takes 0 positional arguments but 2 were given$"):
            call(nothing, None, 2)
        if way is not by_acall:
            for endpoint, payload in ((side, 1), (raw, b"ab")):
                with pytest.raises(TypeError, match=r"^on_response is a function that gets the reply, not int$"):
                    call(endpoint, payload, on_response=2)
            with pytest.raises(TypeError, match=r"^on_response is a function that gets the reply, not bytes$"):
                call(raw, b"ab", b"c")
        assert handled == []
        assert call(side, 1) == 1


def test_a_limit_is_a_number_of_seconds(serve: Callable[[str], Peer], path: str) -> None:
    callee = serve("bus")
    with RpcBus.connect(path) as bus, Pool(path, 1) as pool:
        for limited in (bus.within, pool.within):
            for bad in (None, "1", timedelta(seconds=1), b"1"):
                with pytest.raises(TypeError) as raised:
                    limited(bad)  # type: ignore[arg-type]
                name = type(bad).__name__
                assert str(raised.value) == f"a timeout is a number of seconds, such as within(0.5), not {name}"
            for negative in (-1.0, float("nan")):
                with pytest.raises(ValueError, match=r"^a timeout is a number of seconds from 0 up, not ") as refused:
                    limited(negative)
                assert "None" not in str(refused.value)
        for seconds in (20, 20.0, Fraction(20), np.float32(20)):
            assert one.call(bus.within(seconds), 5) == 5  # type: ignore[arg-type]
            assert repr(pool.within(seconds))  # type: ignore[arg-type]
    callee.join()


@pytest.mark.parametrize("way", [by_call, by_acall, by_pool])
def test_wrong_calls_raise_the_errors_of_functions(
    serve: Callable[[str], Peer], way: Any, connected: Callable[..., Any]
) -> None:
    callee = serve("server")
    call = connected(way)
    method = "acall" if way is by_acall else "call"
    for args, kwargs, text in (
        ((), {}, "area() missing 1 required positional argument: 'point'"),
        ((POINT, 1.0, [], None, 5), {}, "area() takes from 1 to 4 positional arguments but 5 were given"),
        ((POINT,), {"point": POINT}, "area() got multiple values for argument 'point'"),
        ((POINT,), {"scael": 1.0}, "area() got an unexpected keyword argument 'scael'"),
        ((POINT,), {"timeout": 1.0}, "area() got an unexpected keyword argument 'timeout'; limit the call by the bus"),
        ((POINT, 1.0, [], "", print), {}, "area() takes from 1 to 4 positional arguments but 5 were given"),
        ((POINT, print), {}, "area: scale must be a number (f64), not builtin_function_or_method"),
    ):
        with pytest.raises(TypeError) as raised:
            call(area, *args, **kwargs)
        assert str(raised.value).startswith(text)
    for endpoint, args, kwargs, text in (
        (add, (), {}, "add() missing 2 required positional arguments: 'a' and 'b'"),
        (odd, (), {}, "odd() missing 4 required positional arguments: 'timeout', 'on_response', 'payload', and 'bus'"),
        (add, (1,), {"b": 2}, "add() got an unexpected keyword argument 'b'"),
        (add, (1, 2, 3), {}, "add() takes 2 positional arguments but 3 were given"),
        (nothing, (1,), {}, "nothing() takes 0 positional arguments but 1 was given"),
        (one, (1,), {"value": 2}, f"{method}() got multiple values for argument 'value'"),
        (one, (1,), {"valeu": 2}, f"{method}() got an unexpected keyword argument 'valeu'"),
        (echo, (), {}, "this endpoint takes bytes: endpoint.call(bus, payload)"),
        (echo, (None,), {}, "this endpoint takes bytes: endpoint.call(bus, payload)"),
    ):
        with pytest.raises(TypeError) as raised:
            call(endpoint, *args, **kwargs)
        assert str(raised.value) == text
    callee.kill()


def test_raw_and_one_argument_calls_work_as_in_the_seed(serve: Callable[[str], Peer], path: str) -> None:
    callee = serve("bus")
    with RpcBus.connect(path) as bus:
        assert echo.call(bus, b"abc", bytes) == b"abc"
        assert echo.call(bus, b"abc", lambda reply: len(reply), 1, timeout=5.0) == 3
        assert echo.call(bus, payload=b"abc", on_response=None, spin_threshold=0, timeout=None) == b"abc"
        assert one.call(bus, 5, bytes) == (5).to_bytes(4, "little")
        assert one.call(bus, value=5, on_response=len) == 4
        assert nothing.call(bus, None, bytes) == b"\3"
        assert echo.call(bus=bus, payload=b"abc") == b"abc"
        assert nothing.call(bus=bus) == 3
        for endpoint in (echo, add):
            with pytest.raises(TypeError, match=r"^call\(\) missing 1 required positional argument: 'bus'$"):
                endpoint.call(payload=b"abc")  # type: ignore[call-overload]
        with pytest.raises(TypeError, match=r"call\(\) takes from 1 to 4 positional arguments but 5 were given"):
            echo.call(bus, b"abc", None, None, 1)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="a timeout is a number of seconds"):
            echo.call(bus, b"abc", timeout=-1)
    callee.join()


def test_deadlines_of_calls_with_several_arguments(serve: Callable[[str], Peer], path: str) -> None:
    callee = serve("server")
    with RpcBus.connect(path) as bus:
        assert left.call(bus, 1, 2) == -1.0
        assert 0 < left.call(bus.within(20.0), 1, 2) < LONG
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            slow.call(bus.within(0.05), 3, 0.4)
        assert time.monotonic() - begun < 0.35
        # The bus still works, and has no limit of its own.
        assert slow.call(bus, 3, 0.0) == 3
        # The sooner of two limits holds.
        assert 0 < one.call(bus.within(20.0), 1, timeout=0.5) == 1
        assert repr(bus.within(0.5)) == "<tachyon.RpcBus within 0.5 seconds>"
        for bad in (-1.0, float("nan")):
            with pytest.raises(ValueError, match="a timeout is a number of seconds"):
                bus.within(bad)
        with pytest.raises(TypeError, match="calls are made on an RpcBus, not on str"):
            left.call("bus", 1, 2)  # type: ignore[arg-type]

    async def run() -> None:
        with RpcBus.connect(path) as bus:
            assert 0 < await left.acall(bus.within(20.0), 1, 2) < LONG
            with pytest.raises(TimeoutError):
                await slow.acall(bus.within(0.05), 3, 0.4)

    asyncio.run(run())
    with Pool(path, 1) as pool:
        assert 0 < pool.within(20.0).call(left, 1, b=2) < LONG
        with pool.caller(), pytest.raises(TimeoutError, match="all 1 callers of the pool stayed in use"):
            pool.within(0.05).call(left, 1, 2)
        with pytest.raises(ValueError, match="a timeout is a number of seconds"):
            pool.within(-1.0)
    callee.kill()


def test_threads_share_an_endpoint(serve: Callable[[str], Peer], path: str) -> None:
    callee = serve("server")
    found: list[int] = []
    with Pool(path, 4) as pool:

        def work(number: int) -> None:
            found.extend(pool.call(add, number, each) - each for each in range(100))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == sorted(number for number in range(4) for _ in range(100))
    callee.kill()


def test_an_endpoint_is_still_a_function() -> None:
    @tachyon_rpc(1)
    def scaled(value: tachyon.u8, by: tachyon.u8 = 2) -> tachyon.u8:
        return value * by

    assert (scaled(3), scaled(3, 4), scaled(value=3, by=5)) == (6, 12, 15)


def test_parameters_that_cannot_travel_are_refused_at_the_decorator() -> None:
    with pytest.raises(TypeError, match="parameter `b` of f has no hint; where there are several, each says"):

        @tachyon_rpc(1)
        def f(a: tachyon.u8, b) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(TypeError, match="two parameters travel under the same name"):

        @tachyon_rpc(1)
        def g(x: tachyon.u8, _x: tachyon.u8) -> None: ...

    with pytest.raises(TypeError, match="the default of parameter `a` of h is u8"):

        @tachyon_rpc(1)
        def h(a: tachyon.u8 = 256) -> None: ...

    with pytest.raises(TypeError, match="have more than 4096 bytes beside others"):
        from typing import Annotated  # noqa: PLC0415

        @tachyon_rpc(1)
        def i(a: Annotated[bytes, 4096], b: tachyon.u8) -> None: ...
