"""The contract of the route service: one call, and a stream of each kind. `route_api.rs` has the same contract."""

from collections.abc import Iterator

import tachyon


class Point(tachyon.Struct):
    """A place, in units of 1e-7 degrees."""

    latitude: tachyon.i32
    longitude: tachyon.i32


class Area(tachyon.Struct):
    """An area between its south-west and its north-east corner."""

    low: Point
    high: Point


class Feature(tachyon.Struct):
    """A place with a name."""

    at: Point
    name: str


class Summary(tachyon.Struct):
    """A route that has ended; `features` are its points with a name."""

    metres: tachyon.f64
    points: tachyon.u32
    features: tachyon.u32


class Note(tachyon.Struct):
    """A remark about a place."""

    at: Point
    text: str


class NoFeature(
    tachyon.EndpointError, text="no feature at ({latitude}, {longitude})", kind=tachyon.ErrorKind.NOT_FOUND
):
    """The place has no name."""

    latitude: tachyon.i32
    longitude: tachyon.i32


@tachyon.tachyon_rpc(msg_type=1, raises=(NoFeature,))
def feature(at: Point) -> Feature:
    """Return the feature at a place."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=2)
def features(within: Area) -> Iterator[Feature]:
    """Return all features in an area."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=3)
def record(items: Iterator[Point]) -> Summary:
    """Follow a route, and sum it up at its end."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=4)
def chat(items: Iterator[Note]) -> Iterator[Note]:
    """Take notes, and answer each one with the earlier notes about its place."""
    raise NotImplementedError
