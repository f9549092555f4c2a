"""A peer that knows docs/internals/wire-format.md alone talks to the package, and finds every byte as dumped there."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import re
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer

DOCUMENT = (Path(__file__).parents[2] / "docs/internals/wire-format.md").read_text(encoding="utf-8")
BUS, RPC = 1, 2
EITHER, SOURCE, SINK = 0, 1, 2
CANCEL, ITEM, END, OPEN = 2 << 16, 3 << 16, 4 << 16, 0x0100 << 16
CELL = 1 << 16
CANCELLED = 8 << 16 | 0xFFFF
HANDLER_FAILED = 2 << 16 | 0xFFFF
BAD_REQUEST = 5 << 16 | 0xFFFF
DEADLINE_PASSED = 7 << 16 | 0xFFFF

STATE, PRODUCER_END, RELEASED, CONSUMER_PARKED, PRODUCER_PARKED, CREDIT = 128, 256, 384, 512, 640, 1024
LISTENER_CLOSED, CONNECTOR_CLOSED, BROKEN = 1, 2, 4

READY = struct.pack("<4sHBB", b"TCHY", 2, 4, 0)

SOON = 20.0
"""Seconds that a step may take on a busy machine."""


RECEIVER = """
with tachyon.Bus.listen(path, 64) as bus:
    try:
        print(bus.recv().data.decode())
    except tachyon.PeerDeadError as error:
        print(error)
"""


def dump(name: str) -> list[tuple[int, list[str]]]:
    """Return the lines of a dump of the document: offset and bytes. A byte `..` may have any value."""
    block = re.search(rf"^```text\n{name}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert block is not None, name
    lines = [line.split() for line in block[1].splitlines()]
    return [(int(offset, 16), row) for offset, *row in lines]


def assert_shows(memory: mmap.mmap | bytes, name: str) -> None:
    for offset, row in dump(name):
        found = memory[offset : offset + len(row)].hex(" ").split()
        shown = [".." if byte == ".." else there for byte, there in zip(row, found, strict=True)]
        assert shown == row, f"{name} at {offset:04x}"


def assert_is(message: bytes, name: str) -> None:
    assert len(message) == sum(len(row) for _, row in dump(name)), name
    assert_shows(message, name)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def namespace() -> int:
    return Path("/proc/self/ns/time").stat().st_ino


def hello(kind: int, role: int, time_namespace: int) -> bytes:
    return struct.pack("<4sHBBBB2s4xQ", b"TCHY", 2, 1, 0, kind, role, bytes(2), time_namespace)


def welcome(kind: int, role: int, *capacities: tuple[int, int]) -> bytes:
    """Return the welcome for rings of these capacities and lengths."""
    rings = b"".join(struct.pack("<QQ", *ring) for ring in capacities)
    return struct.pack("<4sHBBBBB5x32s", b"TCHY", 2, 2, 0, kind, role, len(capacities), rings)


class Ring:
    """A segment as the page describes it, for messages that lie in their slots. Closes the given descriptor."""

    def __init__(self, descriptor: int, length: int, stride: int) -> None:
        self.memory = mmap.mmap(descriptor, length)
        os.close(descriptor)
        self.words = memoryview(self.memory).cast("Q")
        self.halves = memoryview(self.memory).cast("I")
        self.stride = stride
        self.slots = max((length - 4096) // 2 // stride, 64)

    def close(self) -> None:
        self.words.release()
        self.halves.release()
        self.memory.close()

    def slot(self, position: int) -> tuple[int, int]:
        """Return the offset of the slot of a position, and the sequence of its published message."""
        return 4096 + position % self.slots * self.stride, position // self.slots + 1

    def publish(self, position: int, correlation_id: int, type_id: int, payload: bytes, deadline: int = 0) -> None:
        at, lap = self.slot(position)
        self.memory[at + 24 : at + 24 + len(payload)] = payload
        self.words[at // 8 + 1] = correlation_id
        self.words[at // 8 + 2] = deadline << 32 | type_id
        self.words[at // 8] = len(payload) << 32 | lap

    def is_published(self, position: int) -> bool:
        at, lap = self.slot(position)
        return self.halves[at // 4] == lap

    def take(self, position: int) -> tuple[int, int, int, bytes]:
        """Wait for a message; return its correlation id, type id, deadline and payload."""
        until(lambda: self.is_published(position))
        at, _ = self.slot(position)
        _, length, correlation_id, type_id, deadline = struct.unpack_from("<IIQII", self.memory, at)
        return correlation_id, type_id, deadline, self.memory[at + 24 : at + 24 + length]

    def release(self, position: int) -> None:
        """Release the slots before a position."""
        self.words[RELEASED // 8] = position

    def grant(self, cell: int, granted: int) -> None:
        """Store the items that the producer may have sent in all."""
        self.words[(CREDIT + 64 * cell) // 8] = granted

    def is_parked(self, word: int) -> bool:
        return self.halves[word // 4] == 1

    def ask_for_rings(self, word: int) -> None:
        self.halves[word // 4] = 1


def ring(connection: socket.socket, through: Ring, word: int) -> None:
    """Ring the package if it has parked: the half of a waker that follows a publication, or a release."""
    if through.is_parked(word):
        through.halves[word // 4] = 0
        connection.send(struct.pack("<Q", time.monotonic_ns()))


def heard(connection: socket.socket) -> int:
    """Wait for a ring of the package; return its time of sending."""
    message = connection.recv(64)
    assert len(message) == 8
    return int.from_bytes(message, "little")


@contextlib.contextmanager
def connected(path: str, kind: int, role: int) -> Iterator[tuple[socket.socket, bytes, list[Ring]]]:
    """Make the handshake as a connector; yield the socket, the welcome and the rings."""
    with reached(path) as connection:
        connection.send(hello(kind, role, namespace()))
        granted, descriptors, _, _ = socket.recv_fds(connection, 137, 3)
        lengths = [struct.unpack_from("<Q", granted, 24 + 16 * index)[0] for index in range(granted[10])]
        connection.send(READY)
        rings = [
            Ring(descriptor, length, 64 if kind == BUS else 256)
            for descriptor, length in zip(descriptors, lengths, strict=True)
        ]
        with contextlib.ExitStack() as stack:
            for each in rings:
                stack.callback(each.close)
            yield connection, granted, rings


def reached(path: str) -> socket.socket:
    """Connect to a listener that is about to appear."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(SOON)
    for _ in range(500):
        try:
            connection.connect(path)
            break
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.01)
    return connection


