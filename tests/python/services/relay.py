"""Handlers that call another service, and pass the trace of their call on: `relay SOCKET WAY NEXT OPTIONS`."""

from __future__ import annotations

import sys

import tachyon
from services import serving
from tachyon import layers, tachyon_rpc


class PassesTrace(layers.CallerLayer):
    def before(self, call: layers.OutgoingCall, /) -> None:
        received = tachyon.current_call().metadata
        call.add_metadata("token", "open")
        if "traceparent" in received:
            call.add_metadata("traceparent", received["traceparent"])


@tachyon_rpc(msg_type=1)
def metadata(key: str) -> str | None:
    raise NotImplementedError


dispatcher = tachyon.RpcDispatcher()
pool = tachyon.Pool(sys.argv[3], 4).layer(PassesTrace())


@dispatcher.handler(1)
def plain(key: str) -> str | None:
    return pool.call(metadata, key)


if "loop" in sys.argv[2]:

    @dispatcher.handler(2)
    async def awaiting(key: str) -> str | None:
        return await pool.acall(metadata, key)


if __name__ == "__main__":
    serving.serve(dispatcher)
