"""Tensors in handlers: arrays over the request, in place, read-only, with a shape, and exported by DLPack."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

import numpy as np
import pytest

import tachyon
import tachyon.testing
from programs import tachyon_command
from serving_thread import serving
from tachyon import ErrorKind, LayoutMismatchError, RpcBus, RpcDispatcher, RpcError, tachyon_rpc
from tachyon.errors import BadReplyError

Image: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float32]]

IMAGE = np.arange(6, dtype=np.float32).reshape(2, 3)


class Frame(tachyon.Struct):
    name: str
    image: Image
    mask: np.ndarray[tuple[int, int], np.dtype[np.uint8]] | None = None


def address(array: Any) -> int:
    return array.__array_interface__["data"][0]


def test_a_handler_gets_the_request_in_place() -> None:
    @tachyon_rpc(1)
    def looks(image: Image, frame: Frame) -> str:
        assert not image.flags.writeable
        assert image.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            image[0, 0] = 1
        assert frame.mask is not None
        addresses = [address(image), address(frame.image), address(frame.mask)]
        assert all(each % 8 == 0 for each in addresses)
        # The three lie in one message, in the order of the contract.
        assert addresses == sorted(addresses)
        assert addresses[-1] - addresses[0] < 1 << 12
        kept = frame.copy()
        assert kept.image.flags.writeable
        assert kept == frame
        return f"{image.dtype} {image.shape} {frame.mask.shape}"

    with tachyon.testing.serve(RpcDispatcher().register(looks)) as bus:
        frame = Frame(name="left", image=IMAGE.T, mask=[[1, 0]])  # type: ignore[arg-type]
        assert looks.call(bus, IMAGE, frame) == "float32 (2, 3) (1, 2)"


def test_a_handler_that_keeps_a_tensor_fails_its_call() -> None:
    kept: list[Any] = []

    @tachyon_rpc(1)
    def keeps(image: Image) -> None:
        kept.append(image)

    @tachyon_rpc(2)
    def copies(image: Image) -> None:
        kept.append(image.copy())

    with tachyon.testing.serve(RpcDispatcher().register(keeps).register(copies)) as bus:
        with pytest.raises(RpcError, match="the handler kept a view of the request"):
            keeps.call(bus, IMAGE)
        copies.call(bus, IMAGE)
    assert kept[1].tolist() == IMAGE.tolist()


def test_replies_and_requests_of_tasks_are_own(path: str) -> None:
    kept: list[Any] = []

    @tachyon_rpc(1)
    async def doubles(image: Image) -> Image:
        kept.append(image)
        await asyncio.sleep(0)
        return image * 2

    async def main() -> None:
        dispatcher = RpcDispatcher().register(doubles)
        with tachyon.RpcServer(path) as server:
            serving = asyncio.create_task(dispatcher.aserve(server))
            with await asyncio.to_thread(RpcBus.connect, path) as bus:
                reply = await doubles.acall(bus, IMAGE, timeout=10)
            reply += 1
            assert reply.tolist() == (2 * IMAGE + 1).tolist()
            serving.cancel()

    asyncio.run(main())
    assert kept[0].tolist() == IMAGE.tolist()


class Consumer:
    """A consumer of DLPack that knows no version 1, and so no read-only memory."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack__(self, stream: None = None) -> Any:
        return self._array.__dlpack__(stream=stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


def test_a_tensor_is_exported_with_its_shape_and_its_flag() -> None:
    @tachyon_rpc(1)
    def exports(image: Image) -> str:
        shared = np.from_dlpack(image)
        assert address(shared) == address(image)
        assert shared.shape == (2, 3)
        assert not shared.flags.writeable
        with pytest.raises(BufferError):
            np.from_dlpack(Consumer(image))
        assert np.from_dlpack(Consumer(image.copy())).tolist() == image.tolist()
        return "exported"

    @tachyon_rpc(2)
    def same(image: Image) -> Image:
        return image

    with tachyon.testing.serve(RpcDispatcher().register(exports).register(same)) as bus:
        assert exports.call(bus, IMAGE) == "exported"
        reply = same.call(bus, IMAGE)
        shared = np.from_dlpack(Consumer(reply))
        assert (address(shared), shared.tolist()) == (address(reply), IMAGE.tolist())
        # The request may come by DLPack, too, and need not be writable.
        assert same.call(bus, Consumer(reply)).tolist() == IMAGE.tolist()  # type: ignore[call-overload]


def test_the_two_sides_agree_on_the_number_of_dimensions_and_the_type() -> None:
    @tachyon_rpc(1)
    def sums(image: Image) -> tachyon.f64:
        return float(image.sum())

    def other(hint: Any) -> Any:
        def sums(image: Any) -> float: ...

        sums.__annotations__ = {"image": hint, "return": tachyon.f64}
        return tachyon_rpc(1)(sums)

    with tachyon.testing.serve(RpcDispatcher().register(sums)) as bus:
        for hint, here in (
            (np.ndarray[tuple[int, int, int], np.dtype[np.float32]], r"tensor\[f32, 3\]"),
            (np.ndarray[tuple[int, int], np.dtype[np.float64]], r"tensor\[f64, 2\]"),
            (np.ndarray[tuple[int, ...], np.dtype[np.float32]], r"list\[f32\]"),
        ):
            with pytest.raises(LayoutMismatchError, match=rf"is {here} here, tensor\[f32, 2\] at the callee"):
                other(hint).call(bus, [])
        assert sums.call(bus, IMAGE) == 15.0


def test_the_command_makes_no_more_lists_than_a_reader_needs(path: str) -> None:
    @tachyon_rpc(1)
    def many() -> np.ndarray[tuple[int, int, int, int], np.dtype[np.uint8]]:
        return np.zeros((1 << 20, 1, 1, 0), np.uint8)

    @tachyon_rpc(2)
    def few() -> np.ndarray[tuple[int, int, int, int], np.dtype[np.uint8]]:
        return np.zeros((2, 1, 1, 0), np.uint8)

    with serving(RpcDispatcher().register(many).register(few), path):
        refused = tachyon_command("call", path, "many")
        assert refused.returncode == 1
        assert "the shape [1048576, 1, 1, 0] is too long for lists" in refused.stderr
        assert tachyon_command("call", path, "few").stdout == "[[[[]]], [[[]]]]\n"


class Odd(np.ndarray[Any, Any]):
    """An array that shows another shape than that of its values."""

    shape = property(lambda _: (1, 2, 3))  # type: ignore[assignment]

    def view(self, *_: Any) -> Any:
        raise AssertionError


def test_a_subclass_is_sent_as_the_array_that_it_is() -> None:
    @tachyon_rpc(1)
    def sums(image: Image) -> tachyon.f64:
        return float(image.sum())

    with tachyon.testing.serve(RpcDispatcher().register(sums)) as bus:
        assert sums.call(bus, np.ndarray.view(IMAGE, Odd)) == 15.0
        with pytest.raises(ValueError, match="image has 2 dimensions, and this array has 1"):
            sums.call(bus, np.ndarray.view(IMAGE[0], Odd))


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


LIES = [
    (words(9, 9, 9), "the number of dimensions of {} is 2, and 9 came"),
    (words(2, 9), "{} has 16 bytes, and its shape of 2 dimensions has more"),
    (words(2, 1, 2), "{} gives its shape as [1, 2] of f32, and 0 bytes of values came"),
    (words(2, 1, 1, 0), "{} gives its shape as [1, 1] of f32, and 8 bytes of values came"),
    (words(2, 1 << 62, 4), "{} gives its shape as [4611686018427387904, 4] of f32, and 0 bytes of values came"),
    (words(2, 0, 1 << 62), "{} gives its shape as [0, 4611686018427387904] of f32, and 0 bytes of values came"),
]


def test_lies_of_either_peer_are_refused() -> None:
    lie = b""

    @tachyon_rpc(1)
    def sums(image: Image, by: tachyon.f64) -> tachyon.f64:
        return float(image.sum()) * by

    @tachyon_rpc(2)
    def lies() -> bytes:
        return lie

    @tachyon_rpc(2)
    def image() -> Image: ...  # type: ignore[empty-body]

    raw: Any = tachyon_rpc(1)(lambda payload: payload)
    with tachyon.testing.serve(RpcDispatcher().register(sums).register(lies)) as bus:
        for lie, text in LIES:
            # A pair at 4, the number at 16, and the part at 24.
            head = b"".join(word.to_bytes(4, "little") for word in (24, 24, len(lie), 0, 0, 0))
            with pytest.raises(RpcError) as raised:
                raw.call(bus, head + lie)
            assert raised.value.kind is ErrorKind.BAD_REQUEST
            assert raised.value.text == text.format("argument `image` of sums")
            with pytest.raises(BadReplyError, match="does not decode") as unread:
                image.call(bus)
            assert text.format("the reply") in str(unread.value)
        assert sums.call(bus, IMAGE, 2.0) == 30.0