def test_a_bus_is_as_dumped(peer: Callable[[str], Peer], path: str) -> None:
    sender = peer("""
        with tachyon.Bus.listen(path, 4096) as bus:
            bus.send(b"hello tachyon", type_id=1)
            bus.send(bytes(range(0x30, 0x6C)), type_id=7)
            print("sent")
            sys.stdin.readline()
            for number in range(2, 72):
                bus.send(b"number %d" % number, type_id=2)
            print("sent more")
            sys.stdin.readline()
        print("closed")
        """)
    # The page shows the initial time namespace of a machine.
    assert_is(hello(BUS, SINK, 0xEFFFFFFA), "hello")
    assert_is(READY, "ready")
    with connected(path, BUS, SINK) as (connection, granted, (messages,)):
        assert_is(granted, "welcome")
        assert granted == welcome(BUS, SOURCE, (4096, 12288))
        assert sender.line() == "sent"
        assert_shows(messages.memory, "segment")

        # The sender rings once for each parked word, and sends the time.
        messages.ask_for_rings(CONSUMER_PARKED)
        asked = time.monotonic_ns()
        sender.tell("go on")
        assert asked < heard(connection) <= time.monotonic_ns()
        assert not messages.is_parked(CONSUMER_PARKED)

        # The sender fills the ring and waits for room; the release wakes it.
        until(lambda: messages.is_published(63) and messages.is_parked(PRODUCER_PARKED))
        assert not messages.is_published(64)
        messages.release(60)
        ring(connection, messages, PRODUCER_PARKED)
        assert sender.line() == "sent more"
        assert messages.take(71) == (0, 2, 0, b"number 71")
        assert_shows(messages.memory, "lap")

        sender.tell("close")
        assert sender.line() == "closed"
        assert_shows(messages.memory, "closed")
        assert connection.recv(64) == b""


