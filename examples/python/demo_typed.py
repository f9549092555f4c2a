"""The typed half of the demo: an order book in each language, called through code generated from the other.

    make demo

The Python caller's types come from the Rust service, the Rust caller's from the Python service. Each talks to both
services, which have to answer all of them alike.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from demo import ROOT, Child, Failure, Setup, wait_for


def run_pair(setup: Setup, caller: str, service: str) -> str:
    """Run one caller against one service and return what both printed."""
    with tempfile.TemporaryDirectory(prefix="tachyon-") as directory:
        socket = Path(directory, "orders.sock")
        children: list[Child] = []
        try:
            children.append(Child(f"{service} service", setup.command(service, "order_service", socket)))
            children.append(Child(f"{caller} caller", setup.command(caller, "order_caller", socket)))
            wait_for(children, setup.limit)
            return "".join(child.output() for child in reversed(children))
        finally:
            for child in children:
                child.discard()


def run(setup: Setup) -> None:
    """Run the four pairs."""
    print("\nFour typed functions of an order book, called through generated code:")
    outputs: set[str] = set()
    for caller in ("Rust", "Python"):
        for service in ("Rust", "Python"):
            outputs.add(run_pair(setup, caller, service))
            print(f"{caller} -> {service} ... done", flush=True)
    if len(outputs) != 1:
        raise Failure("the pairs do not agree:\n" + "---\n".join(sorted(outputs)))
    print("Every pair printed the same:")
    print("".join(f"  {line}\n" for line in outputs.pop().splitlines()), end="")


def main() -> None:
    """Read the arguments, run, and turn a failure into a message and an exit status."""
    parser = argparse.ArgumentParser(description="Typed endpoints across languages, four pairs in all.")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds one pair may take (%(default)s)")
    parser.add_argument("--binaries", type=Path, default=ROOT / "target/release", help="where the Rust examples are")
    arguments = parser.parse_args()
    try:
        run(Setup(binaries=arguments.binaries, input=Path(), calls=0, limit=arguments.limit))
    except Failure as failure:
        sys.exit(f"failed: {failure}")


if __name__ == "__main__":
    main()
