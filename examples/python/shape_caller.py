"""A caller of the shape service in either language. `shape_caller.rs` prints the same.

python examples/python/shape_caller.py SOCKET
"""

import sys

from shape_api import Circle, Flat, Group, Polygon, areas, scaled

import tachyon


def main() -> None:
    """Make calls with tagged unions, maps and options, and handle the declared error."""
    if len(sys.argv) == 1:
        sys.exit(f"usage: {sys.argv[0]} SOCKET")
    with tachyon.RpcBus.connect(sys.argv[1]) as bus:
        limited = bus.within(5)
        circle, square = Circle(1), Polygon([(0, 0), (2, 0), (2, 2), (0, 2)])
        group = Group({"circle": circle, "square": square})
        for name, area in areas.call(limited, {"circle": circle, "group": group}).items():
            print(f"{name}: {area:.2f}")
        match scaled.call(limited, group, 2):
            case Group(shapes):
                for name, shape in shapes.items():
                    match shape:
                        case Circle(radius):
                            print(f"{name}: a circle of radius {radius:.1f}")
                        case Polygon(points):
                            print(f"{name}: a polygon of {len(points)} points")
                        case Group(inner):
                            print(f"{name}: a group of {len(inner)}")
        try:
            areas.call(limited, {"line": Polygon([(0, 0), (1, 1)])}, scale=2)
        except Flat as error:
            print(error)


if __name__ == "__main__":
    main()
