"""The common part of the roles of the Python actor: messages, notes, connection, end.

The counterpart of the Rust actor: `tests/src/bin/actor` and `tests/src/chaos`.
"""

from __future__ import annotations

import mmap
import os
import random
import re
import signal
import threading
import time
import zlib
from pathlib import Path

import tachyon
from tachyon import Bus, RpcBus

SHORTEST_TAGGED = 12
USUALLY_BELOW = 257
MASK = (1 << 64) - 1
LOW = (1 << 32) - 1
ENDLESS = MASK
LISTEN = 30.0
READY, STARTED, COMMITTED, TAKEN, DIED_AT, STOPPING, CHILD, ITEMS_STARTED, ITEMS_COMMITTED, ITEMS_TAKEN = range(10)
ENDS = {tachyon.PeerClosedError: "closed", tachyon.PeerDeadError: "dead"}
FILLING = random.Random(1).randbytes(1 << 21)


class WrongError(Exception):
    """Another message arrived than the expected one."""


def now() -> int:
    """Return the monotonic clock, in nanoseconds."""
    return time.monotonic_ns()


def mix(value: int) -> int:
    """Return the finalizer of SplitMix64."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


class Stream:
    """Messages that carry their stream and number; the counterpart of `stream::Stream`."""

    def __init__(self, seed: int, least: int, most: int) -> None:
        self.seed, self.least, self.most = seed, least, most

    def replies(self, most: int) -> Stream:
        """Return the stream of replies to this stream."""
        return Stream(self.seed ^ 0x5EED, min(SHORTEST_TAGGED, most), most)

    def tag(self, number: int) -> int:
        return self.seed << 32 | (number & LOW)

    def len_of(self, number: int) -> int:
        chance = mix(self.tag(number))
        span = self.most - self.least + 1
        if chance % 4:
            span = min(span, USUALLY_BELOW)
        return self.least + (chance >> 16) % span

    def untagged(self, number: int, size: int) -> bytes:
        return (mix(~self.tag(number) & MASK).to_bytes(8, "little") + bytes(4))[:size]

    def message(self, number: int) -> bytes:
        size = self.len_of(number)
        if size < SHORTEST_TAGGED:
            return self.untagged(number, size)
        start = number % 65536
        body = self.tag(number).to_bytes(8, "little") + FILLING[start : start + size - SHORTEST_TAGGED]
        return body + zlib.crc32(body).to_bytes(4, "little")

    def check(self, number: int, message: bytes | memoryview) -> None:
        size, expected = len(message), self.len_of(number)
        if size != expected:
            raise WrongError(f"message {number}: {size} bytes where {expected} were due")
        if size < SHORTEST_TAGGED:
            if bytes(message) != self.untagged(number, size):
                raise WrongError(f"message {number}: bytes that no actor sent")
            return
        tag = int.from_bytes(message[:8], "little")
        if tag != self.tag(number):
            raise WrongError(f"message {number}: the tag {tag:#x} where {self.tag(number):#x} was due")
        if zlib.crc32(message[:-4]) != int.from_bytes(message[-4:], "little"):
            raise WrongError(f"message {number}: bytes that no actor sent")


class Receipt:
    """The number of items of a client stream and the checksum of all of them; the counterpart of `stream::Receipt`."""

    def __init__(self) -> None:
        self.items = self.checksum = 0

    def add(self, item: bytes) -> None:
        self.items += 1
        self.checksum = zlib.crc32(item, self.checksum)

    def reply(self) -> bytes:
        return self.items.to_bytes(8, "little") + self.checksum.to_bytes(4, "little")

    def check(self, number: int, reply: bytes) -> None:
        if reply != self.reply():
            raise WrongError(f"reply {number}: {reply!r} where {self.reply()!r} was due")


class Scene:
    """The common part of the roles: options of the connection, stream, notes, end."""

    def __init__(self, order: dict[str, str]) -> None:
        number = lambda key, otherwise: int(order.get(key, otherwise))  # noqa: E731
        self.path, self.listens = order["path"], order.get("side") == "listen"
        self.forward, self.reverse = number("forward", 4096), number("reverse", 4096)
        self.stream = Stream(number("seed", 1), number("least", 0), number("most", self.forward))
        self.replies = self.stream.replies(number("most_reply", self.reverse))
        self.count, self.pause = number("count", ENDLESS), number("pause", 0)
        self.mode, self.form = order.get("mode", ""), order.get("form", "")
        self.spins = {"park": 0, "spins": 200}.get(self.mode)
        self.timeout = number("timeout", int(LISTEN * 1000)) / 1000
        self.reconnect, self.resumes = order.get("reconnect") == "1", order.get("resume") == "1"
        self.chance = random.Random(self.stream.seed)
        self.point, self.at, self.stops = order.get("die", ""), number("at", 0), order.get("how") == "stop"
        self.forks = order.get("fork") == "1"
        self.bytes = self.asked = 0
        self.guard = threading.Lock()
        self.words: memoryview | None = None
        self.page: mmap.mmap | None = None
        if "ledger" in order:
            with Path(order["ledger"]).open("r+b") as file:
                self.page = mmap.mmap(file.fileno(), 0)
            # A word is written in one store, as on the Rust side.
            self.words = memoryview(self.page).cast("Q")

    def note(self, word: int, value: int) -> None:
        """Raise a word. Several threads count in one word, and note what they have counted in any order."""
        if self.words is not None:
            with self.guard:
                self.words[word] = max(self.words[word], value)

    def crosses(self, point: str, number: int) -> None:
        """Die, or stop until the kill, at the point and the message of the order."""
        if point != self.point or number != self.at:
            return
        if self.stops:
            self.note(STOPPING, 1)
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            self.note(DIED_AT, now())
            os.kill(os.getpid(), signal.SIGKILL)

    def begin(self) -> None:
        """Note that the connection is established."""
        if self.forks:
            child = os.fork()
            if child == 0:
                while os.read(0, 1):
                    pass
                os._exit(0)
            self.note(CHILD, child)
        self.note(READY, 1)

    def rest(self) -> None:
        if self.pause and self.chance.randrange(4) == 0:
            time.sleep(self.chance.randrange(self.pause) / 1e6)

    def open_bus(self) -> Bus:
        self.crosses("handshake", 0)
        if self.listens:
            bus = Bus.listen(self.path, self.forward, timeout=self.timeout)
        else:
            bus = Bus.connect(self.path, timeout=self.timeout)
        bus.set_polling_mode(int(self.mode == "spin"))
        self.begin()
        return bus

    def open_rpc(self) -> RpcBus:
        self.crosses("handshake", 0)
        if self.listens:
            bus = RpcBus.listen(self.path, self.forward, self.reverse, timeout=self.timeout)
        else:
            bus = RpcBus.connect(self.path, timeout=self.timeout, reconnect=self.reconnect)
        bus.set_polling_mode(int(self.mode == "spin"))
        self.begin()
        return bus

    def ended(self, end: str, **facts: int) -> str:
        facts = {"asked": self.asked, "at": now(), "bytes": self.bytes} | facts
        self.words = None
        return " ".join([f"ended end={end}", *(f"{key}={value}" for key, value in facts.items())])


def end_of(error: tachyon.TachyonError) -> str:
    """Return the driver's word for an end."""
    return ENDS.get(type(error)) or re.sub(r"\s", "_", repr(error))