def test_a_callee_is_as_dumped(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer("""
        logging.getLogger("tachyon").disabled = True
        with tachyon.RpcBus.listen(path, 64, 64) as bus:
            dispatcher = tachyon.RpcDispatcher()
            dispatcher.handler(1)(lambda payload: payload.tobytes().upper())
            dispatcher.serve_forever(bus)
        print("closed")
        """)
    with connected(path, RPC, SOURCE) as (connection, granted, (forward, reverse)):
        assert granted == welcome(RPC, SINK, (64, 4096 + 64 * 256 + 64), (64, 4096 + 64 * 256 + 64))

        # The caller rings a parked callee, and the callee rings a parked caller.
        until(lambda: forward.is_parked(CONSUMER_PARKED))
        reverse.ask_for_rings(CONSUMER_PARKED)
        began = time.monotonic_ns()
        forward.publish(0, 1, 404, b"hi")
        ring(connection, forward, CONSUMER_PARKED)
        assert began < heard(connection) <= time.monotonic_ns()
        assert_shows(forward.memory, "request")
        assert_shows(reverse.memory, "reply")
        until(lambda: forward.words[RELEASED // 8] == 1)
        assert_shows(forward.memory, "released")

        # A cancellation gets no reply, a late request an error, and a request in time its reply.
        unit = time.monotonic_ns() >> 16
        forward.publish(1, 1, CANCEL | 404, b"")
        forward.publish(2, 2, 1, b"late", deadline=unit - 1 & 0xFFFFFFFF or 1)
        forward.publish(3, 3, 1, b"in time", deadline=unit + 1_000_000 & 0xFFFFFFFF or 1)
        ring(connection, forward, CONSUMER_PARKED)
        assert reverse.take(1) == (2, DEADLINE_PASSED, 0, struct.pack(">H", 1))
        assert reverse.take(2) == (3, 1, 0, b"IN TIME")
        until(lambda: forward.words[RELEASED // 8] == 4)
        assert not reverse.is_published(3)
        assert_shows(forward.memory, "cancel")

        for each in (forward, reverse):
            each.halves[STATE // 4] |= CONNECTOR_CLOSED
        connection.shutdown(socket.SHUT_RDWR)
        assert callee.join() == "closed\n"


def segment(capacity: int, stride: int) -> tuple[int, Ring]:
    """Make a ring as a listener does: zeroed memory with an identity, sealed. Return the peer's descriptor, too."""
    length = 4096 + max(capacity // stride, 64) * stride + max(capacity, 64)
    descriptor = os.memfd_create("peer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, length)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    made = Ring(os.dup(descriptor), length, stride)
    made.memory[:8] = b"TACHYON\x02"
    made.words[1] = capacity
    made.words[2] = stride
    return descriptor, made


@contextlib.contextmanager
def accepted(
    peer: Callable[[str], Peer], path: str, program: str
) -> Iterator[tuple[Peer, socket.socket, tuple[Ring, Ring]]]:
    """Start a caller, and make the handshake as its callee; yield the caller, the socket and the rings."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, contextlib.ExitStack() as stack:
        listener.settimeout(SOON)
        listener.bind(path)
        listener.listen()
        caller = peer(program)
        connection = stack.enter_context(listener.accept()[0])
        connection.settimeout(SOON)
        greeting = connection.recv(137)
        assert greeting == hello(RPC, EITHER, namespace())
        (first, forward), (second, reverse) = segment(4096, 256), segment(64, 256)
        for each in (forward, reverse):
            stack.callback(each.close)
        granted = welcome(RPC, SINK, (4096, len(forward.memory)), (64, len(reverse.memory)))
        socket.send_fds(connection, [granted], [first, second])
        for descriptor in (first, second):
            os.close(descriptor)
        assert connection.recv(137) == READY
        yield caller, connection, (forward, reverse)


SHOUTING = """
@tachyon.tachyon_rpc(msg_type=5)
def shout(payload: memoryview) -> bytes: ...
with tachyon.RpcBus.connect(path) as bus:
    print(shout.call(bus, bytes(range(0x41, 0x71)), timeout=60.0).decode())
"""


def test_a_caller_is_as_dumped(peer: Callable[[str], Peer], path: str) -> None:
    with accepted(peer, path, SHOUTING) as (caller, connection, (forward, reverse)):
        now = time.monotonic_ns() >> 16
        correlation_id, type_id, deadline, payload = forward.take(0)
        assert (correlation_id, type_id, payload) == (1, 5, bytes(range(0x41, 0x71)))
        ahead = (deadline - now & 0xFFFFFFFF) * 65536
        assert 60e9 - SOON * 1e9 < ahead < 60e9 + SOON * 1e9
        assert_shows(forward.memory, "deadline")

        # The caller parks sooner or later, and the callee rings.
        until(lambda: reverse.is_parked(CONSUMER_PARKED))
        reverse.publish(0, correlation_id, type_id, payload.lower())
        ring(connection, reverse, CONSUMER_PARKED)
        forward.release(1)
        ring(connection, forward, PRODUCER_PARKED)
        assert caller.join() == f"{payload.lower().decode()}\n"
        assert forward.halves[STATE // 4] == reverse.halves[STATE // 4] == CONNECTOR_CLOSED


COUNTING = """
with tachyon.RpcBus.listen(path, 64, 64) as bus:
    dispatcher = tachyon.RpcDispatcher()
    @dispatcher.handler(7)
    def count(payload):
        for number in range(payload[0]):
            yield b"%d" % number
    dispatcher.handler(1)(lambda payload: payload.tobytes().upper())
    dispatcher.serve_forever(bus)
print("closed")
"""


def test_a_callee_of_streams_is_as_dumped(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer(COUNTING)
    with connected(path, RPC, SOURCE) as (connection, _, (forward, reverse)):

        def send(position: int, call: int, type_id: int, payload: bytes = b"") -> None:
            forward.publish(position, call, type_id, payload)
            ring(connection, forward, CONSUMER_PARKED)

        def grant(cell: int, granted: int) -> None:
            reverse.grant(cell, granted)
            ring(connection, reverse, PRODUCER_PARKED)

        grant(5, 2)
        send(0, 7, OPEN | 5 * CELL | 7, b"\x03")
        assert [reverse.take(position) for position in (0, 1)] == [(7, ITEM | 7, 0, b"0"), (7, ITEM | 7, 0, b"1")]
        # Without credit the callee parks, and a grant wakes it as a release does. Other calls go on.
        until(lambda: reverse.is_parked(PRODUCER_PARKED))
        assert not reverse.is_published(2)
        grant(5, 3)
        assert reverse.take(2) == (7, ITEM | 7, 0, b"2")
        grant(5, 4)
        assert reverse.take(3) == (7, END | 7, 0, b"")
        assert_shows(reverse.memory, "answered")

        # The cell is free. A stream that is given up is answered, and then its messages mean nothing.
        grant(5, 1)
        send(1, 8, OPEN | 5 * CELL | 7, b"\x09")
        assert reverse.take(4) == (8, ITEM | 7, 0, b"0")
        send(2, 8, CANCEL | 7)
        correlation_id, type_id, _, payload = reverse.take(5)
        assert (correlation_id, type_id, payload[:2]) == (8, CANCELLED, struct.pack(">H", 7))
        for position, route in ((3, CANCEL), (4, ITEM), (5, END)):
            send(position, 8, route | 7)
        send(6, 9, 1, b"after")
        assert reverse.take(6) == (9, 1, 0, b"AFTER")
        # A stream's endpoint takes no call, and a call's endpoint opens no stream.
        send(7, 10, 7, b"\x01")
        send(8, 11, OPEN | 1, b"")
        assert [reverse.take(position)[:2] for position in (7, 8)] == [(10, BAD_REQUEST), (11, BAD_REQUEST)]

        for each in (forward, reverse):
            each.halves[STATE // 4] |= CONNECTOR_CLOSED
        connection.shutdown(socket.SHUT_RDWR)
        assert callee.join() == "closed\n"


ASKING = """
with tachyon.RpcBus.connect(path) as bus:
    with bus.stream(7, b"ask", window=4) as stream:
        print(stream.send(b"one"), stream.send(b"two"))
        stream.end()
        print(*[bytes(item).decode() for item in stream])
    with bus.stream(7, b"again") as stream:
        print(bytes(next(stream)).decode())
    print("left")
    sys.stdin.readline()
"""


def test_a_caller_of_streams_is_as_dumped(peer: Callable[[str], Peer], path: str) -> None:
    with accepted(peer, path, ASKING) as (caller, connection, (forward, reverse)):

        def grant(granted: int) -> None:
            forward.grant(0, granted)
            ring(connection, forward, PRODUCER_PARKED)

        def send(position: int, call: int, type_id: int, payload: bytes = b"") -> None:
            reverse.publish(position, call, type_id, payload)
            ring(connection, reverse, CONSUMER_PARKED)

        assert forward.take(0) == (1, OPEN | 7, 0, b"ask")
        assert_shows(reverse.memory, "window")
        # Without credit the caller parks.
        until(lambda: forward.is_parked(PRODUCER_PARKED))
        assert not forward.is_published(1)
        grant(1)
        assert forward.take(1) == (1, ITEM | 7, 0, b"one")
        until(lambda: forward.is_parked(PRODUCER_PARKED))
        assert not forward.is_published(2)
        grant(2)
        assert [forward.take(position) for position in (2, 3)] == [(1, ITEM | 7, 0, b"two"), (1, END | 7, 0, b"")]
        assert_shows(forward.memory, "opened")
        assert caller.line() == "True True"

        # The caller grants as many items again as it takes.
        for position in range(6):
            assert reverse.words[CREDIT // 8] > position
            send(position, 1, ITEM | 7, b"%d" % position)
            until(lambda taken=position + 1: reverse.words[CREDIT // 8] == 4 + taken)  # type: ignore[misc]
        # The credit is taken back before the last message; what follows means nothing.
        forward.grant(0, 0)
        send(6, 1, END | 7)
        send(7, 1, ITEM | 7, b"late")
        assert caller.line() == "0 1 2 3 4 5"

        # The next stream has the cell, and a window of an eighth of the slots. It is given up, and answered.
        assert forward.take(4) == (2, OPEN | 7, 0, b"again")
        assert reverse.words[CREDIT // 8] == 8
        send(8, 2, ITEM | 7, b"x")
        assert caller.line() == "x"
        assert forward.take(5)[:2] == (2, CANCEL)
        send(9, 2, CANCELLED, struct.pack(">H", 7))
        assert caller.line() == "left"
        caller.tell("go on")
        caller.join()


def test_a_peer_in_another_time_namespace_is_rejected_as_dumped(peer: Callable[[str], Peer], path: str) -> None:
    sender = peer("""
        with tachyon.Bus.listen(path, 4096) as bus:
            bus.send(b"", type_id=1)
        """)
    with reached(path) as connection:
        connection.send(hello(BUS, SINK, namespace() ^ 1))
        assert_is(connection.recv(137), "reject")
        assert connection.recv(137) == b""
    # The listener listens on.
    with connected(path, BUS, SINK) as (_, _, (messages,)):
        assert messages.take(0) == (0, 1, 0, b"")
    sender.join()


def dumped(name: str) -> bytes:
    """Return the bytes of a dump that begins at 0."""
    return bytes.fromhex("".join(byte for _, row in dump(name) for byte in row))


def test_values_are_as_dumped(service: Callable[..., Peer], path: str) -> None:
    callee = service("wire_values", "bus", rings=(4096, 4096))
    with connected(path, RPC, SOURCE) as (connection, _, (forward, reverse)):
        sent = 0

        def reply_to(msg_type: int, payload: bytes) -> tuple[int, bytes]:
            nonlocal sent
            forward.publish(sent, sent + 1, msg_type, payload)
            ring(connection, forward, CONSUMER_PARKED)
            correlation_id, type_id, _, reply = reverse.take(sent)
            sent += 1
            assert correlation_id == sent
            return type_id, reply

        assert reply_to(1, b"") == (1, dumped("scan"))
        # The callee reads its own bytes, and writes the same bytes again.
        for name in ("scan", "empty"):
            assert reply_to(3, dumped(name)) == (3, dumped(name))
        assert reply_to(2, dumped("arguments")) == (HANDLER_FAILED, dumped("declared"))
        wrong = bytearray(dumped("arguments"))
        wrong[0x24] = 0x20
        assert reply_to(2, bytes(wrong)) == (BAD_REQUEST, dumped("refused"))
        assert reply_to(4, b"") == (4, dumped("texts"))
        assert reply_to(5, b"") == (5, dumped("tensor"))

        for each in (forward, reverse):
            each.halves[STATE // 4] |= CONNECTOR_CLOSED
        connection.shutdown(socket.SHUT_RDWR)
        callee.join()


@pytest.mark.parametrize("said", [b"1234567", b"123456789"])
def test_a_message_that_is_no_ring_is_a_fault(peer: Callable[[str], Peer], path: str, said: bytes) -> None:
    receiver = peer(RECEIVER)
    with connected(path, BUS, SOURCE) as (connection, _, (messages,)):
        until(lambda: messages.is_parked(CONSUMER_PARKED))
        connection.send(said)
        assert connection.recv(64) == b""
        assert messages.halves[STATE // 4] & BROKEN
    assert "a message on the socket has" in receiver.join()


def test_a_descriptor_is_refused_to_its_sender_or_a_fault(peer: Callable[[str], Peer], path: str) -> None:
    receiver = peer(RECEIVER)
    with connected(path, BUS, SOURCE) as (connection, _, (messages,)):
        until(lambda: messages.is_parked(CONSUMER_PARKED))
        try:
            socket.send_fds(connection, [bytes(8)], [0])
        except PermissionError:
            messages.publish(0, 0, 3, b"good")
            ring(connection, messages, CONSUMER_PARKED)
            assert receiver.join() == "good\n"
            return
        assert connection.recv(64) == b""
        assert messages.halves[STATE // 4] & BROKEN
    assert "a message on the socket has" in receiver.join()
