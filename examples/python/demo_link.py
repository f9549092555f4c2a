"""The third part of the demo: the four pairs again, with a link between the two machines of each pair.

    make demo

Both machines are this one: the two ends of the link, `tachyon-link connect` and `tachyon-link serve`, speak HTTP/2 with
TLS over the loopback interface. Callers and callees are those of `demo.py`, unchanged.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from demo import Child, Failure, Setup, check, main, table, wait_for

RINGS = ("--ring-sizes", 1 << 18, 1 << 18)
"""Bytes of the rings for requests and for replies: the larger function takes 70 KB."""


def wait_for_line(child: Child, limit: float) -> str:
    """Wait for the line with which an end of the link says that it is ready."""
    deadline = time.monotonic() + limit
    while not (line := child.output()).endswith("\n"):
        if child.process.poll() is not None or time.monotonic() > deadline:
            raise Failure(f"an end of the link is not ready\n{child.account()}")
        time.sleep(0.02)
    return line


def run_pair(setup: Setup, caller: str, callee: str, certificates: Path) -> dict[str, Any]:
    """Run one caller against one callee behind a link, and return the caller's report."""
    with tempfile.TemporaryDirectory(prefix="tachyon-") as directory:
        front, back = Path(directory, "front.sock"), Path(directory, "back.sock")
        children: list[Child] = []

        def start(title: str, command: list[str]) -> Child:
            children.append(Child(title, command))
            return children[-1]

        def link(*args: object, name: str) -> list[str]:
            files = [f"--cert={certificates / name}.pem", f"--key={certificates / name}.key"]
            own = [str(setup.binaries / "tachyon-link"), *map(str, args), *files]
            return [*own, f"--ca={certificates / 'authority.pem'}"]

        try:
            served = start(f"{callee} callee", setup.command(callee, "rpc_callee", back, setup.input / "stocks.csv"))
            far = start("far end", link("serve", back, "--listen=127.0.0.1:0", name="host-b"))
            address = wait_for_line(far, setup.limit).split()[-1]
            near = start("near end", link("connect", address, front, "--server-name=host-b", *RINGS, name="host-a"))
            wait_for_line(near, setup.limit)
            wait_until_connected(front, setup.limit)
            called = start(
                f"{caller} caller",
                setup.command(caller, "demo_caller", front, setup.input / "temperatures.f64", setup.calls),
            )
            wait_for([called], setup.limit)
            report: dict[str, Any] = json.loads(called.output())
            # In good order: the far end closes its connection, with which the callee ends.
            for end in (near, far):
                end.process.terminate()
            wait_for([near, far, served], setup.limit)
        finally:
            for child in children:
                child.discard()
        if left := list(Path(directory).iterdir()):
            raise Failure(f"the processes left files behind: {left}")
        return report


def wait_until_connected(front: Path, limit: float) -> None:
    """Wait until a description comes through the link."""
    describe = [sys.executable, "-m", "tachyon", "describe", str(front)]
    deadline = time.monotonic() + limit
    while subprocess.run(describe, capture_output=True, check=False).returncode != 0:  # noqa: S603
        if time.monotonic() > deadline:
            raise Failure("the link does not connect")


def run(setup: Setup) -> None:
    """Run the four pairs and print the table."""
    print(f"\nThe same through a link with TLS, {setup.calls:,} calls of each function:")
    reports: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="tachyon-") as directory:
        certificates = Path(directory)
        command = [str(setup.binaries / "tachyon-link"), "certificates", directory, "host-a", "host-b"]
        subprocess.run(command, check=True)  # noqa: S603
        for caller in ("Rust", "Python"):
            for callee in ("Rust", "Python"):
                pair = f"{caller} -> {callee}"
                print(f"{pair} ... ", end="", flush=True)
                start = time.monotonic()
                reports[pair] = run_pair(setup, caller, callee, certificates)
                check(setup, reports[pair])
                print(f"right, {time.monotonic() - start:.1f} s", flush=True)
    if len({json.dumps([report["stocks"], report["temperatures"]]) for report in reports.values()}) != 1:
        raise Failure("the pairs do not agree to the last byte")
    print()
    print(table(reports, (setup.input / "temperatures.f64").stat().st_size))
    print()
    print("Round trips in microseconds. Four processes share the cores: caller, near end, far end, callee.")


if __name__ == "__main__":
    main("Four pairs of processes, with a link between the two of each.", 1000, run)
