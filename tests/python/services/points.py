"""Typed endpoints, as functions or with option `coroutines` as coroutine functions; option `y` is a field's type."""

import asyncio
from typing import Any

import numpy as np
import numpy.typing as npt

import tachyon
from services import serving
from tachyon import current_call

OPTIONS = serving.options()

if OPTIONS.pop("y", "f64") == "f64":

    class Point(tachyon.Struct):
        x: tachyon.f64
        y: tachyon.f64

else:

    class Point(tachyon.Struct):  # type: ignore[no-redef]
        x: tachyon.f64
        y: tachyon.i64


def mirrored(point: Point) -> Point:
    return Point(x=point.y, y=point.x)


def total(numbers: npt.NDArray[np.float64]) -> tachyon.f64:
    return float(numbers.sum())


def caller() -> tachyon.u64:
    return current_call().caller_id


def wrong(number: tachyon.u8) -> tachyon.u8:
    return number + 250


async def slowly(point: Point) -> Point:
    await asyncio.sleep(0.01)
    return point


def main() -> None:
    coroutines = OPTIONS.pop("coroutines", False)
    dispatcher = tachyon.RpcDispatcher()
    functions: tuple[Any, ...] = (mirrored, total, caller, wrong)
    for number, function in enumerate(functions, 1):
        dispatcher.handler(number)(serving.as_coroutine(function) if coroutines else function)
    if coroutines:
        dispatcher.handler(5)(slowly)
    serving.serve(dispatcher, OPTIONS)


if __name__ == "__main__":
    main()
