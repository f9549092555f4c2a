"""The types and endpoints whose bytes docs/internals/wire-format.md shows."""

import numpy as np

import tachyon
from services import serving


class Point(tachyon.Struct):
    x: tachyon.f32
    y: tachyon.f32


class Scan(tachyon.Struct):
    taken_at: tachyon.u64
    frame: str
    points: tachyon.Array[Point]
    note: str | None = None


class NoSensor(tachyon.EndpointError, text="no sensor {sensor}"):
    sensor: tachyon.u32


dispatcher = tachyon.RpcDispatcher()


@dispatcher.handler(1)
def latest() -> Scan:
    return Scan(taken_at=7, frame="map", points=[Point(x=3, y=4)], note="dusk")


@dispatcher.handler(2, raises=(NoSensor,))
def record(sensor: tachyon.u32, scan: Scan) -> None:
    assert scan == Scan(taken_at=7, frame="ab", points=[])
    raise NoSensor(sensor=sensor)


@dispatcher.handler(3)
def same(scan: Scan) -> Scan:
    return scan


@dispatcher.handler(4)
def texts() -> list[str]:
    return ["a", "bc"]


@dispatcher.handler(5)
def tensor() -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
    return np.array([[1, 2, 3], [4, 5, 6]], np.uint16)


if __name__ == "__main__":
    serving.serve(dispatcher)
