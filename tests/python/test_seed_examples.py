"""The examples of the API document that this package implements, run as written, each side in a process of its own.

Each test has its own socket path, and fragments get their missing lines of context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

QUICKSTART_CONSUMER = """
import tachyon

with tachyon.Bus.listen("/tmp/demo.sock", 1 << 16) as bus:
	for msg in bus:
		print(f"received {msg.size} bytes type_id={msg.type_id}")
		break
"""

QUICKSTART_PRODUCER = """
import tachyon

with tachyon.Bus.connect("/tmp/demo.sock") as bus:
	bus.send(b"hello tachyon", type_id=1)
"""

ZERO_COPY_TX = """
with bus.send_zero_copy(size=64, type_id=7) as tx:
	with memoryview(tx) as m:
		m[:len(payload)] = payload
	tx.actual_size = len(payload)
# auto-flushes on context exit
"""

ZERO_COPY_RX = """
with bus.recv_zero_copy() as rx:
	with memoryview(rx) as m:
		snapshot = m.tobytes()  # copy before context exit
# slot committed on __exit__
"""

LOW_LEVEL_CALLEE = """
with tachyon.RpcBus.listen("/tmp/rpc.sock", 1 << 16, 1 << 16) as callee:
	with callee.serve() as rx:
		cid = rx.correlation_id
		with memoryview(rx) as m:
			reply = m.tobytes()
	callee.reply(cid, reply, msg_type=2)
"""

LOW_LEVEL_CALLER = """
with tachyon.RpcBus.connect("/tmp/rpc.sock") as caller:
	cid = caller.call(b"ping", msg_type=1)
	with caller.wait(cid) as rx:
		with memoryview(rx) as m:
			print(m.tobytes())
"""

DECORATOR = """
import tachyon
from tachyon import tachyon_rpc, RpcDispatcher


@tachyon_rpc(msg_type=1)
def echo(payload: memoryview) -> bytes:
	return payload.tobytes()


dispatcher = RpcDispatcher()
dispatcher.register(echo)
"""

DECORATOR_CALLEE = """
with tachyon.RpcBus.listen("/tmp/rpc.sock", 1 << 16, 1 << 16) as callee:
	dispatcher.serve_forever(callee)
"""

DECORATOR_CALLER = """
with tachyon.RpcBus.connect("/tmp/rpc.sock") as caller:
	response = echo.call(caller, b"hello")
	print(response)
"""

BATCH = """
with bus.drain_batch(max_msgs=64) as batch:
	for msg in batch:
		print(msg.type_id, msg.actual_size)
# all slots committed on __exit__
"""

TYPE_IDS = """
from tachyon import make_type_id, route_id, msg_type

type_id = make_type_id(0, 42)  # == 42
route_id(type_id)  # 0
msg_type(type_id)  # 42
"""

ERRORS = """
from tachyon import TachyonError, PeerDeadError

try:
	with tachyon.Bus.connect("/tmp/demo.sock") as bus:
		bus.send(b"ping")
except PeerDeadError:
	# Bus entered FATAL_ERROR: corrupted header. Destroy immediately.
	pass
except TachyonError as e:
	print(e)
"""

NUMA = """
with tachyon.Bus.listen(path, 1 << 20) as bus:
	bus.set_numa_node(0)  # call before first message
"""


@pytest.fixture
def run(peer: Callable[[str], Peer], path: str) -> Callable[[str], Peer]:
    """Return a function that runs an example with the path of the test instead of the document's path."""

    def start(example: str) -> Peer:
        return peer(example.replace("/tmp/demo.sock", path).replace("/tmp/rpc.sock", path))

    return start


def indented(example: str) -> str:
    """Move an example into a `with` block."""
    return "".join(f"\t{line}\n" for line in example.strip().splitlines())


def connected(example: str) -> str:
    return 'with tachyon.Bus.connect("/tmp/demo.sock") as bus:\n' + indented(example)


def listening(example: str) -> str:
    return 'with tachyon.Bus.listen("/tmp/demo.sock", 1 << 16) as bus:\n' + indented(example)


def test_quickstart(run: Callable[[str], Peer]) -> None:
    consumer = run(QUICKSTART_CONSUMER)
    producer = run(QUICKSTART_PRODUCER)
    assert producer.join() == ""
    assert consumer.join() == "received 13 bytes type_id=1\n"


def test_zero_copy(run: Callable[[str], Peer]) -> None:
    consumer = run(listening(ZERO_COPY_RX + "print(rx.type_id, snapshot)"))
    producer = run(connected("payload = b'in place'" + ZERO_COPY_TX))
    assert producer.join() == ""
    assert consumer.join() == "7 b'in place'\n"


def test_low_level_rpc(run: Callable[[str], Peer]) -> None:
    callee = run(LOW_LEVEL_CALLEE)
    caller = run(LOW_LEVEL_CALLER)
    assert caller.join() == "b'ping'\n"
    callee.join()


def test_decorator(run: Callable[[str], Peer]) -> None:
    callee = run(DECORATOR + DECORATOR_CALLEE)
    caller = run(DECORATOR + DECORATOR_CALLER)
    assert caller.join() == "b'hello'\n"
    callee.join()


def test_batch(run: Callable[[str], Peer]) -> None:
    consumer = run(listening("seen = sys.stdin.readline()" + BATCH))
    producer = run(connected("bus.send(b'a', 1)\nbus.send(b'bc', 2)\nbus.send(b'', 3)"))
    producer.join()
    consumer.tell("all sent")
    assert consumer.join() == "1 1\n2 2\n3 0\n"


def test_type_ids(run: Callable[[str], Peer]) -> None:
    child = run(TYPE_IDS + "print(type_id, route_id(type_id), msg_type(type_id))")
    assert child.join() == "42 0 42\n"


def test_errors_with_a_peer(run: Callable[[str], Peer]) -> None:
    consumer = run(listening("print(bus.recv().data)"))
    producer = run(ERRORS)
    assert producer.join() == ""
    assert consumer.join() == "b'ping'\n"


def test_errors_without_a_peer(run: Callable[[str], Peer], path: str) -> None:
    said = run(ERRORS).join()
    assert path in said
    assert "listen" in said


def test_numa(run: Callable[[str], Peer]) -> None:
    listener = run(NUMA)
    run(connected("pass")).join()
    listener.join()
