"""A model behind a server: one convolution, in numpy, which sees lines in grey images.

python examples/python/model_server.py SOCKET

The images lie where the caller wrote them: numpy computes on the shared memory.
"""

import sys

import numpy as np
from model_api import Images, Scores, TooSmall

import tachyon

FILTERS = {
    "horizontal": [[-1, -1, -1], [2, 2, 2], [-1, -1, -1]],
    "vertical": [[-1, 2, -1], [-1, 2, -1], [-1, 2, -1]],
    "falling": [[2, -1, -1], [-1, 2, -1], [-1, -1, 2]],
    "rising": [[-1, -1, 2], [-1, 2, -1], [2, -1, -1]],
}
"""One filter for each label."""

WEIGHTS = np.array(list(FILTERS.values()), np.float32)
SIZE = 3
"""The rows and the columns of a filter."""

dispatcher = tachyon.RpcDispatcher()


@dispatcher.handler(msg_type=1)
def labels() -> list[str]:
    """Return the labels of the model, in the order of the scores."""
    return list(FILTERS)


@dispatcher.handler(msg_type=2, raises=(TooSmall,))
def classify(images: Images, gain: tachyon.f32 | None = None) -> Scores:
    """Return the scores of a batch of images, multiplied by `gain`."""
    _, rows, columns = images.shape
    if min(rows, columns) < SIZE:
        raise TooSmall(rows=rows, columns=columns)
    windows = np.lib.stride_tricks.sliding_window_view(images, (SIZE, SIZE), axis=(1, 2))
    activations = np.maximum(np.einsum("nrcij,lij->nlrc", windows, WEIGHTS), 0)
    means: Scores = activations.mean(axis=(2, 3))
    return means if gain is None else means * np.float32(gain)


def main() -> None:
    """Serve any number of callers until Ctrl-C."""
    if len(sys.argv) == 1:
        sys.exit(f"usage: {sys.argv[0]} SOCKET")
    # Each caller sends batches of up to 4 MiB.
    with tachyon.RpcServer(sys.argv[1], forward=1 << 22) as server:
        print(f"serving at {sys.argv[1]}", flush=True)
        try:
            dispatcher.serve_forever(server)
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
