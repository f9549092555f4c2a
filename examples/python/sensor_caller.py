"""A caller of the sensor service in either language. `sensor_caller.rs` prints the same.

python examples/python/sensor_caller.py SOCKET
"""

import sys

from sensor_api import NoScan, NoSensor, Point, Scan, add, crop, latest, names, record

import tachyon


def main() -> None:
    """Make calls with arguments, text, lists and options, and handle the declared errors."""
    if len(sys.argv) == 1:
        sys.exit(f"usage: {sys.argv[0]} SOCKET")
    with tachyon.RpcBus.connect(sys.argv[1]) as bus:
        limited = bus.within(5)
        front = add.call(limited, "front", range=5.0)
        rear = add.call(limited, "rear")
        print("sensors:", ", ".join(names.call(bus)))

        points = [Point(x=3, y=4), Point(x=6, y=8), Point(x=0, y=1)]
        scan = Scan(taken_at=1.5, frame="map", points=points, note="dusk")
        print(f"front sees {record.call(limited, front, scan)} of {len(points)} points")

        cropped = crop.call(limited, scan, 2.0, ["indoor", "night"])
        print(f"cropped to {len(cropped.points)} point, {cropped.note or 'without a note'}")
        kept = latest.call(bus, front)
        print(f"latest of front: {len(kept.points)} points in {kept.frame}, {kept.note}")

        for sensor in (rear, 7):
            try:
                latest.call(bus, sensor)
            except NoScan as error:
                print(f"{error}: try again later")
            except NoSensor as error:
                print(f"{error}: stop trying")


if __name__ == "__main__":
    main()
