"""The contenders: the commands of both sides, and the programs that they need."""

from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True)
class Tools:
    """The paths of the programs. Those of the peers are there only if they were built."""

    binaries: Path
    python: Path
    scripts: Path
    peer_binary: Path | None = None
    peer_python: Path | None = None
    peer_features: frozenset[str] = frozenset()
    peer_packages: frozenset[str] = frozenset()

    def missing(self, needs: str) -> bool:
        """Return whether a peer's crate (`crate:x`) or package (`package:x`) is missing."""
        kind, _, name = needs.partition(":")
        return bool(needs) and name not in (self.peer_features if kind == "crate" else self.peer_packages)

    def command(self, side: str, path: Path, capacity: int) -> list[str]:
        """Return the command of a side, given as `program side how`."""
        program, name, how = side.split()
        if program == "contender":
            front = [str(self.binaries / "contender")]
        elif program == "peer":
            front = [str(self.peer_binary)]
        else:
            python = self.python if program == "ours" else self.peer_python
            front = [str(python), str(self.scripts / f"{program}.py")]
        return [*front, name, str(path), str(capacity), how]


@dataclass(frozen=True)
class Contender:
    """One way to move bytes, and its commands."""

    key: str
    title: str
    asks: str
    """The side that takes the times, as `program side how`."""
    answers: str | None
    """The other side, if it is another process."""
    needs: str = ""
    """The peer's crate or package, as `crate:name` or `package:name`."""
    endless: bool = False
    """Whether the answering side serves for ever and gets no rounds."""
    capacity: int = 0
    """Bytes of the ring, if not those of the group."""
    language: str = "rust"


FLOOR = Contender("floor", "bare cache line (floor)", "contender floor-asker -", "contender floor-answerer -")


def rpc(mode: str, title: str) -> Contender:
    """Tachyon from Rust to Rust in a polling mode."""
    return Contender(f"tachyon-{mode}", f"Tachyon, {title}", f"contender caller {mode}", f"contender callee {mode}")


SPIN = rpc("spin", "pure spin")
ADAPTIVE = rpc("adaptive", "adaptive (default)")
PARK = rpc("park", "parking at once")
SOCKET = Contender("socket", "Unix socket", "contender socket-asker -", "contender socket-answerer -")


def old_rpc(mode: str, title: str, capacity: int = 0) -> Contender:
    """Make the crate tachyon-ipc a contender in one of its modes."""
    return Contender(
        f"tachyon-ipc-{mode}",
        f"tachyon-ipc 0.5.1, {title}",
        f"peer tachyon-ipc-caller {mode}",
        f"peer tachyon-ipc-callee {mode}",
        needs="crate:tachyon-ipc",
        capacity=capacity,
    )


ICEORYX = Contender(
    "iceoryx2", "iceoryx2 0.10, polled", "peer iceoryx2-client -", "peer iceoryx2-server -", needs="crate:iceoryx2"
)

RPC = (FLOOR, SPIN, ADAPTIVE, PARK, old_rpc("spin", "pure spin"), old_rpc("adaptive", "adaptive"), ICEORYX, SOCKET)

# tachyon-ipc gives room back once in 32 messages, and hangs if fewer fit: large payloads need larger rings.
RPC_LARGE = (FLOOR, SPIN, ADAPTIVE, old_rpc("spin", "pure spin", 64 * MIB), ICEORYX, SOCKET)


def stream(how: str, title: str, mode: str = "spin") -> Contender:
    """Tachyon's one-way bus, received in one of its ways."""
    return Contender(f"tachyon-{how}", f"Tachyon, {title}", f"contender receiver {how}", f"contender sender {mode}")


def old_stream(how: str, title: str, capacity: int = 0) -> Contender:
    """Make the one-way bus of the crate tachyon-ipc a contender."""
    return Contender(
        f"tachyon-ipc-{how}",
        f"tachyon-ipc 0.5.1, {title}",
        f"peer tachyon-ipc-receiver {how}",
        f"peer tachyon-ipc-sender {how}",
        needs="crate:tachyon-ipc",
        capacity=capacity,
    )


SOCKET_STREAM = Contender("socket", "Unix socket", "contender socket-sink -", "contender socket-source -")

STREAM = (
    FLOOR,
    stream("spin", "one by one"),
    stream("batch", "by batches"),
    stream("adaptive", "one by one, adaptive", "adaptive"),
    Contender("rtrb", "rtrb between threads, one by one", "contender rtrb one", None),
    Contender("rtrb-batch", "rtrb between threads, by chunks", "contender rtrb batch", None),
    old_stream("spin", "one by one"),
    old_stream("batch", "by batches"),
    old_stream("unflushed", "by batches, flushed once in 64"),
    SOCKET_STREAM,
)

