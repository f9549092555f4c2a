"""The contract of `counted.py`, for its callers."""

from collections.abc import Iterator

import tachyon
from tachyon import tachyon_rpc


@tachyon_rpc(1)
def hold(token: str) -> str:
    raise NotImplementedError


@tachyon_rpc(2)
def echo(payload: bytes) -> bytes:
    raise NotImplementedError


@tachyon_rpc(3)
def run(token: str) -> str:
    raise NotImplementedError


@tachyon_rpc(4)
def items(token: str, count: tachyon.u32, size: tachyon.u32) -> Iterator[bytes]:
    raise NotImplementedError


@tachyon_rpc(5)
def taken(token: str, items: Iterator[bytes]) -> tachyon.u64:
    raise NotImplementedError


@tachyon_rpc(6)
def origin(payload: bytes) -> str:
    raise NotImplementedError
