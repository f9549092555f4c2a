"""An import of the package in a sub-interpreter, whose error is printed, and a connection in the main interpreter."""

import _xxsubinterpreters as interpreters  # type: ignore[import-not-found,unused-ignore]
import os
import threading

import tachyon
from services import serving

INNER = """
import os
try:
    import tachyon
    outcome = "imported"
except ImportError as error:
    outcome = str(error)
os.write({writer}, outcome.encode())
"""

if __name__ == "__main__":
    serving.ready()
    reader, writer = os.pipe()
    interpreters.run_string(interpreters.create(), INNER.format(writer=writer))
    print(os.read(reader, 1000).decode())
    # The main interpreter goes on with the package.
    connecting = threading.Thread(target=tachyon.Bus.connect, args=(serving.path(),))
    connecting.start()
    tachyon.Bus.listen(serving.path(), 4096).close()
    connecting.join()
