"""The shortest RPC program: one function, served by one process and called by another.

In two terminals, in any order (a caller waits five seconds for its callee):

    python examples/python/echo.py callee /tmp/tachyon-echo.sock
    python examples/python/echo.py caller /tmp/tachyon-echo.sock

Either of them may as well be the Rust program `examples/rust/echo.rs`.
"""

import sys

from tachyon import RpcBus, RpcDispatcher, tachyon_rpc


@tachyon_rpc(msg_type=1)
def echo(payload: memoryview) -> bytes:
    """Give the bytes back. It stays a plain function; the decorator adds `echo.call`, which runs it in the peer."""
    return payload.tobytes()


def serve(socket: str) -> None:
    """Answer calls until the caller closes."""
    print(f"waiting for a caller at {socket}")
    # Two rings of 64 KiB each: one for the requests, one for the replies.
    with RpcBus.listen(socket, 1 << 16, 1 << 16) as callee:
        RpcDispatcher().register(echo).serve_forever(callee)
    print("the caller is done")


def call(socket: str) -> None:
    """Call the peer's function once."""
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
