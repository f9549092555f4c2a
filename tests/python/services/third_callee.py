"""Callees that come one after the other: two leave with their request, the third replies, and a fourth leaves."""

import time

import tachyon
from services import serving


def main(path: str) -> None:
    serving.ready()
    for reply in (False, False, True):
        with tachyon.RpcBus.listen(path, 4096, 4096) as bus, bus.serve() as request:
            if reply:
                bus.reply(request.correlation_id, b"third time", 1)
                try:
                    bus.serve()
                except (tachyon.PeerClosedError, tachyon.errors.BusyError):
                    time.sleep(0.2)
    with tachyon.RpcBus.listen(path, 4096, 4096) as bus, bus.serve():
        pass


if __name__ == "__main__":
    main(serving.path())
