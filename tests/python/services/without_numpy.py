"""A look at a Struct without numpy; the error of its dtype is printed."""

import inspect
import pydoc
import sys

# The import of numpy fails.
sys.modules["numpy"] = None  # type: ignore[assignment]

import tachyon  # noqa: E402


class Point(tachyon.Struct):
    x: tachyon.u32


if __name__ == "__main__":
    print("ready", flush=True)
    for inspected in (Point, Point(x=1)):
        assert not hasattr(inspected, "dtype")
        assert "x" in dir(inspected)
        assert dict(inspect.getmembers(inspected))["copy"]
        assert "copy" in pydoc.render_doc(inspected)
    try:
        Point.dtype  # noqa: B018
    except AttributeError as error:
        print(error)
