"""Generated from a callee's description by `tachyon codegen python`."""

import tachyon


class Point(tachyon.Struct):
    x: tachyon.f32
    y: tachyon.f32


class Scan(tachyon.Struct):
    """One turn of a sensor."""

    taken_at: tachyon.u64
    frame: str
    points: tachyon.Array[Point]
    note: str | None = None


class Side(tachyon.IntEnum, repr="u8"):
    """Left or right."""

    Left = 1
    Right = 2


class NoSensor(tachyon.EndpointError, text="NoSensor: sensor {sensor}"):
    """No such sensor."""

    sensor: tachyon.u32
    side: Side


class Busy(tachyon.EndpointError, text="Busy"):
    pass


class Mount(tachyon.Struct):
    scan: Scan
    at: Point
    type: Side


class Self(tachyon.EndpointError, text="Self"):
    pass


class FindAllErrors:
    """The errors of `find_all` whose names are taken."""

    class Busy(tachyon.EndpointError, text="Busy"):
        """Try again."""

        seconds: tachyon.f32 | None = None

    class Side(tachyon.EndpointError, text="Side"):
        pass


class AnErrorWithALongName(tachyon.EndpointError, text="AnErrorWithALongName"):
    pass


class AnotherErrorWithALongName(
    tachyon.EndpointError, text="AnotherErrorWithALongName"
):
    pass


class AndYetAnother(tachyon.EndpointError, text="AndYetAnother"):
    pass


@tachyon.tachyon_rpc(msg_type=4, raises=(NoSensor, Busy))
def filter(scan: Scan, radius: tachyon.f32, tags: tachyon.Array[tachyon.u32]) -> Scan:
    """Leaves out points."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=5, raises=(Self, FindAllErrors.Busy, FindAllErrors.Side))
def find_all(
    note: str | None,
    names: list[str],
    at: Point,
    class_: bytes,
    near: Point | None = None,
    mount: Mount | None = None,
) -> list[Scan] | None:
    """Errors whose names are no class names arrive untyped: None."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=6, raises=(Busy,))
def names(request: str) -> list[str]:
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=7, raises=(Self,))
def mount(request: Mount) -> None:
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=8)
def a_function_of_a_rather_long_name(
    first_argument: tachyon.u64, second: tachyon.u64
) -> bytes:
    raise NotImplementedError


@tachyon.tachyon_rpc(
    msg_type=9, raises=(AnErrorWithALongName, AnotherErrorWithALongName, AndYetAnother)
)
def scans(request: list[Scan]) -> tachyon.u32:
    raise NotImplementedError
