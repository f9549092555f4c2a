"""Who may connect, what is left alone at the path, and what happens when the system has nothing left to give."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tachyon
from tachyon import Bus, RpcBus, RpcServer, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, or limit a control group")

LISTENERS = {
    "Bus": "Bus.listen(path, 4096, timeout=1)",
    "RpcBus": "RpcBus.listen(path, 4096, 4096, timeout=1)",
    "RpcServer": "RpcServer(path)",
}
listener = pytest.mark.parametrize("listener", LISTENERS)

echo = tachyon_rpc(1)(len)


def listen(name: str, path: str) -> object:
    return eval(LISTENERS[name], {"path": path, "Bus": Bus, "RpcBus": RpcBus, "RpcServer": RpcServer})


def run(script: str, path: str, *, limit: float = 60, under: list[str] | None = None) -> list[str]:
    """Run a script in an interpreter of its own, which a command may start; return the lines it prints."""
    prelude = """
import os, resource, signal, sys, threading, time
import tachyon
from tachyon import *
from tachyon.errors import *
path = sys.argv[1]
echo = tachyon_rpc(1)(len)
"""
    python = [sys.executable, "-X", "dev", "-W", "error", "-c", prelude + textwrap.dedent(script), path]
    command = [*(under or []), *python]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), f"{ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout.splitlines()


SERVER = """
    import logging
    logging.disable()
    dispatcher = tachyon.RpcDispatcher()
    dispatcher.handler(1)(lambda view: view.tobytes())
    with tachyon.RpcServer(path{options}) as server:
        print("ready", flush=True)
        dispatcher.serve_forever(server)
"""


@pytest.fixture
def serve(peer: Callable[[str], Peer]) -> Callable[[str], Peer]:
    """Return a function that starts a server with some options."""

    def start(options: str = "") -> Peer:
        server = peer(SERVER.format(options=options))
        assert server.line() == "ready"
        return server

    return start


# Users

AS_NOBODY = f"""
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})

def attempt(operation):
    try:
        operation()
        return "let in"
    except TachyonError as error:
        return f"{{type(error).__name__}} {{getattr(error, 'errno', None)}} {{error}}"
