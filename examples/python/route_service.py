"""A service with a stream of each kind, after `RouteGuide` of gRPC. `route_service.rs` is the same in Rust.

python examples/python/route_service.py SOCKET
"""

import math
import sys
from collections import defaultdict
from collections.abc import Iterator

from route_api import Area, Feature, NoFeature, Note, Point, Summary

import tachyon

FEATURES = {
    (407838351, -746143763): "Patriots Path, Mendham",
    (409146138, -746188906): "Berkshire Valley Management Area Trail, Jefferson",
    (413628156, -749015468): "U.S. 6, Shohola",
    (414008389, -743951297): "Mid Hudson Psychiatric Center, New Hampton",
    (416802456, -742370183): "352 South Mountain Road, Wallkill",
    (419999544, -740371136): "5 Conners Road, Kingston",
}

dispatcher = tachyon.RpcDispatcher()
notes: defaultdict[tuple[int, int], list[Note]] = defaultdict(list)


def place(point: Point) -> tuple[int, int]:
    """Return a point as a key."""
    return point.latitude, point.longitude


def distance(start: Point, end: Point) -> float:
    """Return the great-circle distance, in metres."""
    south, north = (math.radians(point.latitude / 1e7) for point in (start, end))
    turn = math.radians((end.longitude - start.longitude) / 1e7)
    square = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin(turn / 2) ** 2
    return 2 * 6_371_000 * math.asin(math.sqrt(square))


@dispatcher.handler(msg_type=1, raises=(NoFeature,))
def feature(at: Point) -> Feature:
    """Return the feature at a place."""
    if place(at) not in FEATURES:
        raise NoFeature(latitude=at.latitude, longitude=at.longitude)
    return Feature(at=at, name=FEATURES[place(at)])


@dispatcher.handler(msg_type=2)
def features(within: Area) -> Iterator[Feature]:
    """Return all features in an area."""
    low, high = within.low, within.high
    for (latitude, longitude), name in FEATURES.items():
        if low.latitude <= latitude <= high.latitude and low.longitude <= longitude <= high.longitude:
            yield Feature(at=Point(latitude=latitude, longitude=longitude), name=name)


@dispatcher.handler(msg_type=3)
def record(items: Iterator[Point]) -> Summary:
    """Follow a route, and sum it up at its end.

    The handler runs on a thread of its own. A route that its caller gives up raises here, and has no summary.
    """
    metres, points, named, last = 0.0, 0, 0, None
    for point in items:
        metres += 0.0 if last is None else distance(last, point)
        points += 1
        named += place(point) in FEATURES
        last = point
    return Summary(metres=metres, points=points, features=named)


@dispatcher.handler(msg_type=4)
def chat(items: Iterator[Note]) -> Iterator[Note]:
    """Take notes, and answer each one with the earlier notes about its place."""
    for note in items:
        about = notes[place(note.at)]
        earlier = about.copy()
        about.append(note)
        yield from earlier


def main() -> None:
    """Serve one caller until it closes."""
    if len(sys.argv) == 1:
        sys.exit(f"usage: {sys.argv[0]} SOCKET")
    with tachyon.RpcBus.listen(sys.argv[1], 1 << 16, 1 << 16, dispatcher=dispatcher) as bus:
        dispatcher.serve_forever(bus)


if __name__ == "__main__":
    main()
