"""Handlers that fail, in a loop: the functions in the traceback of each failure are printed."""

import logging
import traceback

from services import serving
from tachyon import RpcDispatcher


class Show(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        assert record.exc_info is not None
        assert record.exc_info[1] is not None
        frames = traceback.extract_tb(record.exc_info[1].__traceback__)
        print([frame.name for frame in frames], flush=True)


dispatcher = RpcDispatcher()


@dispatcher.handler(msg_type=1)
async def later(payload: memoryview) -> bytes:
    raise ValueError("on purpose")


@dispatcher.handler(msg_type=2)
def now(payload: memoryview) -> bytes:
    raise ValueError("on purpose")


if __name__ == "__main__":
    logging.getLogger("tachyon").addHandler(Show())
    serving.serve(dispatcher)
