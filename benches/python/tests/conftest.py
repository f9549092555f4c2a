import sys
from pathlib import Path

HERE = Path(__file__).parent.parent
# Programs to run, no installed package.
sys.path[:0] = [str(HERE), str(HERE / "contenders")]
