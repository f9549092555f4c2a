"""A peer that knows nothing but docs/wire-format.md talks to the package, and finds every byte as dumped there."""

from __future__ import annotations

import mmap
import os
import re
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

DOCUMENT = (Path(__file__).parents[2] / "docs/wire-format.md").read_text(encoding="utf-8")
BUS, RPC = 1, 2
SOURCE, SINK = 1, 2


def dump(name: str) -> dict[int, bytes]:
    """Return the lines of one of the document's dumps: offset and bytes."""
    block = re.search(rf"^```text\n{name}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert block is not None, name
    lines = (line.split(maxsplit=1) for line in block[1].splitlines())
    return {int(offset, 16): bytes.fromhex(row) for offset, row in lines}


def whole(name: str) -> bytes:
    return b"".join(dump(name).values())


def assert_shows(memory: mmap.mmap, name: str) -> None:
    for offset, row in dump(name).items():
        assert memory[offset : offset + len(row)].hex(" ") == row.hex(" "), f"{name} at {offset:04x}"


def connect(path: str, kind: int, role: int) -> tuple[socket.socket, bytes, list[int]]:
    """Go through the handshake; return the socket, the welcome and its descriptors."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for _ in range(500):
        try:
            connection.connect(path)
            break
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.01)
    connection.send(struct.pack("<4sHBBBB6x", b"TCHY", 1, 1, 0, kind, role))
    welcome, descriptors, _, _ = socket.recv_fds(connection, 137, 6)
    connection.send(struct.pack("<4sHBB", b"TCHY", 1, 4, 0))
    return connection, welcome, descriptors


def test_a_bus_is_as_dumped(peer: Callable[[str], Peer], path: str) -> None:
    sender = peer("""
        with tachyon.Bus.listen(path, 4096) as bus:
            bus.send(b"hello tachyon", type_id=1)
            bus.send(bytes(range(0x30, 0x6C)), type_id=7)
            print("sent")
            sys.stdin.readline()
        print("closed")
        """)
    connection, welcome, (segment, data, room) = connect(path, BUS, SINK)
    assert whole("hello") == struct.pack("<4sHBBBB6x", b"TCHY", 1, 1, 0, BUS, SINK)
    assert whole("ready") == struct.pack("<4sHBB", b"TCHY", 1, 4, 0)
    assert welcome.hex(" ") == whole("welcome").hex(" ")
    assert sender.line() == "sent"
    with connection, mmap.mmap(segment, 12288) as memory:
        assert_shows(memory, "segment")
        sender.tell("close")
        assert sender.line() == "closed"
        assert_shows(memory, "closed")
    for descriptor in (segment, data, room):
        os.close(descriptor)


def test_a_call_is_as_dumped(peer: Callable[[str], Peer], path: str) -> None:
    peer("""
        with tachyon.RpcBus.listen(path, 64, 64) as bus:
            try:
                tachyon.RpcDispatcher().serve_once(bus)
            except tachyon.NoHandlerError:
                print("answered")
                sys.stdin.readline()
        """)
    connection, welcome, descriptors = connect(path, RPC, SOURCE)
    capacity, length = struct.unpack_from("<QQ", welcome, 16)
    assert (capacity, length) == (64, 4096 + 64 * 64 + 64)
    assert len(descriptors) == 6
    with connection, mmap.mmap(descriptors[0], length) as forward, mmap.mmap(descriptors[3], length) as reverse:
        request = whole("request")
        forward[4104 : 4096 + len(request)] = request[8:]
        forward[4096:4104] = request[:8]
        os.eventfd_write(descriptors[1], 1)
        deadline = time.monotonic() + 10
        while forward[384:392] == bytes(8) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert_shows(reverse, "reply")
        assert_shows(forward, "released")
    for descriptor in descriptors:
        os.close(descriptor)
