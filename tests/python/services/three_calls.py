"""A caller of three endpoints: the first two calls fail, the third stays in flight until standard input ends."""

import sys

import tachyon
from services import serving

if __name__ == "__main__":
    serving.ready()
    bus = tachyon.RpcBus.connect(serving.path())
    for number in (1, 2):
        try:
            with bus.wait(bus.call(b"", number, timeout=30)) as reply:
                assert reply.error_kind is not None
        except tachyon.RpcError:
            pass
    bus.call(b"", 3)
    print("called", flush=True)
    sys.stdin.readline()