"""


def as_nobody(script: str, path: str) -> list[str]:
    Path(path).parent.chmod(0o755)
    return run(textwrap.dedent(AS_NOBODY) + textwrap.dedent(script), path)


@needs_root
def test_the_file_keeps_another_user_out(serve: Callable[[str], Peer], path: str) -> None:
    serve()
    (told,) = as_nobody("print(attempt(lambda: RpcBus.connect(path, any_uid=True)))", path)
    assert told.startswith(f"SystemCallError {errno.EACCES} "), told


@needs_root
def test_a_server_turns_another_user_away(serve: Callable[[str], Peer], path: str) -> None:
    """Also where the file was opened for all: what the kernel says of the peer decides."""
    serve()
    Path(path).chmod(0o666)
    told = as_nobody(
        """
        print(attempt(lambda: RpcBus.connect(path, any_uid=True)))
        print(attempt(lambda: RpcBus.connect(path)))
        """,
        path,
    )
    assert told[0].startswith("HandshakeError "), told
    assert "does not admit this user" in told[0]
    # The connecting side refuses, too: who listens there is another user.
    assert told[1].startswith("HandshakeError "), told
    assert "runs as user 0" in told[1]
    with RpcBus.connect(path) as bus:
        assert echo.call(bus, b"ours", timeout=10) == b"ours"


@needs_root
@pytest.mark.parametrize("kind", ["Bus", "RpcBus"])
def test_a_listener_turns_another_user_away_and_listens_on(peer: Callable[[str], Peer], path: str, kind: str) -> None:
    capacities = "4096" if kind == "Bus" else "4096, 4096"
    waiting = peer(f"""
        with tachyon.{kind}.listen(path, {capacities}) as bus:
            print("connected")
    """)
    while not os.path.lexists(path):
        pass
    Path(path).chmod(0o666)
    (told,) = as_nobody(f"print(attempt(lambda: {kind}.connect(path, any_uid=True)))", path)
    assert told.startswith("HandshakeError "), told
    getattr(tachyon, kind).connect(path).close()
    assert waiting.join() == "connected\n"


@needs_root
def test_users_that_both_allow_it(serve: Callable[[str], Peer], path: str) -> None:
    serve(", any_uid=True")
    Path(path).chmod(0o666)
    told = as_nobody(
        """
        with RpcBus.connect(path, any_uid=True) as bus:
            print(echo.call(bus, b"hello", timeout=10))
        """,
        path,
    )
    assert told == ["b'hello'"]


@needs_root
def test_a_directory_that_may_not_be_written(path: str) -> None:
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stale.bind(path)
    stale.close()
    told = as_nobody(
        f"""
        for where in (path, path + "2"):
            for listen in ({", ".join("lambda: " + one.replace("path", "where") for one in LISTENERS.values())}):
                print(attempt(listen))
        """,
        path,
    )
    assert len(told) == 6
    assert all(line.startswith(f"SystemCallError {errno.EACCES} ") for line in told), told
    assert stat.S_ISSOCK(os.lstat(path).st_mode), "what may not be replaced is left"


# Files


@listener
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_the_mode_of_the_file(path: str, listener: str, umask: int) -> None:
    told = run(
        f"""
        import threading, time
        os.umask({umask})
        os.chmod(os.path.dirname(path), 0o700)
        modes = []
        def look():
            while not os.path.lexists(path):
                time.sleep(0.001)
            time.sleep(0.05)
            modes.append(oct(os.lstat(path).st_mode & 0o7777))
        looking = threading.Thread(target=look)
        looking.start()
        try:
            server = {LISTENERS[listener]}
        except TimedOutError:
            pass
        looking.join()
        print(*modes)
        """,
        path,
    )
    assert told == ["0o600"]


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
    """Return what lies in a folder: names, inodes, modes, contents."""

    def contents(path: Path) -> str:
        if path.is_symlink():
            return str(path.readlink())
        return path.read_text() if path.is_file() else ""

    return sorted((one.name, one.lstat().st_ino, one.lstat().st_mode, contents(one)) for one in folder.iterdir())


@listener
@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_is_no_socket_is_left_alone(path: str, listener: str, foreign: str) -> None:
    FOREIGN[foreign](Path(path))
    before = picture(Path(path).parent)
    with pytest.raises(tachyon.errors.NotASocketError) as caught:
        listen(listener, path)
    assert isinstance(caught.value, FileExistsError)
    assert picture(Path(path).parent) == before


@pytest.mark.parametrize("foreign", FOREIGN)
def test_connecting_to_what_is_no_socket(path: str, foreign: str) -> None:
    FOREIGN[foreign](Path(path))
    before = picture(Path(path).parent)
    dead = "socket" in foreign or "nothing" in foreign
    with pytest.raises(tachyon.NoListenerError if dead else tachyon.errors.NotASocketError):
        Bus.connect(path, timeout=0)
    assert picture(Path(path).parent) == before


def test_paths_through_links(path: str) -> None:
    """A folder may be reached by a link. The socket itself may be, too, but only by those who connect."""
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


@listener
def test_abandoned_files_are_replaced(peer: Callable[[str], Peer], path: str, listener: str) -> None:
    """Left by a process that was killed while it listened."""
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


@listener
def test_a_folder_that_is_missing(path: str, listener: str) -> None:
    with pytest.raises(OSError, match="missing") as caught:
        listen(listener, f"{path}.missing/bus.sock")
    assert isinstance(caught.value, tachyon.TachyonError)


def test_the_longest_path(path: str) -> None:
    """107 bytes are what the kernel's address holds."""
    folder = Path(path).parent
    longest = str(folder / ("x" * (107 - len(str(folder)) - 1)))
    assert len(longest) == 107
    with RpcServer(longest):
        assert os.path.lexists(longest)
    for refused in (lambda: RpcServer(longest + "x"), lambda: Bus.connect(longest + "x", timeout=0)):
        with pytest.raises(ValueError, match="107"):
            refused()


