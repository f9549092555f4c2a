"""Arrays: so many values of one type, one after the other, where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast, overload

from tachyon._layout import Layout, change, use
from tachyon._tachyon import Memory
from tachyon.errors import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tachyon._layout import Json

_T = TypeVar("_T")


class Array(Memory, Sequence[_T]):
    """Values of one type in place: a field's, a request's or a reply's.

    `Annotated[Array[f64], 4]` is a field of four numbers; as a parameter or a result, `Array[f64]` is any number of
    them. Whatever is a sequence of such values can be assigned, passed and returned in its place. Items are read and
    written where they lie, slices are lists, and the buffer shows numbers as what they are: `numpy.asarray(array)`
    copies nothing.
    """

    __slots__ = ("_len", "_of")
    _of: Layout
    _len: int

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        """Refuse: an array is always a part of something."""
        message = "an Array is a view of a field, a request or a reply; wherever one is wanted, pass a list"
        raise TypeError(message)

    if TYPE_CHECKING:  # How checkers learn that any sequence can be assigned.

        def __get__(self, instance: object, owner: object) -> Self: ...
        def __set__(self, instance: object, value: Sequence[_T]) -> None: ...

    def __len__(self) -> int:
        """Count the values."""
        return self._len

    def _place(self, index: int) -> int:
        found = index + self._len if index < 0 else index
        if not 0 <= found < self._len:
            message = f"index {index} is out of an Array of {self._len}"
            raise IndexError(message)
        return found * self._of.size

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> list[_T]: ...
    def __getitem__(self, index: int | slice) -> _T | list[_T]:
        """Give one value, or a list of some."""
        if isinstance(index, slice):
            return [use(self, self._of, at * self._of.size) for at in range(*index.indices(self._len))]
        value: _T = use(self, self._of, self._place(index))
        return value

    def __setitem__(self, index: int, value: _T) -> None:
        """Write one value."""
        change(self, self._of, self._place(index), value, f"[{index}]")

    def __eq__(self, other: object) -> bool:
        """Compare value by value with any sequence."""
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        values: Sequence[Any] = other  # pyright: ignore[reportUnknownVariableType]
        return len(self) == len(values) and all(mine == theirs for mine, theirs in zip(self, values, strict=True))

    __hash__: ClassVar[None] = None  # type: ignore[assignment] # pyright: ignore[reportIncompatibleMethodOverride] - values change

    def __repr__(self) -> str:
        """Show the values as a list."""
        return repr(self[:])

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """Pickle the values."""
        return list, (self[:],)


def lend(view: memoryview, at: int, of: Layout, length: int) -> Array[Any]:
    """Give the values at `at`."""
    make: Any = Memory.__new__
    array: Array[Any] = make(Array, view, at, of.size * length, of.form)
    array._of, array._len = of, length  # pyright: ignore[reportPrivateUsage]
    return array


def fill(view: memoryview, at: int, of: Layout, values: Any, place: str) -> None:
    """Write each of the values, which are as many as there is room for."""
    size = of.size
    for index, value in enumerate(values):
        of.write(view, at + index * size, value, f"{place}[{index}]")


def copied(of: Layout, values: Any, place: str) -> memoryview:
    """Give the bytes of a sequence of any length."""
    if isinstance(values, Array) and values._of is of:  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
        return memoryview(bytes(cast("Memory", values)))
    count = length(values, place)
    view = memoryview(bytearray(count * of.size))
    fill(view, 0, of, values, place)
    return view


def length(values: Any, place: str) -> int:
    """Count what is to be written; text and the like is no sequence of values."""
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        message = f"{place} is a sequence of values, not {type(values).__name__}"
        raise TypeError(message)
    return len(values)


class ArrayLayout:
    """A number of values that is part of the type."""

    def __init__(self, of: Layout, length: int) -> None:
        """Hold `length` values of a type."""
        self.of = of
        self.length = length
        self.size = of.size * length
        self.align = of.align
        self.form = of.form
        self.total = of.total
        self.name = f"[{of.name}; {length}]"

    def read(self, view: memoryview, at: int) -> Array[Any]:
        view[:0].release()  # a window is made without a look at the memory, and this one may be gone
        return lend(view, at, self.of, self.length)

    def write(self, view: memoryview, at: int, value: Any, place: str) -> None:
        if (given := length(value, place)) != self.length:
            message = f"{place} is {self.length} values, and {given} were given"
            raise ValueError(message)
        # Read before any is written: they may be the same memory, and a bad one must not leave half of them.
        view[at : at + self.size] = copied(self.of, value, place)

    def check(self, view: memoryview, at: int, place: str) -> None:
        if not self.total:
            for index in range(self.length):
                self.of.check(view, at + index * self.of.size, f"{place}[{index}]")

    def describe(self) -> Json:
        return {"kind": "array", "of": self.of.describe(), "len": self.length}

    def dtype(self) -> Any:
        return self.of.dtype(), (self.length,)


def checked(view: memoryview, of: Layout, *, private: bool = False) -> Array[Any]:
    """Give a request of any number of values; copied first if it can be invalid, unless the memory is `private`."""
    count, rest = divmod(view.nbytes, of.size)
    if rest:
        message = f"{view.nbytes} bytes came, which is no multiple of the {of.size} of {of.name}"
        raise BadRequestError(message)
    if not of.total:
        view = view if private else memoryview(bytes(view))
        for index in range(count):
            of.check(view, index * of.size, f"[{index}]")
    return lend(view, 0, of, count)
