"""Serve endpoints in Rust and in Python from one table. The endpoints in Rust run without the GIL.

    python extension_service.py SOCKET [WORKERS]

The extension module in `examples/python-extension` has the endpoints in Rust.
"""

import sys

import pricing

from tachyon import RpcDispatcher, RpcServer, tachyon_rpc


@tachyon_rpc(msg_type=10)
def shout(text: bytes) -> bytes:
    """Returns the text in capitals; this endpoint is in Python."""
    return text.upper()


def main(path: str, workers: int = 1) -> None:
    """Serve until a caller calls `stop`."""
    with RpcServer(path) as server:
        dispatcher = RpcDispatcher()
        for endpoint in (pricing.keep, pricing.latest, pricing.mean, pricing.running_sum, shout):
            dispatcher.register(endpoint)

        @dispatcher.handler(msg_type=11)
        def stop() -> None:
            """Stops the service."""
            server.stop()

        print(f"{len(dispatcher)} endpoints at {path}", flush=True)
        dispatcher.serve_forever(server, workers=workers)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
