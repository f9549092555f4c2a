"""The endpoints of `tests/src/kinds.rs`, which answer with every kind; with option `coroutines` in coroutines."""

import tachyon
from services import serving
from tachyon import ErrorKind, errors

CLASSES: dict[int, type[Exception]] = {
    ErrorKind.BAD_REQUEST: errors.BadRequestError,
    ErrorKind.INVALID_ARGUMENT: errors.RefusedArgumentError,
    ErrorKind.NOT_FOUND: errors.NotFoundError,
    ErrorKind.ALREADY_EXISTS: errors.AlreadyExistsError,
    ErrorKind.PERMISSION_DENIED: errors.PermissionDeniedError,
    ErrorKind.RESOURCE_EXHAUSTED: errors.ResourceExhaustedError,
    ErrorKind.FAILED_PRECONDITION: errors.FailedPreconditionError,
    ErrorKind.ABORTED: errors.AbortedError,
    ErrorKind.UNAVAILABLE: errors.UnavailableError,
    ErrorKind.UNAUTHENTICATED: errors.UnauthenticatedError,
}


class NoSensor(tachyon.EndpointError, text="no sensor {sensor}", kind=ErrorKind.NOT_FOUND):
    """There is none of this number."""

    sensor: tachyon.u32


class Busy(tachyon.EndpointError, text="busy", kind=ErrorKind.UNAVAILABLE):
    """Try later."""


class Broken(tachyon.EndpointError, text="broken"):
    """A fault."""


class Unlisted(tachyon.EndpointError, text="not among `raises`", kind=ErrorKind.ABORTED):
    pass


class NoUserError(errors.NotFoundError):
    """A class of the service, with parameters of its own."""

    def __init__(self, first: str, last: str) -> None:
        """Name the user that is missing."""
        super().__init__(f"no user {first} {last}")


class QuotaError(tachyon.TachyonError):
    reply_kind = ErrorKind.RESOURCE_EXHAUSTED


def refuse(kind: tachyon.u16, text: str) -> tachyon.u32:
    if kind in {ErrorKind.STOPPING, ErrorKind.UNREACHABLE}:
        error = errors.TachyonError(text)
        error.reply_kind = ErrorKind(kind)  # type: ignore[misc]
        raise error
    if kind:
        raise CLASSES[kind](text)
    return 7


def refuse_maybe(kind: tachyon.u16, text: str) -> tachyon.u32 | None:
    return refuse(kind, text)


def refuse_in_slot(kind: tachyon.u16, text: str) -> list[tachyon.u32]:
    return [refuse(kind, text)]


def find(sensor: tachyon.u32) -> tachyon.f64:
    match sensor:
        case 0:
            return 1.5
        case 1:
            raise Busy
        case 2:
            raise Broken
        case 1000:
            raise Unlisted
    raise NoSensor(sensor=sensor)


def refuse_raw(payload: memoryview) -> bytes:
    if payload[0]:
        refuse(payload[0], "raw")
    return bytes(payload)


def store(key: str) -> tachyon.u32:
    if key == "user":
        raise NoUserError("Ada", "L.")
    if key == "quota":
        raise QuotaError("of the day")
    if key == "subclass":
        raise ConnectionError("not of this package")
    raise errors.NotFoundError(f"no key {key}") if key else errors.ResourceExhaustedError("the store is full")


def main() -> None:
    settings = serving.options()
    dispatcher = tachyon.RpcDispatcher(hide_error_text=settings.pop("hide_error_text", False))
    made = serving.as_coroutine if settings.pop("coroutines", False) else lambda function: function
    for msg_type, function in enumerate([refuse, refuse_maybe, refuse_in_slot], start=1):
        dispatcher.handler(msg_type)(made(function))
    dispatcher.handler(4, raises=(NoSensor, Busy, Broken))(made(find))
    dispatcher.handler(5)(made(refuse_raw))
    dispatcher.handler(6)(made(store))
    serving.serve(dispatcher, settings)


if __name__ == "__main__":
    main()
