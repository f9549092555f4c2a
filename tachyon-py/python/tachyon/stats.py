"""Statistics of servers: calls, errors and durations per endpoint and per caller, from any process of the same user.

A server counts in shared memory of its own. Observing sends the server no request and costs it nothing, so that a busy
server and a server that hangs can be observed. `tachyon ps` and `tachyon top` show the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tachyon._tachyon import StatsCounts, StatsObserver, live_servers
from tachyon.errors import ErrorKind

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "CallerStats",
    "EndpointStats",
    "Interval",
    "Observer",
    "RingFill",
    "ServerEntry",
    "Snapshot",
    "servers",
    "snapshot",
]


@dataclass(frozen=True)
class ServerEntry:
    """A live server of this user."""

    pid: int
    """The server's process."""
    path: Path
    """The path that callers connect to."""
    started: float
    """When the server began to serve, in seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class EndpointStats:
    """The statistics of one endpoint: since the start of the server, or in an interval."""

    msg_type: int | None
    """The message type; None for the row of all message types without an endpoint."""
    name: str
    """The name, cut to 55 bytes."""
    calls: int
    """Requests, with and without a reply."""
    errors: int
    """Requests answered with an error."""
    errors_by_kind: Mapping[ErrorKind, int]
    """The same by kind, without kinds that never occurred."""
    callers_gone: int
    """Requests whose caller closed or died before the answer."""
    request_bytes: int
    """Bytes of all requests."""
    reply_bytes: int
    """Bytes of all replies, without error replies."""
    busy: float
    """Sum of the durations of all calls, in seconds."""
    p50: float | None
    """The median duration of the calls in seconds, from the request's turn to its reply, within 6.25 %."""
    p99: float | None
    """The duration in seconds that one call in a hundred exceeds, within 6.25 %."""


@dataclass(frozen=True)
class RingFill:
    """How full a ring is, in messages. Long messages may fill a ring before its slots are used."""

    used: int
    """Messages in flight."""
    slots: int
    """Slots of the ring; 0 before the server's first look."""


@dataclass(frozen=True, kw_only=True)
class CallerStats:
    """The statistics of one connected caller."""

    id: int
    """The caller's number at this server, from 1."""
    pid: int | None
    """The caller's process; None if the server cannot see it."""
    uid: int | None
    """The caller's user; None if the server's user namespace does not map it."""
    requests: int
    """Requests that the server has taken."""
    forward: RingFill
    """Requests in the forward ring at the server's last look."""
    reverse: RingFill
    """Replies in the reverse ring at the server's last look."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The difference of two snapshots of one server. Counts are those of the time between them."""

    seconds: float
    """Time between the two snapshots."""
    calls: int
    """Requests of all endpoints, with and without a reply."""
    errors: int
    """Error replies of all endpoints."""
    joined: int
    """Callers that connected."""
    rejected: int
    """Clients that the server rejected."""
    endpoints: tuple[EndpointStats, ...]
    """A row per endpoint, in the order of the later snapshot."""
    requests: Mapping[int, int]
    """The requests of each caller of the later snapshot, by its number."""

    def per_second(self, count: int) -> float:
        """Return a count of this interval per second; 0.0 if no time has passed."""
        return count / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The statistics of a server at one moment. Counts begin with the start of the server."""

    pid: int
    """The server's process."""
    path: Path
    """The path that callers connect to."""
    started: float
    """When the server began to serve, in seconds since 1970."""
    uptime: float
    """Seconds since the start of the server."""
    workers: int
    """Threads that serve."""
    callers_now: int
    """Callers connected now."""
    callers_ever: int
    """Callers that ever connected."""
    rejected: int
    """Clients that the server rejected."""
    calls: int
    """Requests of all endpoints, with and without a reply."""
    errors: int
    """Error replies of all endpoints."""
    endpoints: tuple[EndpointStats, ...]
    """A row per endpoint, by message type. The last row counts all message types without an endpoint."""
    callers: tuple[CallerStats, ...]
    """A row per connected caller, by its number. Of more than 4096 callers, only some have a row."""

    # Each snapshot's own. As a field it would be part of `asdict`, which copies and shows plain values only.
    _counts: ClassVar[StatsCounts]

    def since(self, earlier: Snapshot) -> Interval:
        """Return the difference to an earlier snapshot.

        If the earlier snapshot is of another server, or of an earlier run of this server, all counts of this snapshot
        are in the difference.
        """
        fields = self._counts.since(earlier._counts)
        fields["endpoints"] = _endpoints(fields["endpoints"])
        return Interval(**fields)


class Observer:
    """Reads the statistics of the server at a path. The server does not notice.

    Raises `SystemCallError`, an `OSError`, if no live server of this user publishes statistics there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Find the server."""
        self._observer = StatsObserver(path)

    def snapshot(self) -> Snapshot:
        """Read the statistics."""
        counts = self._observer.counts()
        fields = counts.totals()
        fields["endpoints"] = _endpoints(fields["endpoints"])
        fields["callers"] = tuple(_caller(row) for row in fields["callers"])
        taken = Snapshot(**fields)
        object.__setattr__(taken, "_counts", counts)
        return taken

    @property
    def is_live(self) -> bool:
        """Whether the server still lives."""
        return self._observer.is_live()


def servers() -> list[ServerEntry]:
    """Return the live servers of this user that publish statistics, the oldest first."""
    return [ServerEntry(*entry) for entry in live_servers()]


def snapshot(path: str | os.PathLike[str]) -> Snapshot:
    """Read the statistics of the server at a path once; an `Observer` reads them again and again.

    Raises `SystemCallError`, an `OSError`, if no live server of this user publishes statistics there.
    """
    return Observer(path).snapshot()


def _endpoints(rows: list[dict[str, Any]]) -> tuple[EndpointStats, ...]:
    for row in rows:
        row["errors_by_kind"] = {ErrorKind(number): count for number, count in row["errors_by_kind"].items()}
    return tuple(EndpointStats(**row) for row in rows)


def _caller(row: dict[str, Any]) -> CallerStats:
    row["forward"], row["reverse"] = RingFill(*row["forward"]), RingFill(*row["reverse"])
    return CallerStats(**row)
