"""`tachyon ps`, `tachyon top` and `tachyon ping`: the servers of this user and their statistics."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from tachyon import stats
from tachyon._printable import printable
from tachyon._tachyon import ping
from tachyon.errors import OnePeerError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tachyon.errors import ErrorKind

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
    servers = stats.servers()
    if options.json:
        print(json.dumps([asdict(server) for server in servers], default=str))
        return 0
    print(f"{'PID':>8}  {'SINCE':19}  PATH")
    for server in servers:
        since = datetime.fromtimestamp(server.started, tz=UTC).astimezone()
        print(f"{server.pid:>8}  {since:%Y-%m-%d %H:%M:%S}  {printable(str(server.path))}")
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
    observer = stats.Observer(options.path)
    before = observer.snapshot()
    try:
        while True:
            time.sleep(options.interval)
            now = observer.snapshot()
            interval = now.since(before)
            before = now
            if options.json:
                print(json.dumps(in_json(now, interval), default=str), flush=True)
            else:
                text = "\n".join(lines(now, interval))
                print(text if options.once else CLEAR + text, flush=True)
            if options.once or not observer.is_live:
                return 0
    except KeyboardInterrupt:
        return 0


def micros(seconds: float | None) -> str:
    """Show a duration in microseconds; `-` for none."""
    return "-" if seconds is None else f"{seconds * 1e6:.1f}"


def in_json(now: stats.Snapshot, interval: stats.Interval) -> dict[str, Any]:
    """Return one snapshot, and the rates since the last one, as JSON has them: error kinds by their names."""
    shown, since = asdict(now), asdict(interval)
    for row in (*shown["endpoints"], *since["endpoints"]):
        row["errors_by_kind"] = {word(kind): count for kind, count in row["errors_by_kind"].items()}
    for row in (since, *since["endpoints"]):
        row["calls_per_second"] = interval.per_second(row["calls"])
        row["errors_per_second"] = interval.per_second(row["errors"])
    return shown | {"since_last": since}


def word(kind: ErrorKind) -> str:
    """Return the name of a kind that all languages share, such as `NoHandler`."""
    return kind.name.title().replace("_", "")


def lines(now: stats.Snapshot, interval: stats.Interval) -> Iterator[str]:
    """Show one snapshot as a table."""
    yield f"{printable(str(now.path))}  process {now.pid}  up {now.uptime:.0f} s  {now.workers} worker(s)"
    rates = [interval.per_second(count) for count in (interval.calls, interval.errors)]
    yield (
        f"{rates[0]:.0f} calls/s  {rates[1]:.0f} errors/s  "
        f"{now.callers_now} callers ({now.callers_ever} ever, {now.rejected} rejected)"
    )
    yield ""
    yield f"{'ENDPOINT':32} {'TYPE':>6} {'CALLS/S':>10} {'CALLS':>12} {'ERRORS':>8} {'P50 us':>9} {'P99 us':>9}"
    for recent, total in zip(interval.endpoints, now.endpoints, strict=True):
        number = "-" if total.msg_type is None else total.msg_type
        yield (
            f"{printable(total.name)[:32]:32} {number:>6} {interval.per_second(recent.calls):>10.0f} {total.calls:>12} "
            f"{total.errors:>8} {micros(recent.p50):>9} {micros(recent.p99):>9}"
        )
    yield ""
    yield f"{'CALLER':>8} {'PID':>8} {'REQUESTS':>12} {'REQUEST RING':>14} {'REPLY RING':>14}"
    for caller in now.callers:
        forward, reverse = (f"{fill.used}/{fill.slots}" for fill in (caller.forward, caller.reverse))
        yield f"{caller.id:>8} {caller.pid or '-':>8} {caller.requests:>12} {forward:>14} {reverse:>14}"
