"""Numbers in several dimensions, as numpy arrays or as nested lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tachyon._layout import Layout

if TYPE_CHECKING:
    from tachyon._layout import Json, Nodes, Primitive, Types

MOST_DIMENSIONS = 8
"""As in Rust."""


class TensorLayout(Layout):
    """Numbers in a fixed number of dimensions."""

    is_fixed = False

    def __init__(self, of: Primitive, ndim: int, *, is_list: bool = False) -> None:
        """Hold values of a number type in `ndim` dimensions, shown as a numpy array, or as nested lists."""
        self.of = of
        self.ndim = ndim
        self.is_list = is_list
        self.name = f"tensor[{of.name}, {ndim}]"

    def node(self, nodes: Nodes) -> tuple[Any, ...]:  # noqa: ARG002
        if self.is_list:
            return "tensor", self.of.name, self.ndim, self.of.array_dtype, None
        import numpy as np  # noqa: PLC0415 - the hint is numpy's

        return "tensor", self.of.name, self.ndim, self.of.array_dtype, np.frombuffer

    def describe(self, types: Types) -> Json:  # noqa: ARG002
        return {"tensor": self.of.name, "ndim": self.ndim}
