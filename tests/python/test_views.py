"""Views into slots: a view keeps its slot occupied, and never reaches unmapped memory."""

from __future__ import annotations

import gc
import io
from typing import TYPE_CHECKING

import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer

SENDER = """
with tachyon.Bus.connect(path) as bus:
    for n in range(40):
        bus.send(bytes([n]) * 3000, n)
"""


@pytest.fixture
def bus(peer: Callable[[str], Peer], path: str) -> Iterator[tachyon.Bus]:
    """A receiver of more messages than its ring holds."""
    sender = peer(SENDER)
    with tachyon.Bus.listen(path, 1 << 14) as bus:
        yield bus
    del sender


def test_a_view_kept_past_its_guard(bus: tachyon.Bus) -> None:
    with pytest.raises(tachyon.errors.ViewError, match="memoryview"), bus.recv_zero_copy() as rx:
        view = memoryview(rx)
    assert view == bytes(3000)  # the bytes are the same: the slot is occupied
    for operation in (bus.recv, bus.recv_zero_copy, bus.drain_batch, lambda: next(iter(bus))):
        with pytest.raises(tachyon.errors.ViewError):
            operation()
    assert view == bytes(3000)
    view.release()
    assert [bus.recv(timeout=10).type_id for _ in range(39)] == list(range(1, 40))


def test_the_last_of_several_views_gives_the_slot_back(bus: tachyon.Bus) -> None:
    with pytest.raises(BufferError), bus.recv_zero_copy() as rx:
        first, second = memoryview(rx)[1:], memoryview(rx)[2:]
    first.release()
    with pytest.raises(tachyon.errors.ViewError):
        bus.recv()
    del second
    gc.collect()
    assert bus.recv(timeout=10).type_id == 1


def test_an_exception_is_not_hidden_by_an_open_view(bus: tachyon.Bus) -> None:
    with pytest.raises(LookupError), bus.recv_zero_copy() as rx:
        view = memoryview(rx)
        raise LookupError
    with pytest.raises(tachyon.errors.ViewError):
        bus.recv()
    view.release()
    assert bus.recv(timeout=10).type_id == 1


def test_a_released_guard_lends_nothing(bus: tachyon.Bus) -> None:
    with bus.recv_zero_copy() as rx:
        pass
    with pytest.raises(tachyon.errors.ReleasedError):
        memoryview(rx)
    with pytest.raises(RuntimeError), rx:
        pass
    assert rx.actual_size == 3000
    with bus.drain_batch(2) as batch:
        message = batch[0]
    for use in (lambda: memoryview(message), lambda: batch[0], lambda: message.__dlpack__(), lambda: list(batch)):
        with pytest.raises(tachyon.errors.ReleasedError):
            use()


def test_a_guard_that_is_only_collected_gives_back(bus: tachyon.Bus) -> None:
    for n in range(40):
        guard = bus.recv_zero_copy(timeout=10)
        assert guard.type_id == n
        del guard


def test_one_guard_at_a_time(bus: tachyon.Bus) -> None:
    with bus.recv_zero_copy():
        for operation in (bus.recv, bus.recv_zero_copy, bus.drain_batch, lambda: next(bus)):
            with pytest.raises(tachyon.errors.BusyError, match="guard"):
                operation()
    with bus.drain_batch(3), pytest.raises(tachyon.errors.BusyError):
        bus.recv()
    assert bus.recv(timeout=10).type_id >= 2


def test_a_batch_with_an_open_view(bus: tachyon.Bus) -> None:
    with pytest.raises(tachyon.errors.ViewError), bus.drain_batch(2) as batch:
        view = memoryview(batch[0])
    assert view == bytes(3000)
    with pytest.raises(tachyon.errors.ViewError):
        bus.recv()
    view.release()
    assert bus.recv(timeout=10).type_id >= 1


