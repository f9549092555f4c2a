"""The forms of requests and replies: nothing, bytes, one value, fields, or values in msgpack."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from tachyon._array import ListLayout
from tachyon._hints import layout
from tachyon._layout import PRIMITIVES, HeadField, HeadLayout, Layout, OptionLayout, Types

if TYPE_CHECKING:
    from tachyon._tachyon import Plan

Kind: TypeAlias = Literal["empty", "view", "bytes", "bytearray", "value", "fields", "msgpack"]
Codec: TypeAlias = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
"""Encodes a value, and decodes a message. The value of a request is the tuple of the arguments."""


class Form(NamedTuple):
    """The form of a request or a reply; a value and fields have a layout, msgpack has a codec."""

    kind: Kind
    layout: Layout | None = None
    codec: Codec | None = None

    @property
    def is_raw(self) -> bool:
        """Whether the message is bytes without a declared type."""
        return self.kind in {"view", "bytes", "bytearray"}

    @property
    def parts(self) -> tuple[Kind, Plan | Codec | None]:
        """The form for the extension: its kind, and its plan or its codec."""
        return self.kind, self.codec if self.layout is None else self.layout.plan

    def describe(self, types: Types) -> dict[str, Any]:
        """Give the form for a description."""
        if self.layout is None:
            return {"form": self.kind if self.kind in {"empty", "msgpack"} else "bytes"}
        if isinstance(self.layout, HeadLayout) and self.kind == "fields":
            return {"form": "fields"} | self.layout.head(types)
        # A list of u8 is bytes, as `&[u8]` is in Rust.
        if isinstance(self.layout, ListLayout) and self.layout.of is PRIMITIVES["u8"]:
            return {"form": "bytes"}
        return {"form": "value", "type": self.layout.describe(types)}


EMPTY = Form("empty")
RAW = Form("view")


def form(hint: Any, place: str) -> Form:
    """Give the form of a whole request or reply, or raise naming the place of the hint."""
    if hint is None or hint is types.NoneType:
        return EMPTY
    if hint is memoryview or hint is object or hint is Any or getattr(hint, "__name__", "") == "Buffer":
        return RAW
    if hint is bytes or hint is bytearray:
        return Form("bytes" if hint is bytes else "bytearray")
    return whole(layout(hint, place))


def whole(found: Layout, name: str = "value", place: str = "the reply") -> Form:
    """Give the form of a message of one value. An option needs a head, which says whether the value is there."""
    if isinstance(found, OptionLayout):
        return Form("fields", HeadLayout(place, [HeadField(name, place, found)]))
    return Form("value", found)
