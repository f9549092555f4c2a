"""The processes of a contender: start, pinning, rounds, reports and end."""

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self, TypeAlias

Report: TypeAlias = dict[str, Any]

START = 30.0
ROUND = 60.0
END = 3.0
"""Timeouts in seconds: to connect, for a round, and to exit."""


class SideError(Exception):
    """A process ended, hung or wrote an invalid line."""


class Side:
    """One process, which reads and writes lines of JSON."""

    def __init__(self, title: str, command: list[str], cores: set[int], environment: dict[str, str]) -> None:
        """Start the process on its cores."""
        self.title = title
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `end` closes it
        self.process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ | environment,
        )
        # The process has no other threads yet: later threads inherit the affinity.
        os.sched_setaffinity(self.process.pid, cores)
        self.unread = b""

    def tell(self, what: Report) -> None:
        """Write a line to the process."""
        assert self.process.stdin is not None  # noqa: S101 - always a pipe
        try:
            self.process.stdin.write(json.dumps(what).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise SideError(self.account()) from error

    def hear(self, patience: float) -> Report:
        """Wait for a line of the process, for at most `patience` seconds."""
        assert self.process.stdout is not None  # noqa: S101 - always a pipe
        deadline = time.monotonic() + patience
        while b"\n" not in self.unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise SideError(f"{self.title}: no report in {patience:.0f} s\n{self.account()}")
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                raise SideError(self.account())
            self.unread += more
        line, _, self.unread = self.unread.partition(b"\n")
        report: Report = json.loads(line)
        return report

    def account(self) -> str:
        """Return the exit status and the last errors of the process."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        self.errors.seek(0)
        state = "still running" if self.process.poll() is None else f"exit status {self.process.returncode}"
        said = self.errors.read().strip().splitlines()[-5:]
        return f"{self.title}: {state}: " + (" | ".join(said) or "no error output")

    def end(self) -> None:
        """Wait for the exit of the process, then kill it."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self.process.wait(END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


class Pair:
    """Both processes of a contender, or its only one."""

    def __init__(self, title: str, folder: Path) -> None:
        """Begin without processes."""
        self.title = title
        self.folder = folder
        self.asking: Side | None = None
        self.answering: Side | None = None
        self.endless = False

    def start(
        self, asks: list[str], answers: list[str] | None, cores: tuple[int, int], *, endless: bool, tag: str
    ) -> Self:
        """Start the processes and wait until they are connected. An endless answering side gets no rounds."""
        environment = {"TACHYON_BENCH": tag}
        self.endless = endless
        try:
            if answers is not None:
                self.answering = Side(f"{self.title}, answering", answers, {cores[1]}, environment)
            alone = set(cores) if answers is None else {cores[0]}
            self.asking = Side(f"{self.title}, asking", asks, alone, environment)
            for side in (self.asking, self.answering):
                if side is not None:
                    side.hear(START)
        except BaseException:
            self.end()
            raise
        return self

    def round(self, ordered: Report) -> Report:
        """Run one round and return the report of the asking side."""
        if self.asking is None:
            raise SideError(f"{self.title}: not started")
        told = None if self.endless else self.answering
        if told is not None:
            told.tell(ordered)
        self.asking.tell(ordered)
        report = self.asking.hear(ROUND)
        if told is not None:
            told.hear(ROUND)
        return report

    def answering_seconds(self) -> float | None:
        """Return the processor time of the answering side; None without an answering side or without schedstat."""
        if self.answering is None:
            return None
        try:
            threads = Path(f"/proc/{self.answering.process.pid}/task").iterdir()
            return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
        except OSError:
            return None

    def end(self) -> None:
        """End the processes."""
        for side in (self.asking, self.answering):
            if side is not None:
                side.end()
        self.asking = self.answering = None
