"""Sums of arrays: as the one argument, beside another argument, and as bytes."""

import numpy as np
import numpy.typing as npt

import tachyon
from services import serving

dispatcher = tachyon.RpcDispatcher()


@dispatcher.handler(1)
def lone(values: npt.NDArray[np.float64]) -> tachyon.f64:
    return float(values.sum())


@dispatcher.handler(2)
def two(values: npt.NDArray[np.float64], factor: tachyon.u32) -> tachyon.f64:
    return float(values.sum()) * factor


@dispatcher.handler(3)
def raw(payload: memoryview) -> bytes:
    return str(np.frombuffer(payload).sum()).encode()


if __name__ == "__main__":
    serving.serve(dispatcher)
