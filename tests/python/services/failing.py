"""Raw endpoints that fail in every way, and a few that do not."""

import os
import time

from services import serving
from tachyon import RpcDispatcher

kept: list[memoryview] = []
settings = serving.options()
dispatcher = RpcDispatcher(hide_error_text=settings.pop("hide_error_text", True))


@dispatcher.handler(msg_type=0)
def double(payload: memoryview) -> bytes:
    return payload.tobytes() * 2


@dispatcher.handler(msg_type=1)
def fails(payload: memoryview) -> bytes:
    raise ValueError("on purpose")


@dispatcher.handler(msg_type=2)
def exits(payload: memoryview) -> bytes:
    raise SystemExit("on purpose")


@dispatcher.handler(msg_type=3)
def no_bytes(payload: memoryview) -> bytes:
    return 7  # type: ignore[return-value]


@dispatcher.handler(msg_type=4)
def too_much(payload: memoryview) -> bytes:
    return bytes(1 << 20)


@dispatcher.handler(msg_type=5)
def keeps(payload: memoryview) -> bytes:
    kept.append(payload[1:])
    return b""


@dispatcher.handler(msg_type=6)
def buffers(payload: memoryview) -> bytes:
    return (b"b", bytearray(b"ba"), memoryview(b"mem"), payload, payload[1:])[payload[0]]  # type: ignore[return-value]


@dispatcher.handler(msg_type=7)
def forgets(payload: memoryview) -> bytes:
    kept[:] = [payload]
    return b"fine"


@dispatcher.handler(msg_type=8)
def hangs(payload: memoryview) -> bytes:
    time.sleep(2)
    return b""


@dispatcher.handler(msg_type=9)
def dies(payload: memoryview) -> bytes:
    os._exit(0)


@dispatcher.handler(msg_type=65534)
def highest(payload: memoryview) -> bytes:
    return b"highest"


if __name__ == "__main__":
    serving.serve(dispatcher, settings)
