"""Misuse is an error with a name, and never undefined behaviour."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from typing import TYPE_CHECKING

import pytest

import tachyon
from conftest import SENDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer


@pytest.fixture
def calling(service: Callable[..., Peer], path: str) -> Iterator[tachyon.RpcBus]:
    """A caller of an echo."""
    service("basics", "bus", rings=(4096, 4096), quiet=True)
    with tachyon.RpcBus.connect(path) as bus:
        yield bus


def test_threads_that_fight_over_a_direction(receiving: tachyon.Bus) -> None:
    """Each message comes once, in order, to the thread that holds the direction; the other threads get an error."""
    taken: list[int] = []
    refused = [0] * 4
    strange: list[BaseException] = []

    def grab(number: int) -> None:
        while len(taken) < 1000:
            try:
                with receiving.recv_zero_copy(timeout=0.01) as rx:
                    assert bytes(rx) == bytes([rx.type_id & 0xFF]) * 100
                    taken.append(rx.type_id)
                    if rx.type_id < 20:
                        # The pause lets the other threads try.
                        time.sleep(0.005)
            except (tachyon.errors.BusyError, tachyon.TimedOutError):
                refused[number] += 1
                time.sleep(0)
            except tachyon.PeerClosedError:
                return
            except BaseException as error:
                strange.append(error)
                return

    threads = [threading.Thread(target=grab, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert strange == []
    assert taken == list(range(1000))
    assert sum(refused) > 0


def test_threads_that_fight_over_one_guard(receiving: tachyon.Bus) -> None:
    """Views, releases and the end of a guard from several threads at once."""
    for n in range(300):
        guard = receiving.recv_zero_copy(timeout=10)
        assert guard.type_id == n
        barrier = threading.Barrier(3)
        outcomes: list[object] = []

        def look(
            guard: tachyon.RxGuard = guard, barrier: threading.Barrier = barrier, outcomes: list = outcomes
        ) -> None:
            barrier.wait()
            try:
                with memoryview(guard) as view:
                    outcomes.append(view.tobytes())
            except tachyon.errors.ReleasedError as error:
                outcomes.append(error)

        def end(guard: tachyon.RxGuard = guard, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            with contextlib.suppress(tachyon.errors.ViewError):
                guard.__exit__(None, None, None)

        threads = [threading.Thread(target=look), threading.Thread(target=look), threading.Thread(target=end)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        expected = bytes([n & 0xFF]) * 100
        assert all(isinstance(outcome, tachyon.errors.ReleasedError) or outcome == expected for outcome in outcomes)
        del guard, look, end, threads


def test_threads_that_fight_over_a_caller(calling: tachyon.RpcBus) -> None:
    endpoint = tachyon.tachyon_rpc(1)(len)
    right = [0] * 4
    strange: list[object] = []

    def call(number: int) -> None:
        for n in range(2000):
            payload = bytes([number, n & 0xFF]) * 10
            try:
                if endpoint.call(calling, payload, timeout=30) == payload:
                    right[number] += 1
                else:
                    strange.append("the reply of another call")
            except tachyon.errors.BusyError:
                pass
            except BaseException as error:
                strange.append(error)
                return

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert strange == []
    assert sum(right) > 0
    assert endpoint.call(calling, b"good", timeout=30) == b"good"


def test_a_thread_that_closes_beside_threads_that_work(service: Callable[..., Peer], path: str) -> None:
    for _ in range(10):
        other = service("basics", "bus", rings=(4096, 4096), quiet=True)
        bus = tachyon.RpcBus.connect(path)
        endpoint = tachyon.tachyon_rpc(1)(len)
        strange: list[object] = []

        def work(
            bus: tachyon.RpcBus = bus,
            endpoint: tachyon.RpcEndpoint = endpoint,
            strange: list[object] = strange,
        ) -> None:
            try:
                while True:
                    try:
                        with bus.call_zero_copy(10, 1) as tx, memoryview(tx) as view:
                            view[:] = b"0123456789"
                        with bus.wait(tx.out_cid) as rx, memoryview(rx) as view:
                            assert view == b"0123456789"
                        endpoint.call(bus, b"x")
                    except tachyon.errors.BusyError:
                        time.sleep(0)
                    except tachyon.errors.InvalidArgumentError:
                        pass
            except tachyon.BusClosedError:
                pass
            except BaseException as error:
                strange.append(error)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        bus.close()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        assert strange == []
        del bus, work, threads
        other.join()


def test_a_guard_used_twice(receiving: tachyon.Bus, calling_pair: tuple[tachyon.RpcBus, Peer]) -> None:
    bus, _ = calling_pair
    with receiving.recv_zero_copy() as rx:
        pass
    with receiving.drain_batch(1) as batch:
        pass
    tx = bus.call_zero_copy(4, 1)
    with tx, memoryview(tx) as view:
        view[:] = b"once"
    reply = bus.wait(tx.out_cid, timeout=10)
    with reply:
        pass
    for guard in (rx, batch, tx, reply):
        with pytest.raises(tachyon.errors.ReleasedError), guard:
            pass
        guard.__exit__(None, None, None)  # a second end does nothing
        guard.__exit__(ValueError, ValueError(), None)
        assert "released" in repr(guard)
    for guard in (rx, tx, reply):
        with pytest.raises(tachyon.errors.ReleasedError):
            memoryview(guard)
    # Nothing was sent twice, and no slot in use was released.
    cid = bus.call(b"next", 1)
    assert cid == tx.out_cid + 1
    with bus.wait(cid, timeout=10) as rx:
        assert bytes(rx) == b"next"
    assert receiving.recv(timeout=10).type_id == 2


def test_guards_after_close(receiving: tachyon.Bus, calling_pair: tuple[tachyon.RpcBus, Peer]) -> None:
    bus, _ = calling_pair
    rx, tx = receiving.recv_zero_copy(), bus.call_zero_copy(4, 1)
    receiving.close()
    bus.close()
    with memoryview(rx) as view:
        assert view == bytes(100)
    with memoryview(tx) as view:
        view[:] = b"late"
    rx.__exit__(None, None, None)
    with pytest.raises(tachyon.BusClosedError):
        tx.__exit__(None, None, None)
    assert tx.out_cid == 0
    tx.actual_size = 2
    tx.msg_type = 9
    assert len(tx) == 4


def test_guards_whose_bus_is_gone(peer: Callable[[str], Peer], path: str) -> None:
    peer(SENDER)
    bus = tachyon.Bus.listen(path, 4096)
    rx = bus.recv_zero_copy()
    view = memoryview(rx)[10:20]
    del bus
    gc.collect()
    assert view == bytes(10)
    with pytest.raises(tachyon.errors.ViewError):
        rx.__exit__(None, None, None)
    del rx
    gc.collect()
    assert view == bytes(10)


@pytest.mark.parametrize("collector", ["count", "cycle"])
def test_guards_collected_half_way(peer: Callable[..., Peer], path: str, collector: str) -> None:
    """A guard, its view and the bus in a cycle: the collector takes them in any order."""

    class Holder:
        pass

    for number in range(20):
        where = f"{path}{number}"
        peer(SENDER, at=where)
        holder = Holder()
        holder.bus = tachyon.Bus.listen(where, 4096)
        holder.rx = holder.bus.recv_zero_copy(timeout=10)
        holder.view = memoryview(holder.rx)
        holder.part = holder.view[1:]
        holder.batch = None
        if collector == "cycle":
            holder.itself = holder
            holder.views = [holder.part, holder]
        del holder
        gc.collect()


def test_batches_and_replies_in_cycles(peer: Callable[[str], Peer], service: Callable[..., Peer], path: str) -> None:
    peer(SENDER)
    callee = service("basics", "bus", at=path + ".rpc", rings=(4096, 4096), quiet=True)
    cycle: dict[str, object] = {}
    cycle["itself"] = cycle
    bus = cycle["bus"] = tachyon.Bus.listen(path, 4096)
    batch = cycle["batch"] = bus.drain_batch(3)
    cycle["message"] = batch[0]
    cycle["view"] = memoryview(batch[0])
    caller = cycle["caller"] = tachyon.RpcBus.connect(path + ".rpc")
    rx = cycle["reply"] = caller.wait(caller.call(b"x" * 100, 1))
    cycle["reply_view"] = memoryview(rx)
    tx = cycle["room"] = caller.call_zero_copy(10, 1)
    cycle["room_view"] = memoryview(tx)
    del bus, batch, caller, rx, tx, cycle
    gc.collect()
    # A collected bus is closed.
    callee.join()
