"""A caller of the model server. `model_caller.rs` prints the same.

python examples/python/model_caller.py SOCKET
"""

import sys

import numpy as np
from model_api import TooSmall, classify, labels

import tachyon

SIZE = 64


def draw() -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """Draw four images, each with one line."""
    images = np.zeros((4, SIZE, SIZE), np.float32)
    along = np.arange(SIZE)
    images[0, SIZE // 2] = 1
    images[1, :, SIZE // 2] = 1
    images[2, along, along] = 1
    images[3, along, SIZE - 1 - along] = 1
    return images


def main() -> None:
    """Classify a batch of images."""
    if len(sys.argv) == 1:
        sys.exit(f"usage: {sys.argv[0]} SOCKET")
    with tachyon.RpcBus.connect(sys.argv[1]) as bus:
        limited = bus.within(5)
        names = labels.call(limited)
        images = draw()
        scores = classify.call(limited, images, gain=100.0)
        for number, row in enumerate(scores):
            print(f"image {number}: {names[row.argmax()]}, score {row.max():.1f}")
        # Every second pixel: numpy's strides are copied to C order.
        coarse = classify.call(limited, images[:, ::2, ::2])
        print(f"{coarse.shape[0]} images of half the size, {coarse.shape[1]} scores each")
        try:
            classify.call(limited, images[:, :2])
        except TooSmall as error:
            print(error)


if __name__ == "__main__":
    main()
