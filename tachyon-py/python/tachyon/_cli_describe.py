"""`tachyon describe`, `tachyon call` and `tachyon codegen`: the endpoints of a callee, on the command line."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tachyon import _cli_call
from tachyon._codegen import python
from tachyon._description import Description, from_json
from tachyon._printable import printable
from tachyon._tachyon import RpcBus, codegen_rust
from tachyon.errors import OnePeerError, TachyonError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    Subparsers = argparse._SubParsersAction[  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        argparse.ArgumentParser
    ]


# Most characters of a column.
_WIDEST = 50


class CommandError(TachyonError):
    """An argument on the command line that cannot be used."""


def register(subparsers: Subparsers) -> None:
    """Add the three commands; the `run` default of each parser takes the arguments and returns the exit status."""
    describe = _command(subparsers, "describe", _describe, "list the endpoints of a callee")
    describe.add_argument("path", help="path of the callee's socket")
    describe.add_argument("--json", action="store_true", help="print JSON, for a file that `tachyon codegen` reads")

    call = _command(
        subparsers,
        "call",
        _cli_call.call,
        "call one endpoint of a callee; of a stream, print items as lines, and read this side's from standard input",
    )
    call.add_argument("path", help="path of the callee's socket")
    call.add_argument("name", help="name or msg_type of the endpoint")
    call.add_argument("json", nargs="?", help="the request, such as '{\"instrument\": 7}'; a string if it takes bytes")

    codegen = _command(subparsers, "codegen", _codegen, "write the code that calls a callee")
    codegen.add_argument("language", choices=("python", "rust"))
    codegen.add_argument("path", help="path of the callee's socket, or of a file from `tachyon describe --json`")


def _command(
    subparsers: Subparsers, name: str, run: Callable[[argparse.Namespace], int], about: str
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(name, help=about, description=about)
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds to wait for the callee (default: 5)")

    def run_with_errors(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except TachyonError:
            raise
        except (OSError, ValueError, TypeError, OverflowError) as error:
            raise CommandError(str(error)) from error

    parser.set_defaults(run=run_with_errors)
    return parser


def _describe(arguments: argparse.Namespace) -> int:
    description = _ask(arguments.path, arguments.timeout)
    if arguments.json:
        print(json.dumps(json.loads(description.json), indent=2))
    else:
        print(table(description))
    return 0


def _ask(path: str | Path, timeout: float) -> Description:
    """Ask a callee for its description. A listener for one peer keeps its place."""
    try:
        with RpcBus.connect(path, timeout=timeout, probe=True) as bus:
            return bus.describe(timeout=timeout)
    except OnePeerError as error:
        if error.description is not None:
            return from_json(error.description)
    message = (
        f"the callee at {path} waits for its one caller and has no description to give: pass its dispatcher to "
        "`RpcBus.listen`, or serve with `RpcServer`"
    )
    raise CommandError(message)


def table(description: Description) -> str:
    """Show the endpoints in columns."""
    rows: list[tuple[str, ...]] = [("msg_type", "endpoint", "")]
    for endpoint in description:
        about = endpoint.doc.partition("\n")[0]
        rows.append(tuple(map(printable, (str(endpoint.msg_type), str(endpoint), about))))
    # A limit, so that one long signature does not move the documentation of all others.
    widths = [min(max(len(row[column]) for row in rows), _WIDEST) for column in range(2)] + [0]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _codegen(arguments: argparse.Namespace) -> int:
    path = Path(arguments.path)
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        description = from_json(path.read_text(encoding="utf-8"))
    else:
        description = _ask(path, arguments.timeout)
    write = python if arguments.language == "python" else _rust
    sys.stdout.write(write(description))
    return 0


def _rust(description: Description) -> str:
    return codegen_rust(description.json)
