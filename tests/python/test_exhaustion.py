"""Connections where the system has no descriptors or no memory left."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from proc import descriptors
from tachyon import RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can limit a control group")

echo = tachyon_rpc(1)(len)


def test_a_caller_without_descriptors(service: Callable[..., Peer]) -> None:
    """The connect fails with an error at each step, from its socket to the last ring; nothing leaks."""
    service("basics", "server", quiet=True)
    told = service("few_descriptors", "caller").join().splitlines()
    assert told[-1] == "b'after'"
    first_fine = told.index("fine")
    assert first_fine == 4, told  # a socket, the server's process and the memory of two rings
    assert set(told[:first_fine]) == {"told"}, told
    assert set(told[first_fine:-1]) == {"fine"}, told


def test_a_listener_without_descriptors(service: Callable[..., Peer]) -> None:
    told = service("few_descriptors", "listener").join().splitlines()
    assert set(told) == {"told", "fine"} or set(told) == {"told"}, told


def test_a_server_without_descriptors_serves_its_callers(service: Callable[..., Peer], path: str) -> None:
    """New callers fail meanwhile, and connect once the server has descriptors again."""
    server = service("descriptor_limit", "server", handshake_timeout=0.5, quiet=True)
    limit = tachyon_rpc(2)(len)
    with RpcBus.connect(path) as bus:
        echo.call(bus, b"", timeout=10)
        usual = descriptors(server.process.pid)
        # A connection takes four descriptors: its socket, the caller's process and the memory of two rings.
        for left in range(4):
            # The end of the last connection must not free more descriptors.
            end = time.monotonic() + 10
            while descriptors(server.process.pid) > usual and time.monotonic() < end:
                time.sleep(0.01)
            limit.call(bus, str(left).encode(), timeout=10)
            # The server answers no waiting client in time.
            with pytest.raises((tachyon.errors.HandshakeError, tachyon.TimedOutError)):
                RpcBus.connect(path, timeout=0.3).close()
            assert echo.call(bus, b"served on", timeout=10) == b"served on"
            limit.call(bus, b"-1", timeout=10)
            with RpcBus.connect(path, timeout=10) as another:
                assert echo.call(another, b"let in", timeout=10) == b"let in"


def test_a_limit_on_the_size_of_files(service: Callable[..., Peer]) -> None:
    """Shared memory is a file to the kernel, which would end the process by a signal."""
    told = service("little_memory", "file size").join().splitlines()
    assert told == ["told HandshakeError", "fine connected"]


def test_a_limit_on_the_address_space(service: Callable[..., Peer]) -> None:
    told = service("little_memory", "address space").join().splitlines()
    assert told == ["told HandshakeError", "fine connected"]


@needs_root
def test_a_control_group_without_memory(service: Callable[..., Peer]) -> None:
    """The limit of a container: the listener gets an error before the kernel kills a process of the group."""
    mount = Path("/sys/fs/cgroup/memory")
    limit_file = "memory.limit_in_bytes"
    if not mount.is_dir():
        mount, limit_file = Path("/sys/fs/cgroup"), "memory.max"
    group = mount / f"tachyon-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit_file).write_text(str(96 << 20))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"this system has no memory control group to limit: {error}")
    try:
        told = service("little_memory", str(group / "cgroup.procs")).join().splitlines()
    finally:
        group.rmdir()
    assert told == ["told HandshakeError", "fine connected"]
