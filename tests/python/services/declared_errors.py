"""Endpoints that raise declared, undeclared and other errors; with option `coroutines` in a coroutine function."""

from collections.abc import Callable

import tachyon
from services import serving


class NoSensor(tachyon.EndpointError, text="no sensor {sensor}"):
    """There is no such sensor."""

    sensor: tachyon.u32


class Busy(tachyon.EndpointError):
    pass


class Broken(tachyon.EndpointError, text="{where} is broken: {parts}"):
    where: str
    parts: list[str]
    since: tachyon.f64 | None = None


class Unlisted(tachyon.EndpointError, text="nothing knows of {what}"):
    what: str


def undeclared() -> tachyon.EndpointError:
    """Make an error whose class has the name of a declared one."""

    class NoSensor(tachyon.EndpointError, text="no sensor called {label}"):
        label: str

    return NoSensor(label="front")


RAISED: dict[str, Callable[[int], Exception]] = {
    "missing": lambda sensor: NoSensor(sensor=sensor),
    "busy": lambda _: Busy(),
    "broken": lambda _: Broken(where="röhre", parts=["a", "b"]),
    "unlisted": lambda _: Unlisted(what="this"),
    "undeclared": lambda _: undeclared(),
    "long": lambda _: Broken(where="x" * 3000, parts=["y" * 600]),
    "longest": lambda _: Broken(where="x" * 5000, parts=[]),
    "failed": lambda _: LookupError("on purpose"),
}


def read(sensor: tachyon.u32, how: str) -> tachyon.f64:
    if how in RAISED:
        raise RAISED[how](sensor)
    return sensor / 2


def raw(payload: memoryview) -> bytes:
    raise NoSensor(sensor=len(payload))


def plain(payload: memoryview) -> bytes:
    raise NoSensor(sensor=1)


def main() -> None:
    settings = serving.options()
    dispatcher = tachyon.RpcDispatcher(hide_error_text=settings.pop("hide_error_text", False))
    made = serving.as_coroutine(read) if settings.pop("coroutines", False) else read
    dispatcher.handler(4, raises=(NoSensor, Busy, Broken))(made)
    dispatcher.handler(1, raises=(NoSensor,))(raw)
    dispatcher.handler(2)(plain)
    serving.serve(dispatcher, settings)


if __name__ == "__main__":
    main()
