"""One side of one contender: grpcio over a Unix socket, with bytes and without a schema.

peer_grpc.py SIDE PATH CAPACITY HOW
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc
from rounds import PATIENCE, asked_items, drive_asks, drive_items, ready_for_good

OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def client(path: str) -> None:
    """Call a unary method."""
    with grpc.insecure_channel(f"unix:{path}", options=OPTIONS) as channel:
        grpc.channel_ready_future(channel).result(timeout=PATIENCE)
        echo = channel.unary_unary("/bench.Echo/Echo")
        drive_asks(lambda asked: partial(echo, asked))


def stream_client(path: str) -> None:
    """Take the replies of a method that streams them."""
    with grpc.insecure_channel(f"unix:{path}", options=OPTIONS) as channel:
        grpc.channel_ready_future(channel).result(timeout=PATIENCE)
        drive_items(channel.unary_stream("/bench.Echo/Items"))


def server(path: str) -> None:
    """Serve for ever."""

    def echo(request: bytes, _context: grpc.ServicerContext) -> bytes:
        return request

    def items(request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        return asked_items(request)

    handlers = grpc.method_handlers_generic_handler(
        "bench.Echo",
        {
            "Echo": grpc.unary_unary_rpc_method_handler(echo),
            "Items": grpc.unary_stream_rpc_method_handler(items),
        },
    )
    serving = grpc.server(ThreadPoolExecutor(max_workers=1), options=OPTIONS)
    serving.add_generic_rpc_handlers((handlers,))
    serving.add_insecure_port(f"unix:{path}")
    serving.start()
    ready_for_good()
    serving.wait_for_termination()


SIDES = {"client": client, "stream-client": stream_client, "server": server}

if __name__ == "__main__":
    SIDES[sys.argv[1]](sys.argv[2])