# Races

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
        # The winner's file is the one that is there, and it leads to the winner.
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        probe.connect(path)
        probe.close()
        assert [one.name for one in Path(path).parent.iterdir()] == ["bus.sock"], "no litter"
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


# Limits

LOW = """
def with_descriptors_left(left, operation):
    '''Call while only so many more descriptors can be opened; return its outcome in a word.'''
    filled = [os.open("/dev/null", os.O_RDONLY) for _ in range(64)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(filled) + 1 + left, hard))
    try:
        operation().close()
        outcome = "fine"
    except SystemCallError as error:
        outcome = "told" if "descriptor" in str(error) else str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in filled:
            os.close(descriptor)
    return outcome

def open_descriptors():
    return len(os.listdir("/proc/self/fd"))

def assert_settles(before, left):
    '''A thread of its own closes a socket that still holds descriptors of a peer.'''
    end = time.monotonic() + 10
    while open_descriptors() != before:
        assert time.monotonic() < end, (left, open_descriptors(), before)
        time.sleep(0.001)
"""


def test_a_caller_without_descriptors(serve: Callable[[str], Peer], path: str) -> None:
    """Wherever it runs out, from its socket to the last ring, it is told; nothing leaks, and the server goes on."""
    serve()
    told = run(
        LOW
        + """
before = open_descriptors()
for left in range(12):
    print(with_descriptors_left(left, lambda: RpcBus.connect(path, timeout=5)))
    assert_settles(before, left)
with RpcBus.connect(path) as bus:
    print(echo.call(bus, b"after", timeout=10))
""",
        path,
    )
    assert told[-1] == "b'after'"
    first_fine = told.index("fine")
    assert first_fine == 4, told  # a socket, the server's process and the memory of two rings
    assert set(told[:first_fine]) == {"told"}, told
    assert set(told[first_fine:-1]) == {"fine"}, told


def test_a_listener_without_descriptors(path: str) -> None:
    told = run(
        LOW
        + """
before = open_descriptors()
for left in range(3):
    for listen in (lambda: Bus.listen(path, 4096, timeout=0), lambda: RpcServer(path)):
        try:
            print(with_descriptors_left(left, listen))
        except TimedOutError:
            print("fine")
    assert open_descriptors() == before, left
    assert not os.path.lexists(path)
""",
        path,
    )
    assert set(told) == {"told", "fine"} or set(told) == {"told"}, told


def test_a_server_without_descriptors_serves_those_it_has(peer: Callable[[str], Peer], path: str) -> None:
    """Callers that come meanwhile fail, and find the server again when it has descriptors again."""
    server = peer("""
        import os, resource, threading
        import logging
        logging.disable()
        dispatcher = tachyon.RpcDispatcher()
        dispatcher.handler(1)(lambda view: view.tobytes())
        usual = resource.getrlimit(resource.RLIMIT_NOFILE)

        filled = []

        @dispatcher.handler(msg_type=2)
        def limit(view):
            left = int(bytes(view))
            if left < 0:
                resource.setrlimit(resource.RLIMIT_NOFILE, usual)
                while filled:
                    os.close(filled.pop())
            else:
                # No number is free below the limit but so many.
                filled.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(64))
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(filled) + 1 + left, usual[1]))
            return b""

        with tachyon.RpcServer(path, handshake_timeout=0.5) as server:
            print("ready", flush=True)
            dispatcher.serve_forever(server)
    """)
    server.line()
    limit = tachyon_rpc(2)(len)
    with RpcBus.connect(path) as bus:
        echo.call(bus, b"", timeout=10)
        descriptors = Path(f"/proc/{server.process.pid}/fd")
        usual = len(list(descriptors.iterdir()))
        # A connection takes four: its socket, the caller's process and the memory of two rings.
        for left in range(4):
            # What the last one's end gives back would be left in addition.
            end = time.monotonic() + 10
            while len(list(descriptors.iterdir())) > usual and time.monotonic() < end:
                time.sleep(0.01)
            limit.call(bus, str(left).encode(), timeout=10)
            # Whoever waits at the door while it is shut has no answer in time.
            with pytest.raises((tachyon.errors.HandshakeError, tachyon.TimedOutError)):
                RpcBus.connect(path, timeout=0.3).close()
            assert echo.call(bus, b"served on", timeout=10) == b"served on"
            limit.call(bus, b"-1", timeout=10)
            with RpcBus.connect(path, timeout=10) as another:
                assert echo.call(another, b"let in", timeout=10) == b"let in"


