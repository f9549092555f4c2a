"""Uploads a file to `upload_service.rs` in chunks, and shows how its conversion goes on.

python examples/python/upload_caller.py SOCKET FILE
"""

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import tachyon

CHUNK = 1 << 12


class Receipt(tachyon.Struct):
    """A file that was kept: its size, the items of the upload, and its checksum of CRC-32."""

    bytes: tachyon.u64
    chunks: tachyon.u32
    crc32: tachyon.u32


class Progress(tachyon.Struct):
    """How far a conversion is, in bytes."""

    done: tachyon.u64
    total: tachyon.u64


@tachyon.tachyon_rpc(msg_type=1)
def upload(name: str, items: Iterator[bytes]) -> Receipt:
    """Keep a file, and return its checksum."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=2)
def convert(name: str) -> Iterator[Progress]:
    """Convert a file with values between commas to one with tabs, and report the progress."""
    raise NotImplementedError


def send(bus: tachyon.RpcBus, file: Path) -> Receipt:
    """Upload a file, and compare the checksums."""
    checksum = 0
    # If reading fails, the block ends early. The service then keeps nothing.
    with upload.stream(bus, file.name, timeout=60) as stream, file.open("rb") as content:
        while chunk := content.read(CHUNK):
            checksum = zlib.crc32(chunk, checksum)
            if not stream.send(chunk):
                break  # the service has ended the stream, and `finish` raises its reason
        receipt = stream.finish()
    if receipt.crc32 != checksum:
        raise ValueError(f"the service got other bytes of {file} than were sent")
    return receipt


def main() -> None:
    """Upload a file, convert it, and give up an upload."""
    match sys.argv[1:]:
        case [socket, name]:
            file = Path(name)
        case _:
            sys.exit(f"usage: {sys.argv[0]} SOCKET FILE")
    with tachyon.RpcBus.connect(socket) as bus:
        receipt = send(bus, file)
        print(f"uploaded {receipt.bytes} bytes in {receipt.chunks} chunks")
        for progress in convert.stream(bus, file.name, item_timeout=5):
            print(f"converted {progress.done * 100 // max(progress.total, 1)} %")

        with upload.stream(bus, "half") as stream:
            stream.send(b"the first half")
        try:
            list(convert.stream(bus, "half"))
        except tachyon.errors.NotFoundError:
            print("nothing is kept of an upload that is given up")


if __name__ == "__main__":
    main()
