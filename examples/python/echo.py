"""The shortest RPC program: one process serves a function, and another process calls it.

In two terminals, in any order (the caller waits up to five seconds for the callee):

    python examples/python/echo.py callee /tmp/tachyon-echo.sock
    python examples/python/echo.py caller /tmp/tachyon-echo.sock

Either process can also be the Rust program `examples/rust/echo.rs`.
"""

import sys

from tachyon import RpcBus, RpcDispatcher, tachyon_rpc


@tachyon_rpc(msg_type=1)
def echo(payload: memoryview) -> bytes:
    """Return the payload. The decorator adds `echo.call`, which calls the function in the peer."""
    return payload.tobytes()


def serve(socket: str) -> None:
    """Serve calls until the caller closes the connection."""
    print(f"waiting for a caller at {socket}")
    # Two rings of 64 KiB each: one for requests, one for replies.
    with RpcBus.listen(socket, 1 << 16, 1 << 16) as callee:
        RpcDispatcher().register(echo).serve_forever(callee)
    print("the caller is done")


def call(socket: str) -> None:
    """Call the function in the peer once."""
    with RpcBus.connect(socket) as caller:
        reply = echo.call(caller, b"hello tachyon")
    print(f"the callee says: {reply.decode()}")


match sys.argv[1:]:
    case ["callee", socket]:
        serve(socket)
    case ["caller", socket]:
        call(socket)
    case _:
        sys.exit("usage: echo.py callee|caller SOCKET")