BULK = (
    FLOOR,
    Contender("memcpy", "memcpy in one process", "contender memcpy -", None),
    Contender("bare", "bare shared memory, every word read", "contender bare-sink -", "contender bare-source -"),
    stream("words", "every word read in place"),
    stream("spin", "first and last byte read in place"),
    old_stream("spin", "first and last byte read in place", 64 * MIB),
    SOCKET_STREAM,
)


ITEMS = (
    FLOOR,
    stream("spin", "one-way messages, one by one"),
    Contender(
        "tachyon-items-spin",
        "Tachyon, items of a stream, pure spin",
        "contender stream-caller spin",
        "contender stream-callee spin",
    ),
    Contender(
        "tachyon-items",
        "Tachyon, items of a stream, adaptive (default)",
        "contender stream-caller adaptive",
        "contender stream-callee adaptive",
    ),
    Contender(
        "python-items",
        "Tachyon, items of a stream, Python to Python",
        "ours stream-caller adaptive",
        "ours stream-callee adaptive",
        endless=True,
        language="python",
    ),
    Contender(
        "grpc-items",
        "grpcio, a stream of replies over a Unix socket",
        "peer_grpc stream-client -",
        "peer_grpc server -",
        needs="package:grpcio",
        endless=True,
        language="python",
    ),
)


def pair(caller: str, callee: str, how: str = "adaptive") -> Contender:
    """Tachyon between two languages."""
    programs = {"Rust": "contender", "Python": "ours"}
    mode = "" if how == "adaptive" else ", pure spin"
    return Contender(
        f"{caller.lower()}-{callee.lower()}" + ("" if how == "adaptive" else f"-{how}"),
        f"Tachyon, {caller} calls {callee}{mode}",
        f"{programs[caller]} caller {how}",
        f"{programs[callee]} callee {how}",
        endless=callee == "Python" and how == "adaptive",
        language=caller.lower(),
    )


LANGUAGES = (
    FLOOR,
    pair("Rust", "Rust"),
    pair("Rust", "Python"),
    pair("Python", "Rust"),
    pair("Python", "Python"),
    pair("Python", "Python", "spin"),
    Contender(
        "tachyon-ipc-python",
        "tachyon-ipc 0.5.1, Python calls Python",
        "peer_tachyon_ipc caller -",
        "peer_tachyon_ipc callee -",
        needs="package:tachyon-ipc",
        endless=True,
        language="python",
    ),
    Contender(
        "iceoryx2-python",
        "iceoryx2 0.10, Python asks Python, polled",
        "peer_iceoryx2 client -",
        "peer_iceoryx2 server -",
        needs="package:iceoryx2",
        language="python",
    ),
    Contender(
        "zmq",
        "pyzmq, REQ and REP over ipc",
        "peer_zmq asker -",
        "peer_zmq answerer -",
        needs="package:pyzmq",
        endless=True,
        language="python",
    ),
    Contender(
        "grpc",
        "grpcio over a Unix socket",
        "peer_grpc client -",
        "peer_grpc server -",
        needs="package:grpcio",
        endless=True,
        language="python",
    ),
)


def bus(receives: str, sends: str, title: str, *, peer: bool = False) -> Contender:
    """Make a Python bus a contender, Tachyon's or that of tachyon-ipc."""
    program, name = ("peer_tachyon_ipc", "tachyon-ipc 0.5.1") if peer else ("ours", "Tachyon")
    return Contender(
        f"{'tachyon-ipc' if peer else 'tachyon'}-{receives}",
        f"{name}, {title}",
        f"{program} receiver {receives}",
        f"{program} sender {sends}",
        needs="package:tachyon-ipc" if peer else "",
        language="python",
    )


PYTHON_BUS = (
    FLOOR,
    *(
        bus(receives, sends, title, peer=peer)
        for receives, sends, title in (
            ("iterate", "send", "send and iterate"),
            ("batch", "send", "send and drain_batch"),
            ("zero-copy", "zero-copy", "zero-copy on both sides"),
        )
        for peer in (False, True)
    ),
    Contender(
        "zmq",
        "pyzmq, PUSH and PULL over ipc",
        "peer_zmq sink -",
        "peer_zmq source -",
        needs="package:pyzmq",
        language="python",
    ),
)

DISPATCH = (
    FLOOR,
    *(
        Contender(
            f"endpoints-{count}",
            f"Tachyon, {count:,} endpoints called in turn",
            f"contender table-caller {count}",
            f"contender table-callee {count}",
        )
        for count in (1, 10, 100, 1000)
    ),
)
