"""Listeners under a limit of memory: `PATH LIMIT OPTIONS`; the outcomes of a large and of a small ring are printed.

LIMIT is `file size`, `address space`, or the file `cgroup.procs` of a control group.
"""

import os
import resource
import signal
import sys
import threading
from pathlib import Path

from services import serving
from tachyon import Bus, TachyonError, TimedOutError
from tachyon.errors import SystemCallError

MIB = 1 << 20
LARGE = {"file size": 4 * MIB}
"""The capacity beyond the limit; 256 MiB unless named here."""


def limit(kind: str) -> None:
    if kind == "file size":
        # The default action of SIGXFSZ ends the process.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
    elif kind == "address space":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 200 * MIB, resource.RLIM_INFINITY))
    else:
        Path(kind).write_text(str(os.getpid()))


def connect(path: str) -> str:
    try:
        Bus.connect(path, timeout=5).close()
    except TachyonError as error:
        return type(error).__name__
    return "connected"


def listen(path: str, capacity: int) -> str:
    """Listen for a caller, since a listener takes the memory of a ring only for a caller."""
    connected: list[str] = []
    calling = threading.Thread(target=lambda: connected.append(connect(path)))
    calling.start()
    try:
        Bus.listen(path, capacity, timeout=10).close()
        outcome = "fine"
    except TimedOutError:
        outcome = "fine"
    except SystemCallError as error:
        outcome = "told" if "no memory" in str(error) else str(error)
    calling.join()
    return f"{outcome} {connected[0]}"


if __name__ == "__main__":
    serving.ready()
    limit(sys.argv[2])
    for capacity in (LARGE.get(sys.argv[2], 256 * MIB), 1 << 16):
        print(listen(serving.path(), capacity))
