"""Write the input of the examples and the demo: tables of the package `vega_datasets`.

    python examples/python/demo_input.py .demo

`stocks.csv` has monthly prices of five stocks, `temperatures.f64` the temperature in Seattle at every hour of a year,
as little-endian doubles: 8,759 of them, 70,072 bytes.
"""

import csv
import shutil
import struct
import sys
from pathlib import Path

from vega_datasets import data  # type: ignore[import-untyped]

if len(sys.argv) != 2:  # noqa: PLR2004
    sys.exit("usage: demo_input.py DIRECTORY")
directory = Path(sys.argv[1])
directory.mkdir(parents=True, exist_ok=True)

shutil.copyfile(data.stocks.filepath, directory / "stocks.csv")

with Path(data.seattle_temps.filepath).open(newline="") as file:
    temperatures = [float(row["temp"]) for row in csv.DictReader(file)]
(directory / "temperatures.f64").write_bytes(struct.pack(f"<{len(temperatures)}d", *temperatures))

print(f"{directory}: the prices of five stocks, and {len(temperatures)} hourly temperatures")
