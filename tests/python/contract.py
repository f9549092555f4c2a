"""The contract of every form: its services in both languages, its caller in Rust, and values of its types.

`tests/src/contract.rs` holds the contract, `services/contract.py` serves the same contract, and the program `contract`
serves and calls it in Rust. The functions take the module that `tachyon codegen` writes for a callee.
"""

from __future__ import annotations

import math
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from programs import PYTHON, program
from tachyon import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 60.0
SERVICE = Path(__file__).parent / "services/contract.py"

WORDS = {"rust": ("", "panicked: "), "python": ("RuntimeError: ", "RuntimeError: ")}
"""The words before the text of an error that is not declared, and before the text of a panic."""


def command(language: str) -> list[str]:
    """Return the command of the service."""
    return [program("contract")] if language == "rust" else [*PYTHON, str(SERVICE)]


@contextmanager
def served(language: str, role: str, path: str, size: int = 1 << 16) -> Iterator[None]:
    """Serve one caller; its end is the end of the service."""
    arguments = [*command(language), role, path, str(size)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield
            _, err = process.communicate(timeout=LIMIT)
            assert (process.returncode, err) == (0, "")
        finally:
            process.kill()


def rust(*arguments: str) -> None:
    """Run the caller in Rust, which checks each reply."""
    process = subprocess.run(
        [program("contract"), *arguments], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def mark(api: Any) -> Any:
    return api.Mark(at=api.Point(x=0.5, y=-1.0), grade=api.Grade.Poor, valid=True)


def origin(api: Any, *, more: bool = True) -> Any:
    points = [api.Point(x=3.0, y=4.0)] if more else None
    return api.Origin(sensor="north", at=api.Point(x=1.0, y=2.0), more=points)


def scan(api: Any, points: int) -> Any:
    return api.Scan(
        taken_at=7,
        frame="grün",
        points=[api.Point(x=float(at), y=1.0) for at in range(points)],
        note="",
        marks=[mark(api)] * 2,
        tags=["a", "", "long " * 9],
        origin=origin(api),
        sources=[origin(api), origin(api, more=False)],
        rows=[[1, -2], [], [3]],
        complete=True,
        grade=api.Grade.Good,
        corrected=None,
    )


def empty(api: Any) -> Any:
    return api.Scan(
        taken_at=0,
        frame="",
        points=[],
        note=None,
        marks=[],
        tags=[],
        origin=api.Origin(sensor="", at=api.Point(x=0.0, y=0.0)),
        sources=[],
        rows=[],
        complete=False,
        corrected=origin(api),
    )


def frame(api: Any, height: int, width: int) -> Any:
    pixels = np.arange(height * width)
    return api.Frame(
        camera="left",
        image=pixels.astype(np.uint8).reshape(height, width),
        depth=(pixels / 2).astype(np.float32).reshape(height, width, 1),
        layers=[np.zeros((1, 1), np.uint64), np.zeros((0, 3), np.uint64)],
    )


def small(api: Any) -> Any:
    return api.Small(
        flag=True,
        grade=api.Grade.Good,
        text="grün",
        numbers=[1, 2, 3],
        names=["a", "bc"],
        marks=[mark(api)],
        maybe=api.Grade.Poor,
        inner=api.Origin(sensor="n", at=api.Point(x=1.0, y=2.0)),
    )


def forms(api: Any) -> dict[str, list[Any]]:
    """Return values for each endpoint that sends its argument back: empty, absent, beyond a slot, beyond 64 KiB."""
    one, poor = mark(api), api.Grade.Poor
    point = api.Point(x=1.0, y=-math.inf)
    lengths = (0, 1, 8, 116, 117, 5000)
    texts = ["é" * length for length in lengths] + ["\0\n\U0001f600", "x" * 100_000]
    data = [bytes(range(256)) * length for length in (0, 1, 30, 400)]
    names = [["n" * (at % 11) for at in range(length)] for length in (0, 1, 40, 9000)]
    marks = [[one] * length for length in (0, 1, 15, 5000)]
    rows = [[[0.25] * (at % 5) for at in range(length)] for length in (0, 1, 40, 5000)]
    flags = [[[True] * (at % 5) for at in range(length)] for length in (0, 1, 40, 5000)]
    whole = [empty(api), scan(api, 0), scan(api, 1), scan(api, 9000)]
    several: list[Any] = [[], [empty(api)], whole]
    shapes = [(0, 0), (2, 0), (1, 1), (2, 3), (40, 50)]
    images = [[[at / 2 + row for at in range(width)] for row in range(height)] for height, width in shapes]
    bytes_3 = [[[[at % 256] for at in range(width)] for _ in range(height)] for height, width in shapes]
    forms: dict[str, list[Any]] = {
        "value_u8": [0, 255],
        "value_u16": [0, 65535],
        "value_u32": [0, 2**32 - 1],
        "value_u64": [0, 2**64 - 1],
        "value_i8": [-128, 127],
        "value_i16": [-(2**15), 2**15 - 1],
        "value_i32": [-(2**31), 2**31 - 1],
        "value_i64": [-(2**63), 2**63 - 1],
        "value_f32": [-math.inf, 0.5],
        "value_f64": [sys.float_info.min, 0.1],
        "value_bool": [True, False],
        "value_enum": [poor, api.Grade.Good],
        "value_array": [[1, 2, 3]],
        "value_grid": [[[1, 2], [3, -4]]],
        "value_marks": [[one, one]],
        "value_point": [point],
        "value_mark": [one],
        "lent_u64": [7],
        "lent_bool": [True],
        "lent_enum": [poor],
        "lent_array": [[1, 2, 3]],
        "lent_point": [point],
        "lent_mark": [one],
        "text": texts,
        "owned_text": texts,
        "bytes": data,
        "owned_bytes": data,
        "numbers": [[0.5] * length for length in (0, 1, 40, 10_000)],
        "bools": [[True, False] * length for length in (0, 1, 150, 40_000)],
        "enums": [[poor] * length for length in (0, 1, 150, 40_000)],
        "points": [[point] * length for length in (0, 1, 30, 10_000)],
        "marks": marks,
        "arrays": [[b"\1\2\3"] * length for length in (0, 1, 100, 5000)],
        "owned_marks": marks,
        "texts": names,
        "owned_texts": names,
        "rows": rows,
        "owned_rows": flags,
        "deep_rows": [[], [[]], [names, []]],
        "scan": whole,
        "owned_scan": whole,
        "lent_scan": whole,
        "scans": several,
        "owned_scans": several,
        "maybe_u32": [None, 0, 2**32 - 1],
        "maybe_bool": [None, False, True],
        "maybe_enum": [None, poor],
        "maybe_array": [None, [1, 2, 3]],
        "maybe_mark": [None, one],
        "maybe_text": [None, *texts],
        "maybe_owned_text": [None, *texts],
        "maybe_numbers": [None, [], [1.0, 2.0]],
        "maybe_marks": [None, [], [one]],
        "maybe_owned_marks": [None, [], [one]],
        "maybe_texts": [None, *names],
        "maybe_scan": [None, *whole],
        "maybe_owned_scan": [None, *whole],
        "maybe_scans": [None, *several],
        "maybe_owned_scans": [None, *several],
        "origins": [[], [origin(api), origin(api, more=False)] * 30],
        "tensor": images,
        "owned_tensor": bytes_3,
        "tensors": [[], [[]], [[1, -2, 3], [], [4]]],
        "maybe_tensor": [None, *[[[image]] for image in images]],
        "frame": [frame(api, *shape) for shape in shapes],
    }
    return forms


def plain(value: Any) -> Any:
    """Return a reply like the sent values: arrays as lists, at any depth."""
    if isinstance(value, Array | np.ndarray | list):
        return [plain(each) for each in value]
    return value
