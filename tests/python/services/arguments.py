"""Endpoints with arguments and defaults of many kinds, as functions or with `coroutines` as coroutine functions."""

import asyncio
import time
from typing import Any

import tachyon
from services import serving
from tachyon import current_call


class Point(tachyon.Struct):
    x: tachyon.f32
    y: tachyon.f32


def area(point: Point, scale: tachyon.f64 = 2.0, tags: list[str] = ["d"], note: str | None = None) -> str:
    return f"{point.x * scale} {tags} {note}"


def left(a: tachyon.u8, b: tachyon.u8) -> tachyon.f64:
    return current_call().remaining or -1.0


def slow(a: tachyon.u8, seconds: tachyon.f64) -> tachyon.u8:
    time.sleep(seconds)
    return a


async def slow_later(a: tachyon.u8, seconds: tachyon.f64) -> tachyon.u8:
    await asyncio.sleep(seconds)
    return a


def add(a: tachyon.u8, b: tachyon.u8, /) -> tachyon.u64:
    return a + b


def echo(payload: memoryview) -> bytes:
    return bytes(payload)


def one(value: tachyon.u32 = 7) -> tachyon.u32:
    return value


def odd(timeout: tachyon.u8, on_response: tachyon.u8, payload: tachyon.u8, bus: tachyon.u8) -> list[tachyon.u8]:
    return [timeout, on_response, payload, bus]


def nothing() -> tachyon.u8:
    return 3


def named(_x: tachyon.u8, class_: tachyon.u8) -> tachyon.u8:
    return _x + class_


def timeout(timeout: tachyon.f64 = 1.0) -> tachyon.f64:
    return timeout


def spins(spin_threshold: tachyon.u32 = 7) -> tachyon.u32:
    return spin_threshold


def respond(on_response: str = "x") -> str:
    return on_response


def payload(payload: str = "x") -> str:
    return payload


def bus(bus: str = "x") -> str:
    return bus


def lone(data: bytes = b"default") -> bytes:
    return data


def lone_view(data: memoryview = b"default") -> bytes:  # type: ignore[assignment]
    return data.tobytes()


def lone_array(data: bytearray = bytearray(b"default")) -> bytes:  # noqa: B008
    return bytes(data)


def untold(data=b"default"):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    return bytes(data)


OF_ARGUMENTS = (area, left, slow, add, echo, one, odd, nothing, named)
OF_SETTINGS = (timeout, spins, respond, payload, bus, lone, lone_view, lone_array, untold)
"""Functions whose parameters have the names of settings of a call, or take one buffer."""

NUMBERS: dict[Any, int] = {
    **{function: number for number, function in enumerate(OF_ARGUMENTS, 1)},
    **{function: number for number, function in enumerate(OF_SETTINGS, 20)},
}
"""The message type of each endpoint."""


def main() -> None:
    settings = serving.options()
    coroutines = settings.pop("coroutines", False)
    dispatcher = tachyon.RpcDispatcher()
    for function, number in NUMBERS.items():
        served = function
        if coroutines:
            served = slow_later if function is slow else serving.as_coroutine(function)
        served.__name__ = function.__name__
        dispatcher.handler(number)(served)
    serving.serve(dispatcher, settings)


if __name__ == "__main__":
    main()