def test_views_survive_the_bus(bus: tachyon.Bus) -> None:
    rx = bus.recv_zero_copy()
    view = memoryview(rx)
    bus.close()
    assert view == bytes(3000)
    with pytest.raises(tachyon.errors.ViewError):
        rx.__exit__(None, None, None)
    del rx, bus
    gc.collect()
    assert view == bytes(3000)


def test_a_batch_survives_the_bus(bus: tachyon.Bus) -> None:
    batch = bus.drain_batch(2)
    message = batch[0]
    view = memoryview(message)
    bus.close()
    del batch, message
    gc.collect()
    assert view == bytes(3000)


def test_views_are_read_only(bus: tachyon.Bus) -> None:
    with bus.recv_zero_copy() as rx, memoryview(rx) as view, pytest.raises(TypeError):
        view[0] = 1
    with bus.recv_zero_copy() as rx, pytest.raises(TypeError, match="read-write"):
        io.BytesIO(b"x").readinto(rx)


@pytest.fixture
def sending(peer: Callable[[str], Peer], path: str) -> Iterator[tachyon.Bus]:
    """A sending bus whose peer expects one message and then the end."""
    receiver = peer("""
        with tachyon.Bus.connect(path) as bus:
            print([m.data for m in bus])
    """)
    with tachyon.Bus.listen(path, 4096) as bus:
        yield bus
    assert receiver.join() == "[b'sound']\n"


def test_a_writable_view_kept_past_its_guard_publishes_nothing(sending: tachyon.Bus) -> None:
    with pytest.raises(tachyon.errors.ViewError), sending.send_zero_copy(5) as tx:
        view = memoryview(tx)
        view[:] = b"wrong"
    with pytest.raises(tachyon.errors.ViewError):
        sending.send(b"too early")
    view[:] = b"still"
    view.release()
    sending.send(b"sound")


def test_a_reservation_is_exclusive(sending: tachyon.Bus) -> None:
    tx = sending.send_zero_copy(5)
    for operation in (lambda: sending.send(b"x"), lambda: sending.send_zero_copy(1)):
        with pytest.raises(tachyon.errors.BusyError):
            operation()
    with tx:
        memoryview(tx)[:] = b"sound"


def test_a_writable_view_survives_the_bus(sending: tachyon.Bus) -> None:
    sending.send(b"sound")
    tx = sending.send_zero_copy(5)
    view = memoryview(tx)
    sending.close()
    view[:] = b"later"
    view.release()
    with pytest.raises(tachyon.BusClosedError):
        tx.__exit__(None, None, None)


def test_rpc_guards(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer("""
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            for _ in range(2):
                with bus.serve() as rx:
                    cid = rx.correlation_id
                bus.reply(cid, b"reply", 1)
            sys.stdin.readline()
    """)
    with tachyon.RpcBus.connect(path) as bus:
        first, second = bus.call(b"", 1), bus.call(b"", 1)
        with pytest.raises(tachyon.errors.ViewError), bus.wait(first) as rx:
            view = memoryview(rx)
        assert view == b"reply"
        with pytest.raises(tachyon.errors.ViewError):
            bus.wait(second)
        view.release()
        with bus.wait(second) as rx, pytest.raises(tachyon.errors.BusyError):
            bus.wait(second)
        with pytest.raises(tachyon.errors.ViewError), bus.call_zero_copy(4, 1) as tx:
            view = memoryview(tx)
        with pytest.raises(tachyon.errors.ViewError):
            bus.call(b"", 1)
        view.release()
        callee.tell("done")
    callee.join()


def test_an_early_reply_outlives_the_bus(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer("""
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            for n in range(2):
                with bus.serve() as rx:
                    cid = rx.correlation_id
                bus.reply(cid, b"reply %d" % cid, 1)
    """)
    with tachyon.RpcBus.connect(path) as bus:
        first, second = bus.call(b"", 1), bus.call(b"", 1)
        with bus.wait(second):
            pass
        rx = bus.wait(first)
        view = memoryview(rx)
    del rx, bus
    gc.collect()
    assert view == b"reply 1"
    callee.join()
