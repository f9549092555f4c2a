"""What the tests of misuse have in common: peers that are used correctly, and scripts of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

SENDER = """
with tachyon.Bus.connect(path) as bus:
    for n in range(1000):
        bus.send(bytes([n & 0xFF]) * 100, n)
"""

ECHO = """
import logging
logging.disable()
dispatcher = tachyon.RpcDispatcher()
dispatcher.handler(1)(lambda view: view.tobytes())
with tachyon.RpcBus.listen(path, 4096, 4096) as bus:
    dispatcher.serve_forever(bus)
"""


def run(script: str, path: str, *, limit: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own, in development mode, warnings being errors."""
    prelude = "import gc, os, sys, threading, time, types\nimport tachyon\npath = sys.argv[1]\n"
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", prelude + textwrap.dedent(script), path]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
