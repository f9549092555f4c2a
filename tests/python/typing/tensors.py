"""Types of endpoints with tensors; mypy and pyright read this file, which never runs."""

from __future__ import annotations

from typing import TypeAlias, assert_type

import numpy as np

import tachyon
from tachyon import RpcBus, tachyon_rpc

Image: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Batch: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]


class Frame(tachyon.Struct):
    """A Struct with tensors."""

    image: Image
    depth: Batch | None = None


@tachyon_rpc(msg_type=1)
def scaled(image: Image, by: tachyon.f32 = 1.0) -> Image:
    """Take and give a tensor."""
    return image * np.float32(by)


@tachyon_rpc(msg_type=2)
def framed(images: list[Image]) -> list[Frame]:
    """Take and give tensors in lists and in Structs."""
    return [Frame(image=image) for image in images]


def calls(bus: RpcBus, image: Image, batch: Batch) -> None:
    """Arguments and replies have the types of the hints."""
    assert_type(scaled.call(bus, image, 2.0), Image)
    assert_type(framed.call(bus, [image])[0].image, Image)
    assert_type(framed.call(bus, [image])[0].depth, Batch | None)
    scaled.call(bus, np.zeros((2, 3), np.float32))
    Frame(image=image, depth=batch)
    scaled.call(bus, batch)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType, reportCallIssue]
    Frame(image=batch)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
