"""The contract of the shape service, in msgpack. `shape_api.rs` has the same contract."""

from __future__ import annotations

import msgspec

import tachyon


class Circle(msgspec.Struct, tag=True):
    """A circle, with the tag `Circle`."""

    radius: float


class Polygon(msgspec.Struct, tag=True):
    """A polygon, with the tag `Polygon`."""

    points: list[tuple[float, float]]


class Group(msgspec.Struct, tag=True):
    """Shapes by name, with the tag `Group`."""

    shapes: dict[str, Circle | Polygon | Group]


Shape = Circle | Polygon | Group


class Flat(tachyon.EndpointError, text="a polygon of {points} points has no area"):
    """A polygon needs three points."""

    points: tachyon.u64


@tachyon.tachyon_rpc(msg_type=1, codec="msgpack", raises=(Flat,))
def areas(shapes: dict[str, Shape], scale: float | None = None) -> dict[str, float]:
    """Return the area of each shape."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=2, codec="msgpack")
def scaled(shape: Shape, by: float) -> Shape:
    """Return the shape, larger."""
    raise NotImplementedError
