"""`tachyon ps`, `tachyon top` and `tachyon ping`: the servers of this user and their statistics."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from tachyon._printable import printable
from tachyon._tachyon import ServerStats, live_servers, ping
from tachyon.errors import OnePeerError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

CLEAR = "\x1b[2J\x1b[H"
"""Clears the terminal and moves the cursor to its first place."""


class Commands(Protocol):
    """The result of `ArgumentParser.add_subparsers`."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:  # noqa: A002  # argparse's own name
        """Add a command."""
        ...


def register(subparsers: Commands) -> None:
    """Add the commands."""
    ps = subparsers.add_parser("ps", help="list the live servers of this user")
    ps.add_argument("--json", action="store_true", help="print one JSON array")
    ps.set_defaults(run=list_servers)

    top = subparsers.add_parser("top", help="watch a server: calls, errors, durations, callers")
    top.add_argument("path", help="path of the server's socket")
    top.add_argument("--once", action="store_true", help="print one snapshot and exit")
    top.add_argument("--json", action="store_true", help="print one JSON object per snapshot")
    top.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="time between snapshots (default: %(default)s)"
    )
    top.set_defaults(run=watch)

    trip = subparsers.add_parser("ping", help="time a round trip to a server")
    trip.add_argument("path", help="path of the socket of a server or callee")
    trip.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="time to wait for the answer (default: %(default)s)",
    )
    trip.set_defaults(run=time_round_trip)


def list_servers(options: argparse.Namespace) -> int:
    """Print the live servers."""
    servers = live_servers()
    if options.json:
        print(json.dumps([{"pid": pid, "path": str(path), "started": started} for pid, path, started in servers]))
        return 0
    print(f"{'PID':>8}  {'SINCE':19}  PATH")
    for pid, path, started in servers:
        since = datetime.fromtimestamp(started, tz=UTC).astimezone()
        print(f"{pid:>8}  {since:%Y-%m-%d %H:%M:%S}  {printable(str(path))}")
    return 0


def time_round_trip(options: argparse.Namespace) -> int:
    """Print the round trip in microseconds, or that a listener waits for its one peer."""
    try:
        print(f"{ping(options.path, options.timeout) * 1e6:.1f} us")
    except OnePeerError:
        print("is listening for its one peer")
    return 0


def watch(options: argparse.Namespace) -> int:
    """Print a server's statistics until the server or the user ends this."""
    stats = ServerStats(options.path)
    stats.snapshot()
    try:
        while True:
            time.sleep(options.interval)
            snapshot = stats.snapshot()
            if options.json:
                print(json.dumps(snapshot), flush=True)
            else:
                text = "\n".join(lines(snapshot))
                print(text if options.once else CLEAR + text, flush=True)
            if options.once or not stats.is_live():
                return 0
    except KeyboardInterrupt:
        return 0


def micros(seconds: float | None) -> str:
    """Show a duration in microseconds; `-` for none."""
    return "-" if seconds is None else f"{seconds * 1e6:.1f}"


def lines(snapshot: dict[str, Any]) -> Iterator[str]:
    """Show one snapshot as a table."""
    rates = snapshot["since_last"]
    yield (
        f"{printable(snapshot['path'])}  process {snapshot['pid']}  up {snapshot['uptime']:.0f} s  "
        f"{snapshot['workers']} worker(s)"
    )
    yield (
        f"{rates['calls_per_second']:.0f} calls/s  {rates['errors_per_second']:.0f} errors/s  "
        f"{snapshot['callers_now']} callers ({snapshot['callers_ever']} ever, {snapshot['rejected']} rejected)"
    )
    yield ""
    yield f"{'ENDPOINT':32} {'TYPE':>6} {'CALLS/S':>10} {'CALLS':>12} {'ERRORS':>8} {'P50 us':>9} {'P99 us':>9}"
    for recent, total in zip(rates["endpoints"], snapshot["endpoints"], strict=False):
        number = "-" if total["msg_type"] is None else total["msg_type"]
        yield (
            f"{printable(total['name'])[:32]:32} {number:>6} {recent['calls_per_second']:>10.0f} {total['calls']:>12} "
            f"{total['errors']:>8} {micros(recent['p50']):>9} {micros(recent['p99']):>9}"
        )
    yield ""
    yield f"{'CALLER':>8} {'PID':>8} {'REQUESTS':>12} {'REQUEST RING':>14} {'REPLY RING':>14}"
    for caller in snapshot["callers"]:
        fills = ["{}/{}".format(*caller[ring]) for ring in ("forward", "reverse")]
        pid = caller["pid"] or "-"
        yield f"{caller['id']:>8} {pid:>8} {caller['requests']:>12} {fills[0]:>14} {fills[1]:>14}"
