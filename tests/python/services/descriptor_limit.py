"""A server that can be left with a number of free descriptors."""

import os
import resource

from services import serving
from tachyon import RpcDispatcher

USUAL = resource.getrlimit(resource.RLIMIT_NOFILE)
filled: list[int] = []
dispatcher = RpcDispatcher()


@dispatcher.handler(msg_type=1)
def echo(payload: memoryview) -> bytes:
    return payload.tobytes()


@dispatcher.handler(msg_type=2)
def leave(payload: memoryview) -> bytes:
    """Leave so many descriptors, or with a negative number the usual limit."""
    left = int(bytes(payload))
    if left < 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, USUAL)
        while filled:
            os.close(filled.pop())
    else:
        # The opened files take the free numbers below the new limit.
        filled.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(64))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(filled) + 1 + left, USUAL[1]))
    return b""


if __name__ == "__main__":
    serving.serve(dispatcher)
