"""The contract of the sensor service, for the service and its callers. `sensor_api.rs` has the same contract."""

import tachyon


class Point(tachyon.Struct):
    """A point of a scan, in metres from the sensor."""

    x: tachyon.f32
    y: tachyon.f32


class Scan(tachyon.Struct):
    """One rotation of a scanner."""

    taken_at: tachyon.f64
    frame: str
    points: tachyon.Array[Point]
    note: str | None = None


class NoSensor(tachyon.EndpointError, text="no sensor {sensor}"):
    """No sensor has this number."""

    sensor: tachyon.u32


class NoScan(tachyon.EndpointError, text="sensor {sensor} has no scan yet"):
    """The sensor has not recorded a scan."""

    sensor: tachyon.u32
    label: str | None = None


@tachyon.tachyon_rpc(msg_type=1)
def add(name: str, range: tachyon.f32 | None = None) -> tachyon.u32:  # noqa: A002  # the argument's name travels
    """Add a sensor and return its number."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=2, raises=(NoSensor, NoScan))
def record(sensor: tachyon.u32, scan: Scan) -> tachyon.u64:
    """Keep a scan of a sensor and return how many points are within its range."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=3, raises=(NoSensor, NoScan))
def latest(sensor: tachyon.u32) -> Scan:
    """Return the latest scan of a sensor."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=4)
def crop(scan: Scan, radius: tachyon.f32, tags: list[str]) -> Scan:
    """Return the points of a scan within a radius, with the tags added to its note."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=5)
def names() -> list[str]:
    """Return the names of all sensors."""
    raise NotImplementedError
