"""The classes of `pickled_classes`, read from a file by a process that does not have them: `FILE OPTIONS`."""

import inspect
import pickle
import sys
from pathlib import Path
from typing import Any

# The file is read before `tachyon` is imported: unpickling must import the package.
data = Path(sys.argv[1]).read_bytes()
order, Order, Side, sides, levels = pickle.loads(data)

import tachyon  # noqa: E402
from tachyon._layout import Types  # noqa: E402

assert type(order) is Order
assert order.best() == 3.0
assert Order.__doc__ == "An order."
assert sides == [Side.BUY]
assert sides[0] is Side.BUY
(Level,) = levels
other = Order(levels=[Level(price=0.0), Level(price=0.5)], note="x").replace(side=Side.BUY, class_=1)
assert (other.side, other.class_, other.best(), order.class_) == (Side.BUY, 1, 0.5, 7)
assert Order.from_bytes(bytes(order)) == order
print("ready")
print(inspect.signature(Order))
try:
    order.note = "too long"
except ValueError as error:
    print(error)
try:
    Order.note = 1
except AttributeError as error:
    print(error)


def side_of(order: Any) -> Any:
    return order.side


side_of.__annotations__ = {"order": Order, "return": Side}
tachyon.tachyon_rpc(1)(side_of)

# Unpickling once more gives the same class, and an equal order.
again = pickle.loads(data)
assert again[1] is Order
assert again[0] == order
types = Types()
Order.__layout__.describe(types)
print(types.list)
