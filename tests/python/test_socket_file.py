"""The socket file of a listener: its mode, files that stay in place, paths, and listeners that race for a path."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from listeners import LISTENERS, every_listener, listen
from tachyon import Bus, RpcBus, RpcServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer


@every_listener
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_the_mode_of_the_file(service: Callable[..., Peer], listener: str, umask: int) -> None:
    assert service("file_mode", umask=umask, listener=LISTENERS[listener]).join() == "0o600\n"


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_link_to_socket(path: Path) -> None:
    target = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    target.bind(str(path.with_name("target.sock")))
    target.close()
    path.symlink_to(path.with_name("target.sock"))


def make_link_to_file(path: Path) -> None:
    path.with_name("target").write_text("precious")
    path.symlink_to(path.with_name("target"))


FOREIGN = {
    "file": lambda path: path.write_text("precious"),
    "directory": Path.mkdir,
    "fifo": make_fifo,
    "link to a dead socket": make_link_to_socket,
    "link to a file": make_link_to_file,
    "link to nothing": lambda path: path.symlink_to("nowhere"),
}


def picture(folder: Path) -> list[tuple[str, int, int, str]]:
    """Return the files of a folder: names, inodes, modes, contents."""

    def contents(path: Path) -> str:
        if path.is_symlink():
            return str(path.readlink())
        return path.read_text() if path.is_file() else ""

    return sorted((one.name, one.lstat().st_ino, one.lstat().st_mode, contents(one)) for one in folder.iterdir())


@every_listener
@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_file_that_is_no_socket_stays(path: str, listener: str, foreign: str) -> None:
    FOREIGN[foreign](Path(path))
    before = picture(Path(path).parent)
    with pytest.raises(tachyon.errors.NotASocketError) as caught:
        listen(listener, path)
    assert isinstance(caught.value, FileExistsError)
    assert picture(Path(path).parent) == before


@pytest.mark.parametrize("foreign", FOREIGN)
def test_connecting_to_a_file_that_is_no_socket(path: str, foreign: str) -> None:
    FOREIGN[foreign](Path(path))
    before = picture(Path(path).parent)
    dead = "socket" in foreign or "nothing" in foreign
    with pytest.raises(tachyon.NoListenerError if dead else tachyon.errors.NotASocketError):
        Bus.connect(path, timeout=0)
    assert picture(Path(path).parent) == before


def test_paths_through_links(path: str) -> None:
    """A folder may be a link for both sides. The socket may be a link for the connecting side."""
    folder = Path(path).parent
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    through = str(folder / "link" / "bus.sock")
    (folder / "short.sock").symlink_to("real/bus.sock")
    for connect_to in (through, str(folder / "real" / "bus.sock"), str(folder / "short.sock")):
        thread = threading.Thread(target=lambda to=connect_to: Bus.connect(to).close())
        thread.start()
        Bus.listen(through, 4096, timeout=10).close()
        thread.join()
        assert not os.path.lexists(through)
    assert (folder / "short.sock").is_symlink()


@every_listener
def test_abandoned_files_are_replaced(peer: Callable[[str], Peer], path: str, listener: str) -> None:
    """A process was killed while it listened."""
    victim = peer(f"from tachyon import *\nprint('listens', flush=True)\n{LISTENERS['Bus'].replace('timeout=1', '')}")
    victim.line()
    while not os.path.lexists(path):
        pass
    victim.kill()
    assert os.path.lexists(path)
    if listener == "RpcServer":
        listen(listener, path).close()
    else:
        with pytest.raises(tachyon.TimedOutError):
            eval(LISTENERS[listener].replace("timeout=1", "timeout=0"), {"path": path, "Bus": Bus, "RpcBus": RpcBus})
    assert not os.path.lexists(path)


@every_listener
def test_a_folder_that_is_missing(path: str, listener: str) -> None:
    with pytest.raises(OSError, match="missing") as caught:
        listen(listener, f"{path}.missing/bus.sock")
    assert isinstance(caught.value, tachyon.TachyonError)


def test_the_longest_path(path: str) -> None:
    """An address of the kernel holds 107 bytes."""
    folder = Path(path).parent
    longest = str(folder / ("x" * (107 - len(str(folder)) - 1)))
    assert len(longest) == 107
    with RpcServer(longest):
        assert os.path.lexists(longest)
    for refused in (lambda: RpcServer(longest + "x"), lambda: Bus.connect(longest + "x", timeout=0)):
        with pytest.raises(ValueError, match="107"):
            refused()


RACER = """
    for line in sys.stdin:
        try:
            server = tachyon.RpcServer(path)
            print("won", flush=True)
        except tachyon.errors.AddressInUseError:
            server = None
            print("in use", flush=True)
        sys.stdin.readline()
        if server:
            server.close()
        print("done", flush=True)
"""


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_processes_exactly_one_listens(peer: Callable[[str], Peer], path: str, stale: bool) -> None:
    racers = [peer(RACER) for _ in range(6)]
    for _ in range(40):
        if stale:
            dead = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            dead.bind(path)
            dead.close()
        for racer in racers:
            racer.tell("go")
        outcomes = [racer.line() for racer in racers]
        assert sorted(outcomes) == ["in use"] * 5 + ["won"]
        # The file of the winner is in place, and leads to the winner.
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        probe.connect(path)
        probe.close()
        assert [one.name for one in Path(path).parent.iterdir()] == ["bus.sock"], "no other file is left"
        for racer in racers:
            racer.tell("end")
        assert [racer.line() for racer in racers] == ["done"] * 6
        assert not os.path.lexists(path)


def test_of_many_threads_exactly_one_listens(path: str) -> None:
    for _ in range(100):
        barrier = threading.Barrier(4)
        won: list[RpcServer] = []
        refused: list[type[BaseException]] = []

        def race(barrier: threading.Barrier = barrier, won: list = won, refused: list = refused) -> None:
            barrier.wait()
            try:
                won.append(RpcServer(path))
            except BaseException as error:
                refused.append(type(error))

        threads = [threading.Thread(target=race) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert refused == [tachyon.errors.AddressInUseError] * 3
        assert os.path.lexists(path)
        won[0].close()
        assert not os.path.lexists(path)
