"""Values that the package takes while another import of numpy is not finished."""

import array
import sys
import types
from typing import Any

# Both modules exist and are empty.
sys.modules["numpy"] = types.ModuleType("numpy")
sys.modules["numpy.ma"] = types.ModuleType("numpy.ma")

import tachyon  # noqa: E402


class Held(tachyon.Struct):
    a: tachyon.u64 = 0
    b: tachyon.f64 = 0.0
    c: tachyon.bool = False
    d: tachyon.Array[tachyon.i64] = []  # type: ignore[assignment]


class Series(list[int]):
    """As a series of pandas."""

    def __array__(self) -> Any: ...


if __name__ == "__main__":
    print("ready", flush=True)
    for name in ("a", "b", "c"):
        try:
            Held(**{name: "x"})  # type: ignore[arg-type]
        except TypeError as error:
            print(error)
    for values in (array.array("q", [3]), Series([3])):
        print(Held(d=values).d)
