"""A caller of the route service in either language. `route_caller.rs` prints the same.

python examples/python/route_caller.py SOCKET
"""

import sys

from route_api import Area, NoFeature, Note, Point, chat, feature, features, record

import tachyon


def main() -> None:
    """Make one call, and open a stream of each kind."""
    if len(sys.argv) == 1:
        sys.exit(f"usage: {sys.argv[0]} SOCKET")
    with tachyon.RpcBus.connect(sys.argv[1]) as bus:
        # The limit is for each call and for each whole stream.
        limited = bus.within(5)
        trail, nowhere = Point(latitude=409146138, longitude=-746188906), Point(latitude=0, longitude=0)
        print(f"at the trail: {feature.call(limited, trail).name}")
        try:
            feature.call(limited, nowhere)
        except NoFeature as error:
            print(error)

        route = []
        low = Point(latitude=400000000, longitude=-750000000)
        high = Point(latitude=415000000, longitude=-730000000)
        with features.stream(limited, Area(low=low, high=high)) as found:
            for each in found:
                print(f"in the area: {each.name}")
                route.append(each.at)

        route.insert(1, Point(latitude=408000000, longitude=-746000000))
        with record.stream(limited) as recording:
            for point in route:
                recording.send(point)
            summary = recording.finish()
        print(f"{summary.points} points with {summary.features} features, {summary.metres / 1000:.1f} km")

        with chat.stream(limited) as talk:
            for at, text in ((trail, "first"), (nowhere, "second"), (trail, "third"), (trail, "fourth")):
                talk.send(Note(at=at, text=text))
            talk.end()
            for note in talk:
                print(f"an earlier note at {'the trail' if note.at == trail else 'another place'}: {note.text}")


if __name__ == "__main__":
    main()
