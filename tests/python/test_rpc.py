"""Calls by correlation id, with the callee in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import tachyon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Peer

CAPACITY = 1 << 16

REVERSER = """
with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
    while True:
        try:
            with bus.serve() as rx:
                cid, kind, request = rx.correlation_id, rx.type_id, bytes(rx)
        except tachyon.PeerClosedError:
            break
        bus.reply(cid, request[::-1], msg_type=kind + 1)
"""


@pytest.fixture
def bus(peer: Callable[[str], Peer], path: str) -> Iterator[tachyon.RpcBus]:
    """A caller whose callee replies with the reversed request, under the next message type."""
    callee = peer(REVERSER)
    with tachyon.RpcBus.connect(path) as bus:
        yield bus
    assert callee.join() == ""


@pytest.mark.parametrize(("start", "finish"), [("start", "finish"), ("call", "wait")])
def test_a_call_and_its_reply(bus: tachyon.RpcBus, start: str, finish: str) -> None:
    """`call` and `wait` are the older names of `start` and `finish`."""
    cid = getattr(bus, start)(b"hello", msg_type=1)
    with getattr(bus, finish)(cid) as rx:
        assert (rx.type_id, rx.correlation_id, rx.actual_size) == (2, cid, 5)
        assert rx.error_kind is None
        with memoryview(rx) as view:
            assert view.readonly
            assert view == b"olleh"


@pytest.mark.parametrize("size", [0, 1, 40, 41, 5000, CAPACITY])
def test_any_size(bus: tachyon.RpcBus, size: int) -> None:
    payload = bytes(i * 7 & 0xFF for i in range(size))
    with bus.finish(bus.start(payload, 1)) as rx:
        assert bytes(rx) == payload[::-1]


def test_correlation_ids_count_up_from_one(bus: tachyon.RpcBus) -> None:
    cids = []
    for _ in range(4):
        cids.append(bus.start(b"x", 0))
        with bus.finish(cids[-1]):
            pass
    assert cids == [1, 2, 3, 4]


def test_replies_in_any_order(bus: tachyon.RpcBus) -> None:
    cids = [bus.start(bytes([n]) * n * 30, 5) for n in range(12)]
    for n in (11, 3, 0, 7, 1, 2, 10, 9, 4, 5, 6, 8):
        with bus.finish(cids[n], timeout=10) as rx:
            assert bytes(rx) == bytes([n]) * n * 30


def test_pipelining_does_not_deadlock(bus: tachyon.RpcBus) -> None:
    cids = [bus.start(bytes(6000), 1, timeout=20) for _ in range(60)]
    for cid in cids:
        with bus.finish(cid, timeout=20) as rx:
            assert rx.actual_size == 6000


def test_in_place_both_ways(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer("""
        with tachyon.RpcBus.rpc_listen(path, 1 << 16, 1 << 16) as bus:
            with bus.serve() as rx:
                cid, kind, size = rx.correlation_id, rx.type_id, rx.actual_size
                with memoryview(rx) as view:
                    request = view.tobytes()
            with bus.reply_zero_copy(cid, 100, msg_type=kind) as tx:
                assert tx.out_cid == 0
                with memoryview(tx) as view:
                    view[:size] = request
                tx.actual_size = size
                tx.msg_type = kind + 1
    """)
    with tachyon.RpcBus.rpc_connect(path) as bus:
        with bus.call_zero_copy(64, msg_type=7) as tx:
            with memoryview(tx) as view:
                view[:8] = b"zerocopy"
            tx.actual_size = 8
            assert tx.out_cid == 0
        assert tx.out_cid == 1
        with bus.finish(tx.out_cid) as rx:
            assert (rx.type_id, bytes(rx)) == (8, b"zerocopy")
        callee.join()


def test_an_abandoned_request_is_not_sent(bus: tachyon.RpcBus) -> None:
    with pytest.raises(LookupError), bus.call_zero_copy(8, 1) as tx:
        raise LookupError
    assert tx.out_cid == 0
    with bus.finish(bus.start(b"ab", 1)) as rx:
        assert bytes(rx) == b"ba"


def test_a_call_while_a_reply_is_held(bus: tachyon.RpcBus) -> None:
    with bus.finish(bus.start(b"first", 1)) as rx:
        cid = bus.start(b"second", 1)
        assert bytes(rx) == b"tsrif"
    with bus.finish(cid) as rx:
        assert bytes(rx) == b"dnoces"


def test_unknown_correlation_ids(bus: tachyon.RpcBus) -> None:
    for cid in (0, 1, 99, -1, 1 << 64):
        with pytest.raises(tachyon.errors.InvalidArgumentError, match=r"correlation|call"):
            bus.finish(cid, timeout=1)
    cid = bus.start(b"x", 1)
    with bus.finish(cid):
        pass
    with pytest.raises(ValueError, match="outstanding"):
        bus.finish(cid, timeout=1)


@pytest.mark.parametrize("kind", [-1, 0xFFFF, 0x10000])
def test_message_types_are_checked(bus: tachyon.RpcBus, kind: int) -> None:
    with pytest.raises(tachyon.errors.InvalidArgumentError, match="msg_type"):
        bus.start(b"x", kind)
    with pytest.raises(tachyon.errors.InvalidArgumentError, match="msg_type"):
        bus.call_zero_copy(1, kind)


def test_requests_that_cannot_be_sent(bus: tachyon.RpcBus) -> None:
    with pytest.raises(tachyon.errors.TooLargeError):
        bus.start(bytes(CAPACITY + 1), 1)
    with pytest.raises(tachyon.errors.InvalidArgumentError, match="max_payload_size"):
        bus.call(b"abc", 1, max_payload_size=2)
    with pytest.raises(TypeError, match="encode"):
        bus.start("text", 1)  # type: ignore[arg-type]
    with bus.finish(bus.call(b"ab", 1, max_payload_size=10)) as rx:
        assert bytes(rx) == b"ba"


def test_a_wait_that_times_out_forgets_the_call(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer("""
        with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
            for n in range(2):
                with bus.serve() as rx:
                    cid = rx.correlation_id
                if n == 0:
                    sys.stdin.readline()
                bus.reply(cid, b"reply %d" % cid, 1)
    """)
    with tachyon.RpcBus.connect(path) as bus:
        slow = bus.start(b"", 1)
        with pytest.raises(tachyon.TimedOutError):
            bus.finish(slow, timeout=0.05)
        callee.tell("now")
        with bus.finish(bus.start(b"", 1), timeout=10) as rx:
            assert bytes(rx) == b"reply 2"
        with pytest.raises(tachyon.errors.InvalidArgumentError):
            bus.finish(slow, timeout=1)
        callee.join()


def test_serving_times_out_and_checks_its_replies(peer: Callable[[str], Peer], path: str) -> None:
    caller = peer("""
        with tachyon.RpcBus.connect(path) as bus:
            sys.stdin.readline()
            with bus.finish(bus.start(b"x", 1)) as rx:
                print(bytes(rx))
    """)
    with tachyon.RpcBus.listen(path, CAPACITY, 4096) as bus:
        with pytest.raises(TimeoutError):
            bus.serve(timeout=0.02)
        caller.tell("call")
        with bus.serve(timeout=10) as rx:
            cid = rx.correlation_id
        with pytest.raises(tachyon.errors.InvalidArgumentError, match="correlation"):
            bus.reply(0, b"x", 1)
        with pytest.raises(tachyon.errors.InvalidArgumentError, match="correlation"):
            bus.reply_zero_copy(0, 4, 1)
        with pytest.raises(tachyon.errors.TooLargeError):
            bus.reply(cid, bytes(4097), 1)
        bus.reply(cid, b"after all", 1)
        assert caller.join() == "b'after all'\n"


def test_a_bus_calls_or_serves(bus: tachyon.RpcBus) -> None:
    with bus.finish(bus.start(b"", 1)):
        pass
    for operation in (lambda: bus.serve(), lambda: bus.reply(1, b"", 1)):
        with pytest.raises(tachyon.errors.WrongDirectionError):
            operation()


def test_the_listener_may_call(peer: Callable[[str], Peer], path: str) -> None:
    callee = peer("""
        with tachyon.RpcBus.connect(path) as bus:
            with bus.serve() as rx:
                cid, request = rx.correlation_id, bytes(rx)
            bus.reply(cid, request * 2, 1)
    """)
    with tachyon.RpcBus.listen(path, CAPACITY, CAPACITY) as bus:
        with bus.finish(bus.start(b"ab", 1), timeout=10) as rx:
            assert bytes(rx) == b"abab"
        callee.join()


def test_repr(bus: tachyon.RpcBus) -> None:
    assert repr(bus).startswith("<tachyon.RpcBus ")
    with bus.call_zero_copy(4, 9) as tx:
        assert repr(tx) == "<tachyon.RpcTxGuard msg_type=9 actual_size=4>"
        tx.actual_size = 0
    with bus.finish(tx.out_cid) as rx:
        assert repr(rx) == "<tachyon.RpcRxGuard correlation_id=1 type_id=10 actual_size=0>"
