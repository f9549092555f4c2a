"""A caller of streams in another process: the Rust program `stream_caller`."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from programs import program

if TYPE_CHECKING:
    from types import TracebackType


class StreamCaller:
    """A caller whose streams have numbers."""

    def __init__(self, path: str) -> None:
        """Connect to a path that listens."""
        self.process = subprocess.Popen(
            [program("stream_caller"), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, command: str, *arguments: object) -> str:
        """Act, and return the line of the outcome."""
        self.tell(command, *arguments)
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def tell(self, command: str, *arguments: object) -> None:
        """Begin to act."""
        assert self.process.stdin is not None
        words = (each.hex() if isinstance(each, bytes) else str(each) for each in arguments)
        self.process.stdin.write(" ".join([command, *words]) + "\n")

    def open(self, msg_type: int, payload: bytes = b"", *, within: float | None = None) -> int:
        """Open a stream, and return its number."""
        limit = () if within is None else (int(within * 1000),)
        opened = self.ask("open" if within is None else "open_within", msg_type, payload, *limit)
        return int(opened.removeprefix("opened "))

    def next(self, stream: int) -> bytes | None:
        """Return the next item; None after the last one."""
        found = self.ask("next", stream)
        if found == "end":
            return None
        assert found.startswith("item"), found
        return bytes.fromhex(found.removeprefix("item "))

    def items(self, stream: int) -> list[bytes]:
        """Return all items up to the end."""
        found: list[bytes] = []
        while (item := self.next(stream)) is not None:
            found.append(item)
        return found

    def call(self, msg_type: int, payload: bytes = b"") -> bytes:
        """Call an endpoint that is no stream."""
        reply = self.ask("call", msg_type, payload)
        assert reply.startswith("reply"), reply
        return bytes.fromhex(reply.removeprefix("reply "))

    def close(self) -> None:
        """Close in good order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill(self) -> None:
        """Die."""
        self.process.kill()
        self.process.wait(60)

    def __enter__(self) -> StreamCaller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        if kind is None and self.process.returncode is None:
            self.close()
            return
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
