"""Move 70 KB between two processes without a copy: the data are written and read in place.

In two terminals, in any order (the sender waits up to five seconds for the receiver):

    make input      # once: writes stock prices and temperatures to .demo/
    python examples/python/zero_copy.py receive /tmp/tachyon-zero.sock
    python examples/python/zero_copy.py send /tmp/tachyon-zero.sock .demo/temperatures.f64

Either process can also be the Rust program `examples/rust/zero_copy.rs`.
"""

import sys
from pathlib import Path

from tachyon import Bus

TEMPERATURES = 2
"""The type id of a list of temperatures."""

MOST = 100_000
"""The maximum size of a message in bytes."""


def send(socket: str, temperatures: str) -> None:
    """Read a file directly into shared memory, and publish it."""
    with (
        Path(temperatures).open("rb", buffering=0) as file,
        Bus.connect(socket) as bus,
        # Reserve room in shared memory before the size is known.
        bus.send_zero_copy(MOST, TEMPERATURES) as room,
        memoryview(room) as view,
    ):
        filled = 0
        while count := file.readinto(view[filled:]):
            filled += count
        # Leaving the block publishes this part of the room. Leaving by an exception sends nothing.
        room.actual_size = filled
    print(f"sent {filled} bytes")


def receive(socket: str) -> None:
    """Read a message in place."""
    with (
        Bus.listen(socket, 1 << 18) as bus,
        # The message stays in place until the block ends. Then the sender can use its room again.
        bus.recv_zero_copy() as message,
        memoryview(message) as view,
        view.cast("d") as hours,
    ):
        size, kind = message.actual_size, message.type_id
        print(f"received {size} bytes, type {kind}: {len(hours)} hours, warmest {max(hours):.1f}")


match sys.argv[1:]:
    case ["receive", socket]:
        receive(socket)
    case ["send", socket, temperatures]:
        send(socket, temperatures)
    case _:
        sys.exit("usage: zero_copy.py receive SOCKET | zero_copy.py send SOCKET TEMPERATURES")
