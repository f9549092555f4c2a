"""The groups of contenders whose rounds interleave."""

from dataclasses import dataclass

from bench.contenders import (
    BULK,
    DISPATCH,
    ITEMS,
    LANGUAGES,
    MIB,
    PYTHON_BUS,
    RPC,
    RPC_LARGE,
    STREAM,
    Contender,
)


@dataclass(frozen=True)
class Group:
    """Contenders that are measured side by side."""

    key: str
    title: str
    contenders: tuple[Contender, ...]
    sizes: tuple[int, ...]
    stream: bool = False
    """Whether messages go one way and are timed as a stream."""
    capacity: int = 1 << 16
    """Payload bytes of each ring."""
    latency: int | None = None
    """The size whose calls are also timed one by one."""
    rates: tuple[int, ...] = ()
    """Fixed rates, in calls per second, for calls of that size, timed from the moment when they were due."""


GROUPS = (
    Group(
        "rpc",
        "Round trips from Rust to Rust",
        RPC,
        (8, 32, 64, 104, 176, 1024),
        latency=32,
        rates=(2_000, 100_000),
    ),
    Group("rpc-large", "Round trips of long payloads from Rust to Rust", RPC_LARGE, (1 << 16, MIB), capacity=4 * MIB),
    Group("stream", "One-way messages from Rust to Rust", STREAM, (32, 1024), stream=True),
    Group("items", "Streams of items", ITEMS, (32, 1024), stream=True),
    Group("bulk", "One-way payloads of 1 MiB", BULK, (MIB,), stream=True, capacity=4 * MIB),
    Group(
        "languages",
        "Round trips between Rust and Python",
        LANGUAGES,
        (32,),
        latency=32,
        rates=(1_000,),
    ),
    Group("python-bus", "One-way messages from Python to Python", PYTHON_BUS, (32,), stream=True),
    Group("dispatch", "Round trips over the number of endpoints", DISPATCH, (32,)),
)
