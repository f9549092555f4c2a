"""A listener under option `umask`; the mode of its socket file is printed. Option `listener` is an expression."""

import os
import threading
import time

from services import serving
from tachyon import Bus, RpcBus, RpcServer, TimedOutError

modes: list[str] = []


def look(path: str) -> None:
    while not os.path.lexists(path):
        time.sleep(0.001)
    time.sleep(0.05)
    modes.append(oct(os.lstat(path).st_mode & 0o7777))


def main(path: str, umask: int, listener: str) -> None:
    serving.ready()
    os.umask(umask)
    os.chmod(os.path.dirname(path), 0o700)
    looking = threading.Thread(target=look, args=(path,))
    looking.start()
    try:
        server = eval(listener, {"Bus": Bus, "RpcBus": RpcBus, "RpcServer": RpcServer, "path": path})
    except TimedOutError:
        server = None
    looking.join()
    print(*modes)
    del server


if __name__ == "__main__":
    main(serving.path(), **serving.options())
