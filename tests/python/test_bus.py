"""The one-way bus, with the other end in a process of its own."""

from __future__ import annotations

import array
from typing import TYPE_CHECKING

import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer

CAPACITY = 1 << 16

ECHO_SENDER = """
with tachyon.Bus.connect(path) as bus:
    for line in sys.stdin:
        size, type_id = map(int, line.split())
        bus.send(bytes(i & 0xFF for i in range(size)), type_id)
"""


@pytest.fixture
def sender(peer: Callable[[str], Peer]) -> Peer:
    """A child that sends a message for each line, which names size and type."""
    return peer(ECHO_SENDER)


@pytest.fixture
def bus(sender: Peer, path: str) -> Iterator[tachyon.Bus]:
    """The receiving end of `sender`."""
    with tachyon.Bus.listen(path, CAPACITY) as bus:
        yield bus


def pattern(size: int) -> bytes:
    return bytes(i & 0xFF for i in range(size))


@pytest.mark.parametrize("size", [0, 1, 39, 40, 41, 64, 4096, CAPACITY - 1, CAPACITY])
def test_any_size_arrives_whole(bus: tachyon.Bus, sender: Peer, size: int) -> None:
    sender.tell(f"{size} 7")
    message = bus.recv(timeout=10)
    assert message.data == pattern(size)
    assert (message.size, message.type_id) == (size, 7)
    assert type(message.data) is bytes


def test_iteration_ends_when_the_peer_closes(bus: tachyon.Bus, sender: Peer) -> None:
    for size in range(5):
        sender.tell(f"{size} {size}")
    sender.hang_up()  # the child leaves its `with` block
    assert [(m.type_id, m.size) for m in bus] == [(n, n) for n in range(5)]
    with pytest.raises(tachyon.PeerClosedError):
        bus.recv()


