"""A service that exchanges tagged unions and maps, in msgpack. `shape_service.rs` is the same in Rust.

python examples/python/shape_service.py SOCKET
"""

import math
import sys

from shape_api import Circle, Flat, Group, Polygon, Shape

import tachyon

dispatcher = tachyon.RpcDispatcher()
CORNERS = 3


def area(shape: Shape) -> float:
    """Compute the area of one shape."""
    match shape:
        case Circle(radius):
            return math.pi * radius * radius
        case Polygon(points) if len(points) < CORNERS:
            raise Flat(points=len(points))
        case Polygon(points):
            following = [*points[1:], points[0]]
            return abs(sum(x * v - u * y for (x, y), (u, v) in zip(points, following, strict=True))) / 2
        case Group(shapes):
            return sum(map(area, shapes.values()))


@dispatcher.handler(msg_type=1, codec="msgpack", raises=(Flat,))
def areas(shapes: dict[str, Shape], scale: float | None = None) -> dict[str, float]:
    """Return the area of each shape."""
    return {name: area(shape) * (1 if scale is None else scale) for name, shape in shapes.items()}


@dispatcher.handler(msg_type=2, codec="msgpack")
def scaled(shape: Shape, by: float) -> Shape:
    """Return the shape, larger."""
    match shape:
        case Circle(radius):
            return Circle(radius * by)
        case Polygon(points):
            return Polygon([(x * by, y * by) for x, y in points])
        case Group(shapes):
            return Group({name: scaled(each, by) for name, each in shapes.items()})


def main() -> None:
    """Serve one caller until it closes."""
    if len(sys.argv) == 1:
        sys.exit(f"usage: {sys.argv[0]} SOCKET")
    with tachyon.RpcBus.listen(sys.argv[1], 1 << 16, 1 << 16, dispatcher=dispatcher) as bus:
        dispatcher.serve_forever(bus)


if __name__ == "__main__":
    main()
