"""The typed half of the demo: services in both languages, with callers in both languages.

    make demo

The Python caller's types come from the Rust service, the Rust caller's from the Python service. Each talks to both
services, which have to answer all of them alike.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from demo import ROOT, Child, Failure, Setup, wait_for


def wait_until_there(socket: Path, service: Child, limit: float) -> None:
    """Wait until a service listens: on a busy machine, this takes longer than a caller waits."""
    deadline = time.monotonic() + limit
    while not socket.exists() and service.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def run_pair(setup: Setup, caller: str, service: str, name: str) -> str:
    """Run one caller against one service, and return the output of both."""
    with tempfile.TemporaryDirectory(prefix="tachyon-") as directory:
        socket = Path(directory, f"{name}.sock")
        children: list[Child] = []
        try:
            children.append(Child(f"{service} service", setup.command(service, f"{name}_service", socket)))
            wait_until_there(socket, children[0], setup.limit)
            children.append(Child(f"{caller} caller", setup.command(caller, f"{name}_caller", socket)))
            wait_for(children, setup.limit)
            return "".join(child.output() for child in reversed(children))
        finally:
            for child in children:
                child.discard()


def run(setup: Setup, name: str, title: str) -> None:
    """Run the four pairs of a service."""
    print(f"\n{title}:")
    outputs: set[str] = set()
    for caller in ("Rust", "Python"):
        for service in ("Rust", "Python"):
            outputs.add(run_pair(setup, caller, service, name))
            print(f"{caller} -> {service} ... done", flush=True)
    if len(outputs) != 1:
        raise Failure("the pairs do not agree:\n" + "---\n".join(sorted(outputs)))
    print("Every pair printed the same:")
    print("".join(f"  {line}\n" for line in outputs.pop().splitlines()), end="")


def run_extension(setup: Setup) -> None:
    """Run the service whose endpoints are in Rust and in Python."""
    print("\nFour functions in Rust and one in Python, served by one dispatcher in Python:")
    with tempfile.TemporaryDirectory(prefix="tachyon-") as directory:
        socket = Path(directory, "pricing.sock")
        children: list[Child] = []
        try:
            children.append(Child("extension service", setup.command("Python", "extension_service", socket)))
            wait_until_there(socket, children[0], setup.limit)
            children.append(Child("extension caller", setup.command("Python", "extension_caller", socket)))
            wait_for(children, setup.limit)
            print("".join(f"  {line}\n" for line in children[1].output().splitlines()), end="")
        finally:
            for child in children:
                child.discard()


def main() -> None:
    """Read the arguments, run, and turn a failure into a message and an exit status."""
    parser = argparse.ArgumentParser(description="Typed endpoints across languages, in four pairs of processes.")
    parser.add_argument("--limit", type=float, default=60.0, help="time limit of a pair in seconds (%(default)s)")
    parser.add_argument("--binaries", type=Path, default=ROOT / "target/release", help="folder of the Rust examples")
    arguments = parser.parse_args()
    try:
        setup = Setup(binaries=arguments.binaries, input=Path(), calls=0, limit=arguments.limit)
        run(setup, "sensor", "A sensor service with text, lists, options and declared errors")
        run(setup, "order", "Four typed functions of an order book, called through generated code")
        run_extension(setup)
    except Failure as failure:
        sys.exit(f"failed: {failure}")


if __name__ == "__main__":
    main()
