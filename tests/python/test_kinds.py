"""Kinds of a handler's errors: raised as classes, caught as the same classes, in both languages."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from calling import by_acall, by_call, by_pool
from generated import load
from programs import program
from programs import tachyon as command
from services.kinds import CLASSES, Broken, Busy, NoSensor, NoUserError
from tachyon import EndpointError, ErrorKind, HandlerError, RpcBus, RpcError, errors, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Peer

LIMIT = 60.0

BUILTINS: dict[type[Exception], type[Exception]] = {
    errors.RefusedArgumentError: ValueError,
    errors.NotFoundError: LookupError,
    errors.AlreadyExistsError: ValueError,
    errors.PermissionDeniedError: PermissionError,
    errors.ResourceExhaustedError: RuntimeError,
    errors.FailedPreconditionError: RuntimeError,
    errors.AbortedError: RuntimeError,
    errors.UnavailableError: ConnectionError,
    errors.UnauthenticatedError: PermissionError,
}


@tachyon_rpc(1)
def refuse(kind: tachyon.u16, text: str) -> tachyon.u32: ...  # type: ignore[empty-body]


@tachyon_rpc(2)
def refuse_maybe(kind: tachyon.u16, text: str) -> tachyon.u32 | None: ...


@tachyon_rpc(4, raises=(NoSensor, Busy, Broken))
def find(sensor: tachyon.u32) -> tachyon.f64: ...  # type: ignore[empty-body]


@tachyon_rpc(5)
def refuse_raw(payload: memoryview) -> bytes: ...  # type: ignore[empty-body]


@tachyon_rpc(6)
def store(key: str) -> tachyon.u32: ...  # type: ignore[empty-body]


SERVED: dict[str, tuple[str, dict[str, Any]]] = {
    "server": ("server", {}),
    "bus": ("bus", {}),
    "loop": ("loop", {"coroutines": True}),
    "plain in a loop": ("loop", {}),
}


@contextmanager
def served_in_rust(role: str, path: str, *options: str) -> Iterator[None]:
    with subprocess.Popen([program("kinds"), role, path, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield
        finally:
            process.kill()


def catch_every_kind(call: Any) -> None:
    for kind, cls in CLASSES.items():
        if kind == ErrorKind.BAD_REQUEST:
            continue
        with pytest.raises(cls) as raised:
            call(refuse, kind, "why")
        error: Any = raised.value
        assert type(error) is cls
        assert isinstance(error, BUILTINS[cls])
        assert isinstance(error, HandlerError)
        assert (error.kind, error.text, error.name, error.msg_type) == (kind, "why", "", 1)
        assert not error.safe_to_retry
        assert str(error).endswith(": why")
        assert "msg_type 1" in str(error)
        with pytest.raises(cls):
            call(refuse_maybe, kind, "")
        with pytest.raises(cls) as raw:
            call(refuse_raw, bytes([kind]))
        assert getattr(raw.value, "text", None) == "", "raw endpoints send no text"
        assert call(refuse, 0, "") == 7
    with pytest.raises(RpcError) as refused:
        call(refuse, ErrorKind.BAD_REQUEST, "why")
    assert (type(refused.value), refused.value.kind, refused.value.text) == (RpcError, ErrorKind.BAD_REQUEST, "why")
    assert refused.value.safe_to_retry
    with pytest.raises(errors.NotFoundError) as missing:
        call(store, "a")
    assert missing.value.text == "no key a"
    with pytest.raises(NoSensor) as declared:
        call(find, 3)
    assert (declared.value.kind, declared.value.sensor) == (ErrorKind.NOT_FOUND, 3)
    with pytest.raises(Busy) as busy:
        call(find, 1)
    assert busy.value.kind is ErrorKind.UNAVAILABLE
    with pytest.raises(Broken) as broken:
        call(find, 2)
    assert broken.value.kind is ErrorKind.HANDLER_FAILED
    assert call(find, 0) == 1.5


@pytest.mark.parametrize("served", SERVED)
def test_python_calls_python(service: Callable[..., Peer], served: str, connected: Callable[..., Any]) -> None:
    way, options = SERVED[served]
    callee = service("kinds", way, log="INFO", **options)
    ways = [by_call] if way == "bus" else [by_call, by_acall, by_pool]
    for each in ways:
        catch_every_kind(connected(each))
    if way == "bus":
        return
    call = connected(by_call)
    with pytest.raises(errors.AbortedError) as unlisted:
        call(find, 1000)
    assert (unlisted.value.name, unlisted.value.text) == ("Unlisted", "not among `raises`")
    assert not isinstance(unlisted.value, EndpointError)
    with pytest.raises(errors.NotFoundError) as user:
        call(store, "user")
    assert (type(user.value), user.value.text) == (errors.NotFoundError, "no user Ada L.")
    with pytest.raises(errors.ResourceExhaustedError) as quota:
        call(store, "quota")
    assert quota.value.text == "of the day"
    # A handler that runs cannot promise that the call has not begun.
    with pytest.raises(errors.UnavailableError) as stopping:
        call(refuse, ErrorKind.STOPPING, "relayed")
    assert not stopping.value.safe_to_retry
    # The only failure: a builtin exception says nothing about the request.
    with pytest.raises(HandlerError) as failed:
        call(store, "subclass")
    assert (type(failed.value), failed.value.kind) == (HandlerError, ErrorKind.HANDLER_FAILED)
    assert failed.value.text == "ConnectionError: not of this package"
    assert call(refuse, 0, "") == 7
    callee.process.kill()
    reported, _ = callee.process.communicate()
    assert reported.count("ERROR") == reported.count("Traceback") == 1
    assert "not of this package" in reported


@pytest.mark.parametrize("role", ["server", "tokio"])
@pytest.mark.parametrize("way", [by_call, by_acall, by_pool])
def test_python_calls_rust(role: str, way: Any, path: str, connected: Callable[..., Any]) -> None:
    with served_in_rust(role, path, *(["false"] if role == "server" else [])):
        catch_every_kind(connected(way))


@pytest.mark.parametrize("way", [by_call, by_acall, by_pool])
def test_an_unreachable_callee_is_a_connection_error_of_a_call_that_was_not_sent(
    way: Any, path: str, connected: Callable[..., Any]
) -> None:
    with served_in_rust("server", path, "false"):
        call = connected(way)
        with pytest.raises(
            errors.UnreachableError, match=r"a proxy has no connection to the callee .*: away"
        ) as raised:
            call(refuse, ErrorKind.UNREACHABLE, "away")
        error = raised.value
        assert (error.kind, error.text, error.msg_type, error.safe_to_retry) == (18, "away", 1, True)
        assert isinstance(error, ConnectionError)
        assert not isinstance(error, HandlerError)
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert (type(again), str(again), again.kind) == (errors.UnreachableError, str(error), error.kind)
        assert call(refuse, 0, "") == 7


@pytest.mark.parametrize("served", SERVED)
@pytest.mark.parametrize("hidden", [False, True])
def test_rust_calls_python(service: Callable[..., Peer], served: str, path: str, hidden: bool) -> None:
    way, options = SERVED[served]
    service("kinds", way, hide_error_text=hidden, quiet=True, **options)
    process = subprocess.run(
        [program("kinds"), "call", path, json.dumps(hidden)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_the_kind_goes_through_a_callee_between(
    service: Callable[..., Peer], peer: Callable[..., Peer], path: str
) -> None:
    """A handler that lets the error of its own callee through answers with the same kind and text."""
    service("kinds", "server", at=f"{path}.behind")
    middle = peer("""
        from test_kinds import refuse
        dispatcher = tachyon.RpcDispatcher()
        with tachyon.RpcBus.connect(f"{path}.behind") as behind:
            @dispatcher.handler(1)
            def relayed(kind: tachyon.u16, text: str) -> tachyon.u32:
                return refuse.call(behind, kind, text)
            with tachyon.RpcBus.listen(path, 1 << 16, 1 << 16) as bus:
                dispatcher.serve_forever(bus)
    """)
    with RpcBus.connect(path) as bus:
        for kind, cls in CLASSES.items():
            if kind == ErrorKind.BAD_REQUEST:
                # The request of the handler was wrong, and not that of its caller.
                with pytest.raises(HandlerError) as failed:
                    refuse.call(bus, kind, "why")
                assert failed.value.kind is ErrorKind.HANDLER_FAILED
            else:
                with pytest.raises(cls) as raised:
                    refuse.call(bus, kind, "why")
                assert getattr(raised.value, "text", None) == "why"
    middle.process.wait(LIMIT)
    middle.process.communicate()


def test_a_pool_and_a_bus_stay_usable_after_unavailable(service: Callable[..., Peer], path: str) -> None:
    """A `ConnectionError` of a handler says nothing about the connection."""
    service("kinds", "server")
    with tachyon.Pool(path, 1) as pool, RpcBus.connect(path, reconnect=True) as bus:
        for call in (pool.call, lambda endpoint, *given: endpoint.call(bus, *given)):
            for _ in range(3):
                with pytest.raises(errors.UnavailableError):
                    call(refuse, ErrorKind.UNAVAILABLE, "later")
                assert call(refuse, 0, "") == 7


def test_the_command_line_prints_the_kind(service: Callable[..., Peer], path: str, tmp_path: Path) -> None:
    service("kinds", "server")
    said = command("call", path, "refuse", '{"kind": 10, "text": "no sensor 3"}', status=1)
    assert said == "tachyon: refuse: NOT_FOUND no sensor 3\n"
    said = command("call", path, "find", "7", status=1)
    assert said == "tachyon: find: NOT_FOUND NoSensor: no sensor 7\n"
    described = json.loads(command("describe", path, "--json"))
    raises = next(each["raises"] for each in described["endpoints"] if each["name"] == "find")
    assert [(each["name"], each.get("kind")) for each in raises] == [
        ("NoSensor", "NotFound"),
        ("Busy", "Unavailable"),
        ("Broken", None),
    ]
    source = command("codegen", "python", path)
    assert "kind=tachyon.ErrorKind.NOT_FOUND" in source
    (tmp_path / "kinds_api.py").write_text(source)
    module = load(tmp_path / "kinds_api.py")
    assert [cls.reply_kind for cls in (module.NoSensor, module.Busy, module.Broken)] == [
        ErrorKind.NOT_FOUND,
        ErrorKind.UNAVAILABLE,
        ErrorKind.HANDLER_FAILED,
    ]
    rust = command("codegen", "rust", path)
    assert '#[error("NoSensor: sensor {sensor}", kind = NotFound)]' in rust
    assert '#[error("Broken")]' in rust


@pytest.mark.parametrize("cls", BUILTINS)
def test_an_error_behaves_like_an_exception(cls: type[RpcError]) -> None:
    made: Any = cls
    error = made("no sensor 3")
    assert (str(error), error.text, error.kind) == ("no sensor 3", "no sensor 3", cls.reply_kind)
    assert str(made())
    error.add_note("a note")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(again), str(again), again.kind, again.__notes__) == (cls, "no sensor 3", error.kind, ["a note"])
    assert issubclass(cls, BUILTINS[cls])


def test_a_class_of_the_service_pickles() -> None:
    again = pickle.loads(pickle.dumps(NoUserError("Ada", "L.")))
    assert (type(again), str(again)) == (NoUserError, "no user Ada L.")


def test_codes_of_grpc() -> None:
    assert {kind.name: kind.grpc_code for kind in ErrorKind} == {
        "UNSPECIFIED": 2,
        "NO_HANDLER": 12,
        "HANDLER_FAILED": 2,
        "BAD_REPLY": 13,
        "REPLY_TOO_LARGE": 8,
        "BAD_REQUEST": 3,
        "STOPPING": 14,
        "DEADLINE_PASSED": 4,
        "CANCELLED": 1,
        "INVALID_ARGUMENT": 3,
        "NOT_FOUND": 5,
        "ALREADY_EXISTS": 6,
        "PERMISSION_DENIED": 7,
        "RESOURCE_EXHAUSTED": 8,
        "FAILED_PRECONDITION": 9,
        "ABORTED": 10,
        "UNAVAILABLE": 14,
        "UNAUTHENTICATED": 16,
        "UNREACHABLE": 14,
    }
    assert ErrorKind.from_grpc_code(0) is None
    assert ErrorKind.from_grpc_code(5) is ErrorKind.NOT_FOUND
    assert ErrorKind.from_grpc_code(11) is ErrorKind.FAILED_PRECONDITION
    assert ErrorKind.from_grpc_code(13) is ErrorKind.HANDLER_FAILED
    assert ErrorKind.from_grpc_code(99) is ErrorKind.UNSPECIFIED
    assert ErrorKind.from_grpc_code(1 << 40) is ErrorKind.UNSPECIFIED


def test_every_kind_of_the_core_has_a_member() -> None:
    from tachyon._tachyon import error_kinds  # noqa: PLC0415

    assert [(number, word) for number, word, *_ in error_kinds()] == [(kind.value, kind.word) for kind in ErrorKind]


@pytest.mark.parametrize("kind", [ErrorKind.STOPPING, ErrorKind.BAD_REQUEST, 10, "NOT_FOUND", None])
def test_kinds_that_no_declared_error_has(kind: Any) -> None:
    with pytest.raises(
        TypeError, match=r"is no kind of a declared error; write kind=ErrorKind\.X, X of HANDLER_FAILED"
    ):

        class WrongError(EndpointError, kind=kind):
            pass
