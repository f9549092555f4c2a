"""The contract of the model server. The trait in `model_caller.rs` is the same contract in Rust."""

from typing import TypeAlias

import numpy as np

import tachyon

Images: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.float32]]
"""Grey images: their number, their rows, their columns."""
Scores: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float32]]
"""One row for each image, one column for each label."""


class TooSmall(tachyon.EndpointError, text="an image has {rows} x {columns} pixels, and the model needs 3 x 3"):
    """An image is smaller than the filters of the model."""

    rows: tachyon.u64
    columns: tachyon.u64


@tachyon.tachyon_rpc(msg_type=1)
def labels() -> list[str]:
    """Return the labels of the model, in the order of the scores."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=2, raises=(TooSmall,))
def classify(images: Images, gain: tachyon.f32 | None = None) -> Scores:
    """Return the scores of a batch of images, multiplied by `gain`."""
    raise NotImplementedError
