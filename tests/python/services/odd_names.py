"""A contract whose names, texts and nested arrays are hard for a code generator."""

from typing import Annotated

import tachyon
from services import serving
from tachyon import Array


class Kind(tachyon.IntEnum, repr="i16"):
    """Ends in a quote: "so"."""

    None_ = -1
    real_ = 2


class Inner(tachyon.Struct):
    copy_: tachyon.u64


class Odd(tachyon.Struct):
    """Backslash \\ and three quotes \"\"\".

    Second paragraph.
    """

    class_: tachyon.u32
    kind: Kind
    flag: tachyon.bool
    _pad: Annotated[bytes, 1] = tachyon.pad()
    inner: Annotated[Array[Annotated[Array[Inner], 1]], 2]
    text: Annotated[str, 5]
    raw: Annotated[bytes, 3]


dispatcher = tachyon.RpcDispatcher()


@dispatcher.handler(1)
def lambda_(odd: Odd) -> Odd:
    """Gives back what it gets."""
    return odd


@dispatcher.handler(2)
def Odd_(odds: Array[Odd]) -> Array[Kind]:  # noqa: N802
    return [odd.kind for odd in odds]  # type: ignore[return-value]


@dispatcher.handler(3)
def an_endpoint_whose_name_is_so_long_that_its_head_does_not_fit_on_one_line(odd: Odd) -> Odd:
    return odd


@dispatcher.handler(4)
def count() -> tachyon.u8:
    return 4


@dispatcher.handler(5)
def raw(payload: memoryview) -> bytes:
    return bytes(payload)


@dispatcher.handler(6)
def grid(numbers: Annotated[Array[tachyon.f32], 2]) -> None:
    assert list(numbers) == [1.0, 2.0]


if __name__ == "__main__":
    serving.serve(dispatcher)
