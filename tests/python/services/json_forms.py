"""Endpoints for `tachyon call`, whose requests and replies have every form in JSON."""

import tachyon
from services import serving
from tachyon import Array


class Side(tachyon.IntEnum, repr="u8"):
    BUY = 1
    SELL = 2


class Point(tachyon.Struct):
    x: tachyon.f32
    y: tachyon.f32


class Scan(tachyon.Struct):
    frame: str
    points: Array[Point]
    data: bytes = b""
    side: Side | None = None
    names: list[str] = []


class NoSensor(tachyon.EndpointError, text="no sensor {sensor}"):
    sensor: tachyon.u32


dispatcher = tachyon.RpcDispatcher()


@dispatcher.handler(1)
def filtered(scan: Scan, radius: tachyon.f32, tags: list[tachyon.u32], note: str | None = None) -> Scan:
    return scan.replace(frame=f"{scan.frame} {radius} {tags} {note}")


@dispatcher.handler(2)
def text(value: str) -> str:
    return value[::-1]


@dispatcher.handler(3)
def maybe(value: str | None) -> list[str] | None:
    return None if value is None else [value, value]


@dispatcher.handler(4)
def one(scan: Scan) -> list[Scan]:
    return [scan]


@dispatcher.handler(5, raises=(NoSensor,))
def read(sensor: tachyon.u32) -> tachyon.f64:
    raise NoSensor(sensor=sensor)


if __name__ == "__main__":
    serving.serve(dispatcher)