MEMORY = """
def outcome(operation):
    try:
        operation()
        return "fine"
    except TimedOutError:
        return "fine"
    except SystemCallError as error:
        return "told" if "no memory" in str(error) else str(error)

def listen(capacity):
    # Memory is taken for a caller that is there, so one is.
    calling = threading.Thread(target=lambda: outcome_of_connect.append(outcome_connect()))
    outcome_of_connect.clear()
    calling.start()
    told = outcome(lambda: Bus.listen(path, capacity, timeout=10).close())
    calling.join()
    return told, *outcome_of_connect

def outcome_connect():
    try:
        Bus.connect(path, timeout=5).close()
        return "connected"
    except TachyonError as error:
        return type(error).__name__

outcome_of_connect = []
"""


def test_a_limit_on_the_size_of_files(path: str) -> None:
    """Shared memory is a file to the kernel, which would send a signal that ends the process."""
    told = run(
        MEMORY
        + """
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
print(*listen(1 << 22))
print(*listen(1 << 16))
""",
        path,
    )
    assert told == ["told HandshakeError", "fine connected"]


def test_a_limit_on_the_address_space(path: str) -> None:
    told = run(
        MEMORY
        + """
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), resource.RLIM_INFINITY))
print(*listen(1 << 28))
print(*listen(1 << 16))
""",
        path,
    )
    assert told == ["told HandshakeError", "fine connected"]


@needs_root
def test_a_control_group_without_memory(path: str) -> None:
    """A container's limit: told before the kernel would kill somebody for it."""
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
        pytest.skip(f"there is no memory control group to be limited here: {error}")
    try:
        told = run(
            MEMORY
            + f"""
with open({str(group / "cgroup.procs")!r}, "w") as members:
    members.write(str(os.getpid()))
print(*listen(1 << 28))
print(*listen(1 << 16))
""",
            path,
        )
    finally:
        group.rmdir()
    assert told == ["told HandshakeError", "fine connected"]


def test_a_caller_with_another_clock(serve: Callable[[str], Peer], path: str) -> None:
    """Its deadlines would mean other moments to the server, so it is told, and the server goes on."""
    ahead = ["unshare", "--user", "--map-root-user", "--time", "--monotonic", "100000", "--fork", "--kill-child"]
    try:
        tried = subprocess.run([*ahead, "true"], capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("no program `unshare`")
    if tried.returncode != 0:
        pytest.skip(f"no time namespaces: {tried.stderr}")
    serve()
    told = run(
        """
try:
    RpcBus.connect(path, timeout=5)
except HandshakeError as error:
    print(error)
""",
        path,
        under=ahead,
    )
    reason = "runs in another time namespace: run both sides in one, so that deadlines mean the same"
    assert told == [f'the listener at "{path}" {reason}']
    with RpcBus.connect(path) as bus:
        assert echo.call(bus, b"after", timeout=10) == b"after"
