import sys
from pathlib import Path

HERE = Path(__file__).parent.parent
# The package `bench` is not installed.
sys.path[:0] = [str(HERE), str(HERE / "contenders")]
