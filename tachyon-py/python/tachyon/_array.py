"""Lists of values of one type: in place, as a Python list, or as a numpy array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, overload

from tachyon._layout import Layout
from tachyon._tachyon import Items

if TYPE_CHECKING:
    from collections.abc import Callable

    from tachyon._layout import Json, Nodes, Types

_T = TypeVar("_T")


class Array(Items, Sequence[_T]):
    """Values of one type, in place in a field, a request or a reply.

    `Annotated[Array[f64], 4]` is four numbers; `Array[f64]` is any number of them. A list of such values, and an array
    of exactly that type, can be assigned, passed and returned instead. Items are read and written in place, slices are
    lists, and the buffer has the numbers' own format: `numpy.asarray(array)` copies nothing.
    """

    __slots__ = ()

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        """Refuse: an array is always a view of other memory."""
        message = "an Array is a view of a field, a request or a reply; pass a list instead"
        raise TypeError(message)

    if TYPE_CHECKING:  # Any sequence can be assigned.

        def __get__(self, instance: object, owner: object) -> Self: ...
        def __set__(self, instance: object, value: Sequence[_T]) -> None: ...
        def __len__(self) -> int: ...
        @overload
        def __getitem__(self, index: int) -> _T: ...
        @overload
        def __getitem__(self, index: slice) -> list[_T]: ...
        def __getitem__(self, index: int | slice) -> _T | list[_T]: ...
        def __setitem__(self, index: int, value: _T) -> None: ...

    def __eq__(self, other: object) -> bool:
        """Compare value by value with any sequence."""
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        values: Sequence[Any] = other  # pyright: ignore[reportUnknownVariableType]
        return len(self) == len(values) and all(mine == theirs for mine, theirs in zip(self, values, strict=True))

    # Values change.
    __hash__: ClassVar[None] = None  # type: ignore[assignment] # pyright: ignore[reportIncompatibleMethodOverride]

    def __repr__(self) -> str:
        """Show the values as a list."""
        return repr(self[:])

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """Pickle the values."""
        return list, (self[:],)


class ArrayLayout(Layout):
    """A fixed number of values."""

    def __init__(self, of: Layout, length: int) -> None:
        """Hold `length` values of a type."""
        self.of = of
        self.length = length
        self.form = of.form
        self.name = f"[{of.name}; {length}]"

    def node(self, nodes: Nodes) -> tuple[Any, ...]:
        return "array", nodes.of(self.of), self.length, self.of.array_dtype, Array, self.form

    def describe(self, types: Types) -> Json:
        return {"kind": "array", "of": self.of.describe(types), "len": self.length}

    def dtype(self) -> Any:
        return self.of.dtype(), (self.length,)


Shown = Literal["array", "list", "numpy", "bytes", "memoryview"]


class ListLayout(Layout):
    """Any number of values."""

    is_fixed = False

    def __init__(self, of: Layout, shown: Shown, dtype: Any = None) -> None:
        """Hold any number of values of a type, `shown` as a Python type; numpy needs a `dtype`."""
        self.of = of
        self.shown = shown
        self._dtype = dtype
        self.name = f"list[{of.name}]"

    def node(self, nodes: Nodes) -> tuple[Any, ...]:
        of = nodes.of(self.of)
        dtype = self.of.array_dtype if self.of.is_fixed else None
        if self.shown == "array":
            return "list", of, "array", dtype, Array, self.of.form
        if self.shown == "numpy":
            import numpy as np  # noqa: PLC0415 - the hint is numpy's

            own = self._dtype
            return "list", of, "numpy", lambda: own, np.frombuffer
        return "list", of, self.shown, dtype

    def describe(self, types: Types) -> Json:
        return {"list": self.of.describe(types)}
