"""One typed endpoint: a text in upper case."""

import tachyon
from services import serving

dispatcher = tachyon.RpcDispatcher()


@dispatcher.handler(1)
def shout(text: str) -> str:
    return text.upper()


if __name__ == "__main__":
    serving.serve(dispatcher)