def test_many_messages_keep_their_order(peer: Callable[[str], Peer], path: str) -> None:
    sender = peer("""
        with tachyon.Bus.connect(path) as bus:
            for n in range(20000):
                bus.send(struct.pack("I", n) * (n % 50), n)
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        for n, message in enumerate(bus):
            assert message.type_id == n
            assert message.data == n.to_bytes(4, "little") * (n % 50)
    assert n == 19999
    sender.join()


def test_either_side_may_listen(peer: Callable[[str], Peer], path: str) -> None:
    receiver = peer("""
        with tachyon.Bus.connect(path) as bus:
            print([m.data for m in bus])
    """)
    with tachyon.Bus.listen(path, CAPACITY) as bus:
        bus.send(b"from the listener")
    assert receiver.join() == "[b'from the listener']\n"


def test_a_ring_of_one_message_flows(peer: Callable[[str], Peer], path: str) -> None:
    sender = peer("""
        with tachyon.Bus.connect(path) as bus:
            for n in range(200):
                bus.send(bytes([n]) * 4096)
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        assert [m.data for m in bus] == [bytes([n]) * 4096 for n in range(200)]
    sender.join()


def test_receive_in_place(bus: tachyon.Bus, sender: Peer) -> None:
    for size in (3, 5000):
        sender.tell(f"{size} {size + 1}")
        with bus.recv_zero_copy(timeout=10) as rx:
            assert (rx.actual_size, rx.type_id, len(rx)) == (size, size + 1, size)
            with memoryview(rx) as view:
                assert view.readonly
                assert (view.format, view.itemsize, view.nbytes) == ("B", 1, size)
                assert view == pattern(size)
            assert bytes(rx) == pattern(size)
        assert "released" in repr(rx)


def test_send_in_place(peer: Callable[[str], Peer], path: str) -> None:
    receiver = peer("""
        with tachyon.Bus.connect(path) as bus:
            print([(m.type_id, m.data) for m in bus])
    """)
    with tachyon.Bus.listen(path, CAPACITY) as bus:
        with bus.send_zero_copy(size=64, type_id=7) as tx:
            assert len(tx) == 64
            with memoryview(tx) as view:
                assert not view.readonly
                view[:3] = b"abc"
            tx.actual_size = 3
        with bus.send_zero_copy(4) as tx:
            memoryview(tx)[:] = b"full"
            tx.type_id = 9
            assert tx.actual_size == 4
        with pytest.raises(RuntimeError, match="changed my mind"), bus.send_zero_copy(4) as tx:
            memoryview(tx)[:] = b"none"
            raise RuntimeError("changed my mind")
        bus.send_zero_copy(4)  # a collected guard publishes nothing
        with bus.send_zero_copy(0, 3):
            pass
    assert receiver.join() == "[(7, b'abc'), (9, b'full'), (3, b'')]\n"


def test_a_batch_is_a_sequence(bus: tachyon.Bus, sender: Peer) -> None:
    for n in range(10):
        sender.tell(f"{n} {n}")
    sender.hang_up()
    sender.process.wait(10)
    with bus.drain_batch(max_msgs=4) as batch:
        assert len(batch) == 4
        assert [(m.type_id, m.actual_size, len(m)) for m in batch] == [(n, n, n) for n in range(4)]
        assert bytes(batch[3]) == bytes(batch[-1]) == pattern(3)
        with pytest.raises(IndexError):
            batch[4]
        with pytest.raises(IndexError):
            batch[-5]
    with bus.drain_batch() as batch:
        assert [m.type_id for m in batch] == [4, 5, 6, 7, 8, 9]
    with pytest.raises(tachyon.PeerClosedError):
        bus.drain_batch()


@pytest.mark.parametrize(
    "data",
    [
        b"abcdefgh",
        bytearray(b"abcdefgh"),
        memoryview(b"abcdefgh"),
        memoryview(b"xabcdefghx")[1:-1],
        array.array("I", [0x64636261, 0x68676665]),
        memoryview(b"abcdefgh").cast("B", (2, 4)),
    ],
    ids=["bytes", "bytearray", "memoryview", "slice", "array", "2-d"],
)
def test_any_contiguous_buffer_may_be_sent(peer: Callable[[str], Peer], path: str, data: bytes) -> None:
    receiver = peer("""
        with tachyon.Bus.connect(path) as bus:
            print(bus.recv().data)
    """)
    with tachyon.Bus.listen(path, CAPACITY) as bus:
        bus.send(data)
        assert receiver.join() == "b'abcdefgh'\n"


def test_objects_that_cannot_be_sent(bus_alone: tachyon.Bus) -> None:
    with pytest.raises(TypeError, match="encode"):
        bus_alone.send("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes-like"):
        bus_alone.send(7)  # type: ignore[arg-type]
    with pytest.raises(BufferError, match="contiguous"):
        bus_alone.send(memoryview(b"abcdefgh")[::2])
    with pytest.raises(tachyon.errors.TooLargeError, match="65537"):
        bus_alone.send(bytes(CAPACITY + 1))
    with pytest.raises(tachyon.errors.TooLargeError):
        bus_alone.send_zero_copy(CAPACITY + 1)
    with pytest.raises(tachyon.errors.InvalidArgumentError, match="type_id"):
        bus_alone.send(b"", type_id=-1)
    with pytest.raises(tachyon.errors.InvalidArgumentError, match="type_id"):
        bus_alone.send(b"", type_id=1 << 32)
    with pytest.raises(tachyon.errors.InvalidArgumentError, match="size"):
        bus_alone.send_zero_copy(-1)
    for timeout in (-1.0, float("nan")):
        with pytest.raises(tachyon.errors.InvalidArgumentError, match="timeout"):
            bus_alone.send(b"", timeout=timeout)
    bus_alone.send(b"still intact")


@pytest.fixture
def bus_alone(peer: Callable[[str], Peer], path: str) -> Iterator[tachyon.Bus]:
    """A sending bus whose peer expects exactly one message."""
    receiver = peer("""
        with tachyon.Bus.connect(path) as bus:
            print([m.data for m in bus])
    """)
    with tachyon.Bus.listen(path, CAPACITY) as bus:
        yield bus
    assert receiver.join() == "[b'still intact']\n"


def test_actual_size_is_bounded(bus_alone: tachyon.Bus) -> None:
    with bus_alone.send_zero_copy(12) as tx:
        for wrong in (13, -1, 1 << 70):
            with pytest.raises(tachyon.errors.InvalidArgumentError, match="12"):
                tx.actual_size = wrong
        assert tx.actual_size == 12
        memoryview(tx)[:] = b"still intact"


def test_timeouts(bus: tachyon.Bus, sender: Peer) -> None:
    for timeout in (0, 0.02):
        with pytest.raises(TimeoutError):
            bus.recv(timeout=timeout)
        with pytest.raises(tachyon.TimedOutError):
            bus.recv_zero_copy(timeout=timeout)
        with pytest.raises(tachyon.TimedOutError):
            bus.drain_batch(timeout=timeout, spin_threshold=0)
    sender.tell("3 1")
    assert bus.recv(timeout=float("inf")).size == 3


def test_a_full_bus_times_out(peer: Callable[[str], Peer], path: str) -> None:
    receiver = peer("""
        with tachyon.Bus.connect(path) as bus:
            sys.stdin.readline()
            print(sum(1 for _ in bus))
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        sent = 0
        with pytest.raises(tachyon.TimedOutError):
            for _ in range(1000):
                bus.send(bytes(1000), timeout=0.05)
                sent += 1
        receiver.tell("go on")
        bus.send(bytes(1000), timeout=10)
    assert receiver.join() == f"{sent + 1}\n"


def test_polling_modes(bus: tachyon.Bus, sender: Peer) -> None:
    for pure_spin in (1, 0, True, False):
        bus.set_polling_mode(pure_spin)
        sender.tell("1 1")
        assert bus.recv(timeout=10).size == 1
    for spins in (0, 1, 100_000, None):
        sender.tell("1 1")
        assert bus.recv(timeout=10, spin_threshold=spins).size == 1
    with pytest.raises(tachyon.errors.InvalidArgumentError, match="pure_spin"):
        bus.set_polling_mode(2)
    with pytest.raises(tachyon.errors.InvalidArgumentError, match="spin_threshold"):
        bus.recv(spin_threshold=-1)


def test_numa_nodes(bus: tachyon.Bus) -> None:
    bus.set_numa_node(0)
    for node in (-1, 64):
        with pytest.raises(ValueError, match="63"):
            bus.set_numa_node(node)


def test_one_direction_per_bus(bus: tachyon.Bus, sender: Peer) -> None:
    sender.tell("1 1")
    bus.recv(timeout=10)
    with pytest.raises(tachyon.errors.WrongDirectionError, match="receive"):
        bus.send(b"x")
    with pytest.raises(tachyon.errors.WrongDirectionError):
        bus.send_zero_copy(1)


def test_repr_shows_class_and_state(bus: tachyon.Bus, sender: Peer) -> None:
    assert repr(bus).startswith("<tachyon.Bus ")
    sender.tell("1 1")
    with bus.recv_zero_copy(timeout=10) as rx:
        assert repr(rx) == "<tachyon.RxGuard type_id=1 actual_size=1>"
    bus.close()
    assert "closed" in repr(bus)
