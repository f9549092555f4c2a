"""A link for tests: both ends as processes with certificates, and a relay between them that can go silent."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import tachyon
from programs import program
from tachyon import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

LIMIT = 60.0
"""Seconds after which a process is given up, far beyond the need of any."""


def wait_until(condition: Callable[[], object], text: object = "the condition") -> float:
    """Wait for a condition; return the seconds."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < LIMIT, text() if callable(text) else text
        time.sleep(0.01)
    return time.monotonic() - started


def certificates(folder: Path, *names: str) -> Path:
    subprocess.run([program("tachyon-link"), "certificates", str(folder), *names], check=True, timeout=LIMIT)
    return folder


class End:
    """A process of `tachyon-link` that is ready. Its log is in a file."""

    def __init__(self, log: Path, arguments: Sequence[object], through: Sequence[str] = ()) -> None:
        self.log = log
        command = [*through, program("tachyon-link"), *map(str, arguments)]
        with log.open("a") as file:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline().rstrip("\n")
        assert self.line, f"{command}\n{log.read_text()}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ends(self) -> None:
        """Wait for the end in good order."""
        assert self.process.wait(LIMIT) == 0, self.log.read_text()

    def stop(self) -> None:
        """Stop in good order."""
        self.terminate()
        self.ends()

    def discard(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Link:
    """The places of a link, in a folder of the test: callers at `front`, the callee at `back`."""

    def __init__(self, folder: Path, files: Path, stack: ExitStack) -> None:
        self.folder, self.files, self._stack = folder, files, stack
        self.front, self.back = str(folder / "front.sock"), str(folder / "back.sock")
        self.address = ""
        self.silence = 20.0
        """Seconds after which an end gives the other one up. A busy machine lets a process stand still for seconds."""

    def identity(self, name: str) -> list[str]:
        files = self.files
        return [f"--cert={files / name}.pem", f"--key={files / name}.key", f"--ca={files / 'authority.pem'}"]

    def _end(self, log: str, arguments: Sequence[object], through: Sequence[str]) -> End:
        end = End(self.folder / log, [*arguments, f"--silence={self.silence}", "--log=debug"], through)
        self._stack.callback(end.discard)
        return end

    def far(
        self, *options: object, back: str = "", at: str = "127.0.0.1:0", tls: bool = True, through: Sequence[str] = ()
    ) -> End:
        """Start a far end; `address` is where it listens."""
        tail = [*(self.identity("host-b") if tls else ()), *options]
        end = self._end("far.log", ["serve", back or self.back, "--listen", at, *tail], through)
        self.address = end.line.split()[-1]
        return end

    def near(
        self,
        *options: object,
        front: str = "",
        at: str = "",
        tls: bool = True,
        name: str = "host-b",
        through: Sequence[str] = (),
    ) -> End:
        """Start a near end."""
        tail = [*([*self.identity("host-a"), f"--server-name={name}"] if tls else ()), *options]
        return self._end("near.log", ["connect", at or self.address, front or self.front, *tail], through)

    def wait(self, front: str = "") -> None:
        """Wait until a callee answers through the link: it refuses a call that no contract has."""
        path = front or self.front

        def reached() -> bool:
            try:
                with tachyon.RpcBus.connect(path) as bus:
                    tachyon.tachyon_rpc(65000)(len).call(bus, b"", timeout=5)
            except errors.RpcError as error:
                return not isinstance(error, errors.UnreachableError)
            except errors.TachyonError:
                return False
            return False

        wait_until(reached, self.account)

    def account(self) -> str:
        """Return the last lines of the logs of both ends."""
        logs = {log.name: log.read_text().splitlines()[-20:] for log in self.folder.glob("*.log")}
        return "\n".join("\n".join((f"{name}:", *lines)) for name, lines in logs.items())

    def start(self, *options: object) -> tuple[End, End]:
        """Start both ends, the near end with options, and wait until they are connected."""
        far = self.far()
        near = self.near(*options)
        self.wait()
        return near, far


class Relay:
    """Forwards connections to an address. While it is `silent`, connections stay open and no byte passes."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._passes = threading.Event()
        self._passes.set()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def go_silent(self) -> None:
        self._passes.clear()

    def heal(self) -> None:
        self._passes.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
            except OSError:
                return
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                thread = threading.Thread(target=self._forward, args=(source, sink))
                self._threads.append(thread)
                thread.start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                self._passes.wait()
                sink.sendall(data)
        except OSError:
            pass
        self._passes.wait()
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._passes.set()
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT)
        for each in (self._listener, *self._sockets):
            each.close()


@contextlib.contextmanager
def relay(address: str) -> Iterator[Relay]:
    made = Relay(address)
    try:
        yield made
    finally:
        made.close()
