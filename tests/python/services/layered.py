"""Endpoints that give back what they see of their call, behind layers that log and refuse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import tachyon
from services import serving
from tachyon import layers

if TYPE_CHECKING:
    from collections.abc import Callable

settings = serving.options()
COROUTINES = settings.pop("coroutines", False)
LAYERS = settings.pop("layers", [])
dispatcher = tachyon.RpcDispatcher()
seen: list[list[Any]] = []


def endpoint(msg_type: int) -> Callable[[Callable[..., Any]], object]:
    handler = dispatcher.handler(msg_type)
    return lambda function: handler(serving.as_coroutine(function) if COROUTINES else function)


@endpoint(1)
def metadata(key: str) -> str | None:
    return tachyon.current_call().metadata.get(key)


@endpoint(2)
def entries(payload: bytes) -> bytes:
    return payload + str(len(tachyon.current_call().metadata)).encode()


@endpoint(3)
def context(payload: str) -> str:
    call = tachyon.current_call()
    remaining = call.remaining
    return json.dumps(
        {
            "metadata": dict(call.metadata),
            "name": call.name,
            "msg_type": call.msg_type,
            "request_size": call.request_size,
            "pid": call.caller_pid,
            "uid": call.caller_uid,
            "is_limited": call.deadline is not None and remaining is not None and 0 < remaining <= 60,
            "is_cancelled": call.is_cancelled(),
        }
    )


@endpoint(4)
def raises(text: str) -> None:
    if text:
        raise RuntimeError(text)


@dispatcher.handler(9)
def log(payload: memoryview) -> bytes:
    return json.dumps(seen).encode()


@dispatcher.handler(10)
def stop(payload: memoryview) -> bytes:
    serving.server.stop()
    return b""


class Token(layers.Layer):
    def before(self, call: tachyon.CurrentCall, /) -> None:
        token = call.metadata.get("token")
        if token != "open" and call.msg_type < 9:
            message = f"the token is {token!r}"
            raise tachyon.errors.UnauthenticatedError(message)


class Log:
    def __init__(self, name: str) -> None:
        self.name = name

    def before(self, call: tachyon.CurrentCall, /) -> None:
        if call.msg_type < 9:
            seen.append([self.name, "before", call.msg_type, call.name, call.request_size, dict(call.metadata)])

    def after(self, call: tachyon.CurrentCall, outcome: layers.Outcome, seconds: float, /) -> None:
        assert 0 <= seconds < 60
        if call.msg_type < 9:
            seen.append([self.name, "after", call.msg_type, repr(outcome)])


class Fails:
    """Fails in one of the ways of a program that has a mistake."""

    def __init__(self, how: str) -> None:
        self.how = how

    def before(self, call: tachyon.CurrentCall, /) -> object:
        if call.msg_type >= 9:
            return None
        if self.how == "raises":
            raise ZeroDivisionError(self.how)
        if self.how == "exits":
            raise SystemExit(7)
        return False if self.how == "returns" else None

    def after(self, call: tachyon.CurrentCall, outcome: layers.Outcome, seconds: float, /) -> None:
        if self.how == "after" and call.msg_type < 9:
            raise ZeroDivisionError(self.how)
        if self.how == "exits after" and call.msg_type < 9:
            raise SystemExit(7)


KINDS: dict[str, Any] = {"token": Token, "outer": lambda: Log("outer"), "inner": lambda: Log("inner")}


if __name__ == "__main__":
    for name in LAYERS:
        kind: Any = KINDS.get(name)
        dispatcher.layer(kind() if kind else Fails(name))
    serving.serve(dispatcher, settings)
