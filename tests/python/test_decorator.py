"""Functions that become endpoints, functions that are refused, and the names of endpoints."""

from __future__ import annotations

import collections.abc
import functools
import typing
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

import programs
import tachyon
from serving_thread import serving
from tachyon import Array, ErrorKind, RpcBus, RpcDispatcher, RpcEndpoint, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable


class Service:
    def method(self, payload: bytes) -> bytes:
        return payload

    @classmethod
    def of_class(cls, payload: bytes) -> bytes:
        return payload

    @staticmethod
    def static(payload: bytes) -> bytes:
        return payload

    def __call__(self, payload: bytes) -> bytes:
        return payload


def only_keywords(*, a: tachyon.i64) -> tachyon.i64:
    return a


def keyword_beside(payload: bytes, *, loud: bool = False) -> bytes:
    return payload.upper() if loud else payload


def starred(*payloads: bytes) -> bytes:
    return payloads[0]


def named(payload: bytes, **options: bytes) -> bytes:
    return payload


def wrapped(function: Callable[..., bytes]) -> Callable[..., bytes]:
    def wrapper(*args: Any, **kwargs: Any) -> bytes:
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (Service.method, r"^Service.method is a method: its `self` would be the request; .*\(service.method\)$"),
        (vars(Service)["of_class"].__func__, r"^Service.of_class is a method: its `cls` would be the request; "),
        (only_keywords, "^only_keywords takes `a` by keyword only, .*; put `a` before the `[*]`"),
        (keyword_beside, "^keyword_beside takes `loud` by keyword only"),
        (starred, "^starred takes `[*]payloads`, .*; name each parameter"),
        (named, "^named takes `[*][*]options`"),
        (wrapped(starred), "^wrapper takes `[*]args`, .* functools.wraps$"),
        (Service, "^Service is a class, and an endpoint is a function"),
        (tachyon.Struct, "^Struct is a class"),
        (int, "^int is a class"),
        (3, "an endpoint's handler is a function, not int"),
    ],
)
def test_functions_that_no_request_fits_are_refused(function: Any, text: str) -> None:
    dispatcher = RpcDispatcher()
    for make in (tachyon_rpc(1), dispatcher.handler(1), lambda function: RpcEndpoint(function, 1)):
        with pytest.raises(TypeError, match=text):
            make(function)
    assert len(dispatcher) == 0


def test_callables_that_can_serve_are_taken() -> None:
    service = Service()
    loud = functools.partial(keyword_beside, loud=True)
    assert tachyon_rpc(1)(loud)(b"abc") == b"ABC"
    for function in (service.method, Service.of_class, Service.static, service, loud, bytes, bytearray):
        assert bytes(tachyon_rpc(1)(function)(b"abc")).lower() == b"abc"

    def hinted(self: tachyon.u8) -> tachyon.u8:
        return self

    assert tachyon_rpc(1)(hinted)(3) == 3
    shown = functools.wraps(Service.static)(wrapped(Service.static))
    assert tachyon_rpc(1)(shown)(b"abc") == b"abc"


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (list, "list does not say what it consists of; write list[tachyon.f64]"),
        (typing.List, "list does not say what it consists of"),  # noqa: UP006 - the alias without arguments
        (Array, "Array does not say what it consists of; write tachyon.Array[tachyon.f64]"),
        (typing.Sequence, "Sequence does not say what it consists of"),
        (collections.abc.Sequence, "Sequence does not say what it consists of"),
        (np.ndarray, "an array says what it is an array of"),
        (npt.NDArray, "an array says what it is an array of"),
        (npt.NDArray[Any], "an array says what it is an array of"),
        (npt.NDArray[np.floating], "an array says what it is an array of"),
        (npt.NDArray[np.object_], "an array says what it is an array of"),
        (tuple, "tuple does not say how it lies in memory"),
        (dict, "dict cannot travel"),
        (tachyon.Struct, "Struct cannot travel"),
        (tachyon.IntEnum, "IntEnum does not say how it lies in memory"),
        ([int], "cannot travel"),
        ({}, "cannot travel"),
        ("Nowhere", "the hint 'Nowhere' of parameter `x` cannot be resolved"),
        ("tachyon.u65", "the hint 'tachyon.u65' of parameter `x` cannot be resolved"),
        ("list[", "the hint 'list[' of parameter `x` cannot be resolved"),
        ("list[tachyon.u8][1, 2]", "the hint 'list[tachyon.u8][1, 2]' of parameter `x` cannot be resolved"),
    ],
)
def test_a_hint_that_does_not_travel_is_a_sentence(hint: Any, text: str) -> None:
    def f(x: Any) -> None: ...

    f.__annotations__["x"] = hint
    with pytest.raises(TypeError) as raised:
        tachyon_rpc(1)(f)
    assert text in str(raised.value)
    assert "f" in str(raised.value)
    if isinstance(hint, str):
        with pytest.raises(TypeError, match=r"field `x` of Made: the hint .* cannot be resolved"):
            type(tachyon.Struct)("Made", (tachyon.Struct,), {"__annotations__": {"x": hint}})


