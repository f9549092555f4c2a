"""A service with several arguments, text, lists, options and declared errors. `sensor_service.rs` is the same in Rust.

python examples/python/sensor_service.py SOCKET
"""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from sensor_api import NoScan, NoSensor, Point, Scan

import tachyon

RANGE = 10.0
"""The range of a sensor that was added without one, in metres."""


@dataclass
class Sensor:
    """A sensor and its latest scan."""

    name: str
    range: float
    latest: Scan | None = None


sensors: list[Sensor] = []
dispatcher = tachyon.RpcDispatcher()


def find(sensor: int) -> Sensor:
    """Return the sensor with this number."""
    if sensor >= len(sensors):
        raise NoSensor(sensor=sensor)
    return sensors[sensor]


def within(points: Iterable[Point], radius: float) -> list[Point]:
    """Return copies of the points within a radius."""
    return [point.copy() for point in points if math.hypot(point.x, point.y) <= radius]


@dispatcher.handler(1)
def add(name: str, range: tachyon.f32 | None = None) -> tachyon.u32:  # noqa: A002  # the argument's name travels
    """Add a sensor and return its number."""
    sensors.append(Sensor(name, RANGE if range is None else range))
    return len(sensors) - 1


@dispatcher.handler(2, raises=(NoSensor, NoScan))
def record(sensor: tachyon.u32, scan: Scan) -> tachyon.u64:
    """Keep a scan of a sensor and return how many points are within its range."""
    kept = find(sensor)
    # A copy: the points of the request lie in the caller's ring until the call ends.
    kept.latest = scan.copy()
    return len(within(scan.points, kept.range))


@dispatcher.handler(3, raises=(NoSensor, NoScan))
def latest(sensor: tachyon.u32) -> Scan:
    """Return the latest scan of a sensor."""
    kept = find(sensor)
    if kept.latest is None:
        raise NoScan(sensor=sensor, label=kept.name)
    return kept.latest


@dispatcher.handler(4)
def crop(scan: Scan, radius: tachyon.f32, tags: list[str]) -> Scan:
    """Return the points of a scan within a radius, with the tags added to its note."""
    words = [scan.note] if scan.note is not None else []
    note = ", ".join(words + tags) or None
    return scan.replace(points=within(scan.points, radius), note=note)


@dispatcher.handler(5)
def names() -> list[str]:
    """Return the names of all sensors."""
    return [sensor.name for sensor in sensors]


def main() -> None:
    """Serve one caller until it closes."""
    if len(sys.argv) == 1:
        sys.exit(f"usage: {sys.argv[0]} SOCKET")
    with tachyon.RpcBus.listen(sys.argv[1], 1 << 16, 1 << 16, dispatcher=dispatcher) as bus:
        dispatcher.serve_forever(bus)


if __name__ == "__main__":
    main()
