"""NumPy sees payloads in place, through the buffer protocol and through DLPack."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import numpy as np
import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer

VALUES = [1.5, 2.5, 3.5, 4.5]


@pytest.fixture
def bus(peer: Callable[[str], Peer], path: str) -> Iterator[tachyon.Bus]:
    """A receiver of four floats, thirty times, and of an empty message."""
    peer("""
        with tachyon.Bus.connect(path) as bus:
            for n in range(30):
                bus.send(struct.pack("4f", 1.5, 2.5, 3.5, 4.5), 99)
            bus.send(b"", 0)
            sys.stdin.readline()
    """)
    with tachyon.Bus.listen(path, 1 << 14) as bus:
        yield bus


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_dlpack_is_a_view(bus: tachyon.Bus) -> None:
    with bus.drain_batch(1) as batch:
        message = batch[0]
        assert message.__dlpack_device__() == (1, 0)
        array = np.from_dlpack(message)
        assert (array.dtype, array.shape) == (np.uint8, (16,))
        assert not array.flags.writeable
        assert array.view(np.float32).tolist() == VALUES
        assert address(array) == address(np.frombuffer(message, np.uint8))
        del array


def test_buffers_are_views(bus: tachyon.Bus) -> None:
    with bus.drain_batch(1) as batch:
        array = np.frombuffer(batch[0], np.float32)
        assert array.tolist() == VALUES
        assert not array.flags.writeable
        assert np.asarray(batch[0]).nbytes == 16
        del array
    with bus.recv_zero_copy() as rx:
        array = np.frombuffer(rx, np.float32)
        assert array.tolist() == VALUES
        del array


def test_an_array_kept_past_its_batch(bus: tachyon.Bus) -> None:
    with pytest.raises(tachyon.errors.ViewError), bus.drain_batch(1) as batch:
        array = np.from_dlpack(batch[0])
    assert array.view(np.float32).tolist() == VALUES
    with pytest.raises(tachyon.errors.ViewError):
        bus.recv()
    del array
    gc.collect()
    assert bus.recv(timeout=10).type_id == 99


def test_an_unused_capsule_is_no_leak(bus: tachyon.Bus) -> None:
    for version in (None, (1, 0), (0, 8)):
        with bus.drain_batch(1) as batch:
            capsule = batch[0].__dlpack__(max_version=version)
            name = "dltensor_versioned" if version == (1, 0) else "dltensor"
            assert f'"{name}"' in repr(capsule)
            del capsule


def test_dlpack_requests_that_are_refused(bus: tachyon.Bus) -> None:
    with bus.drain_batch(1) as batch:
        message = batch[0]
        for arguments in ({"stream": 1}, {"dl_device": (2, 0)}, {"copy": True}):
            with pytest.raises(BufferError):
                message.__dlpack__(**arguments)
        assert np.from_dlpack(message, device="cpu", copy=False).nbytes == 16
        gc.collect()


def test_an_array_outlives_everything(bus: tachyon.Bus) -> None:
    array = np.from_dlpack(bus.drain_batch(1)[0])
    bus.close()
    gc.collect()
    assert array.view(np.float32).tolist() == VALUES


def test_an_empty_payload(bus: tachyon.Bus) -> None:
    for _ in range(30):
        bus.recv(timeout=10)
    with bus.drain_batch(1, timeout=10) as batch:
        assert np.from_dlpack(batch[0]).shape == (0,)
        gc.collect()


def test_arrays_are_sent(peer: Callable[[str], Peer], path: str) -> None:
    receiver = peer("""
        with tachyon.Bus.connect(path) as bus:
            print([struct.unpack("4f", m.data) for m in bus])
    """)
    array = np.array(VALUES, np.float32)
    with tachyon.Bus.listen(path, 4096) as bus:
        bus.send(array)
        bus.send(array.reshape(2, 2))
        with bus.send_zero_copy(16) as tx:
            np.frombuffer(tx, np.float32)[:] = array
        for scattered in (array[::2], array.reshape(2, 2).T):
            with pytest.raises(BufferError, match="contiguous"):
                bus.send(scattered)
    assert receiver.join() == f"[{', '.join([str(tuple(VALUES))] * 3)}]\n"


def test_a_handler_that_returns_an_array_of_its_request(peer: Callable[[str], Peer], path: str) -> None:
    peer("""
        import numpy as np
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
            dispatcher = tachyon.RpcDispatcher()
            dispatcher.handler(1)(lambda view: np.frombuffer(view, np.uint8))
            dispatcher.handler(2)(lambda view: np.frombuffer(view, np.uint8) * 2)
            dispatcher.serve_forever(bus)
    """)
    with tachyon.RpcBus.connect(path) as bus:
        assert tachyon.tachyon_rpc(1)(len).call(bus, b"abc") == b"abc"
        assert tachyon.tachyon_rpc(2)(len).call(bus, b"\1\2") == b"\2\4"
        mean = tachyon.tachyon_rpc(1)(len).call(bus, b"\1\3", lambda view: float(np.frombuffer(view, np.uint8).mean()))
        assert mean == 2.0