def test_a_decorator_without_its_message_type_is_refused_with_advice() -> None:
    dispatcher: Any = RpcDispatcher()
    endpoint = tachyon_rpc(1)(bytes)
    for decorator, shown in ((tachyon_rpc, "tachyon_rpc"), (dispatcher.handler, "dispatcher.handler")):
        with pytest.raises(TypeError) as raised:
            decorator(lambda payload: payload)
        assert str(raised.value) == f"{shown} takes a message type: write @{shown}(msg_type=1)"
        with pytest.raises(TypeError, match="'str' object cannot be interpreted as an integer"):
            decorator("1")
        with pytest.raises(ValueError, match="msg_type is a number"):
            decorator(70000)
    with pytest.raises(TypeError, match=r"an endpoint is added by dispatcher\.register\(endpoint\)"):
        dispatcher.handler(endpoint)
    with pytest.raises(TypeError, match=r"decorate it: @tachyon_rpc\(msg_type=1\)"):
        dispatcher.register(lambda payload: payload)


def test_a_function_may_use_a_variable_that_is_assigned_later() -> None:
    @tachyon_rpc(msg_type=1)
    def later(payload: bytes) -> tachyon.u32:
        return answer

    answer = 42
    assert later(b"") == 42


def test_a_reply_without_a_hint_is_bytes_and_says_so(path: str) -> None:
    dispatcher = RpcDispatcher()

    @dispatcher.handler(1)
    def typed(value: tachyon.u32):  # type: ignore[no-untyped-def]
        return "text" if value else b"bytes"

    @dispatcher.handler(2)
    def raw(payload):  # type: ignore[no-untyped-def]
        return "text"

    with serving(dispatcher, path), RpcBus.connect(path) as bus:
        assert typed.call(bus, 0) == b"bytes"
        with pytest.raises(tachyon.RpcError) as raised:
            typed.call(bus, 1)
        assert raised.value.kind is ErrorKind.BAD_REPLY
        advice = "typed: the reply is bytes, not str; give it a hint, such as `-> str`, `-> tachyon.f64` or `-> None`"
        assert raised.value.text == advice
        assert "its handler returned a value that cannot be sent: typed: " in str(raised.value)
        # An endpoint without hints takes and gives bytes, so its error has no advice.
        with pytest.raises(tachyon.RpcError, match=r"cannot be sent$"):
            raw.call(bus, b"")


def odd_names() -> list[Any]:
    renamed = functools.partial(Service.static)
    renamed.__name__ = "two words"  # type: ignore[attr-defined]
    numbered = functools.partial(Service.static)
    numbered.__name__ = 7  # type: ignore[attr-defined]
    return [lambda payload: bytes(payload), functools.partial(Service.static), Service(), renamed, numbered]


def test_an_endpoint_without_a_name_is_called_by_its_number() -> None:
    for number, function in enumerate(odd_names(), 1):
        endpoint = tachyon_rpc(number)(function)
        assert endpoint.__name__ == f"endpoint_{number}"
        assert repr(endpoint) == f"RpcEndpoint(msg_type={number}, fn='endpoint_{number}')"
    assert tachyon_rpc(1)(Service().method).__name__ == "method"
    assert tachyon_rpc(1)(bytes).__name__ == "bytes"


def test_one_endpoint_never_makes_a_callee_indescribable(path: str) -> None:
    dispatcher = RpcDispatcher()

    @dispatcher.handler(1)
    def add_one(n: tachyon.u32) -> tachyon.u32:
        return n + 1

    for number, function in enumerate(odd_names(), 2):
        dispatcher.handler(number)(function)
    late = tachyon_rpc(20)(lambda payload: bytes(payload))
    late.__name__ = "no <name>"
    dispatcher.register(late)
    with serving(dispatcher, path):
        with RpcBus.connect(path) as bus:
            names = [endpoint.name for endpoint in bus.describe(timeout=5)]
        assert names == ["add_one", *(f"endpoint_{number}" for number in range(2, 7)), "endpoint_20"]
        assert "endpoint_20" in programs.tachyon("describe", path)
        assert programs.tachyon("call", path, "add_one", "1") == "2\n"
        assert programs.tachyon("call", path, "endpoint_2", '"abc"') == '"abc"\n'
        assert "def endpoint_20(request: memoryview) -> bytes:" in programs.tachyon("codegen", "python", path)
        assert "fn endpoint_20(&self, request: &[u8])" in programs.tachyon("codegen", "rust", path)


def test_a_typed_endpoint_without_a_name_is_named_in_errors(path: str) -> None:
    class Half:
        def __call__(self, n: tachyon.u8) -> tachyon.u8:
            return n * 200

    dispatcher = RpcDispatcher()
    endpoint = dispatcher.handler(3)(Half())
    with serving(dispatcher, path), RpcBus.connect(path) as bus:
        assert endpoint.call(bus, 1) == 200
        with pytest.raises(tachyon.RpcError, match="the reply is u8") as raised:
            endpoint.call(bus, 2)
        assert raised.value.kind is ErrorKind.BAD_REPLY
        assert bus.describe(timeout=5)["endpoint_3"].msg_type == 3
