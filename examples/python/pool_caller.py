"""Eight threads share three connections to one server.

    python examples/python/pool_caller.py

Here the server is a thread, so that the example is one program. Usually it is another process.
"""

import asyncio
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

from tachyon import Pool, RpcDispatcher, RpcServer, tachyon_rpc

TEXTS = ("shared memory", "rings", "aeiou")


@tachyon_rpc(msg_type=1)
def vowels(text: memoryview) -> bytes:
    """Count the vowels of a text."""
    return str(sum(text.tobytes().lower().count(letter) for letter in (b"a", b"e", b"i", b"o", b"u"))).encode()


def call_often(pool: Pool, thread: int) -> int:
    """Make five hundred calls, each with a free caller of the pool."""
    for number in range(500):
        text = f"thread {thread} counts {number}".encode()
        if pool.call(vowels, text, timeout=5) != vowels(text):
            sys.exit(f"{text!r} got a wrong reply")
    return 500


async def count_all(pool: Pool) -> int:
    """Count in a task for each text. Each call has its own caller."""
    counted = await asyncio.gather(*(pool.acall(vowels, text.encode(), timeout=5) for text in TEXTS))
    return sum(map(int, counted))


def main() -> None:
    """Run the server and the threads that call it."""
    with tempfile.TemporaryDirectory() as directory, RpcServer(f"{directory}/pool.sock") as server:
        service = threading.Thread(target=RpcDispatcher().register(vowels).serve_forever, args=(server,))
        service.start()

        # The pool connects callers when they are needed, at most three.
        with Pool(server.path, max_size=3, timeout=5) as pool:
            with ThreadPoolExecutor(8) as threads:
                calls = sum(threads.map(lambda thread: call_often(pool, thread), range(8)))
            print(f"{calls} calls by 8 threads over {len(pool)} connections")

            # A thread takes a caller for several calls in a row, or to read replies in place.
            with pool.caller() as caller:
                for text in TEXTS:
                    print(f"{text}: {vowels.call(caller, text.encode(), timeout=1).decode()} vowels")

            # An event loop waits in the same queue as the threads.
            print(f"together: {asyncio.run(count_all(pool))} vowels")

        server.stop()
        service.join()


if __name__ == "__main__":
    main()
