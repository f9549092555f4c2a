"""The command `tachyon`."""

from __future__ import annotations

import argparse
import sys

from tachyon import _cli_describe, _cli_stats
from tachyon._printable import printable
from tachyon.errors import TachyonError


def main(arguments: list[str] | None = None) -> int:
    """Run one command, and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="tachyon", description="List, watch, describe and call the servers and callees on this machine."
    )
    subparsers = parser.add_subparsers(required=True, metavar="command")
    _cli_describe.register(subparsers)
    _cli_stats.register(subparsers)
    parsed = parser.parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except TachyonError as error:
        print(f"tachyon: {printable(str(error))}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
