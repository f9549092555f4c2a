"""One attempt to connect with the options of the command line; prints the error and the seconds."""

import time

import tachyon
from services import serving

if __name__ == "__main__":
    serving.ready()
    began = time.monotonic()
    try:
        tachyon.RpcBus.connect(serving.path(), **serving.options())
    except tachyon.errors.HandshakeError as error:
        print(error)
    print(time.monotonic() - began)
