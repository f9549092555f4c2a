"""The parts of the module that need no peer: type ids, owned messages, exceptions, exported names."""

from __future__ import annotations

import builtins
import inspect
import pickle

import pytest

import tachyon


def test_type_ids_split_and_join() -> None:
    joined = tachyon.make_type_id(3, 99)
    assert joined == 3 << 16 | 99
    assert (tachyon.route_id(joined), tachyon.msg_type(joined)) == (3, 99)
    assert tachyon.make_type_id(0, 42) == 42
    assert tachyon.make_type_id(0xFFFF, 0xFFFF) == 0xFFFFFFFF
    assert tachyon.make_type_id(route=1, msg_type=2) == 0x10002


@pytest.mark.parametrize(("route", "kind"), [(-1, 0), (0, -1), (0x10000, 0), (0, 0x10000), (1 << 80, 0)])
def test_type_id_parts_out_of_range(route: int, kind: int) -> None:
    with pytest.raises(ValueError, match="65535"):
        tachyon.make_type_id(route, kind)


@pytest.mark.parametrize("split", [tachyon.route_id, tachyon.msg_type])
@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_type_ids_are_32_bits(split: object, value: int) -> None:
    assert callable(split)
    with pytest.raises(ValueError, match="type_id"):
        split(value)


def test_message_is_a_value() -> None:
    message = tachyon.Message(7, 3, b"abc")
    assert (message.type_id, message.size, message.data) == (7, 3, b"abc")
    assert message == tachyon.Message(type_id=7, size=3, data=b"abc")
    assert message != tachyon.Message(8, 3, b"abc")
    assert message != (7, 3, b"abc")
    assert hash(message) == hash(tachyon.Message(7, 3, b"abc"))
    assert repr(message) == "Message(type_id=7, size=3, data=b'abc')"
    match message:
        case tachyon.Message(type_id, size, data):
            assert (type_id, size, data) == (7, 3, b"abc")


def test_message_pickles() -> None:
    message = tachyon.Message(7, 3, b"abc")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(message, protocol)) == message


def test_everything_listed_is_there_and_documented() -> None:
    for module in (tachyon, tachyon.errors):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or callable(value):
                assert value.__doc__, name


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (tachyon.PeerDeadError, ConnectionError),
        (tachyon.PeerClosedError, ConnectionError),
        (tachyon.BusClosedError, ValueError),
        (tachyon.TimedOutError, TimeoutError),
        (tachyon.errors.TooLargeError, ValueError),
        (tachyon.errors.InvalidArgumentError, ValueError),
        (tachyon.errors.AddressInUseError, OSError),
        (tachyon.errors.NotASocketError, FileExistsError),
        (tachyon.NoListenerError, ConnectionRefusedError),
        (tachyon.errors.WrongKindError, ConnectionError),
        (tachyon.errors.VersionMismatchError, ConnectionError),
        (tachyon.errors.BusyError, RuntimeError),
        (tachyon.errors.ViewError, BufferError),
        (tachyon.errors.ReleasedError, RuntimeError),
        (tachyon.errors.WrongDirectionError, RuntimeError),
        (tachyon.errors.DuplicateError, ValueError),
        (tachyon.NoHandlerError, KeyError),
        (tachyon.HandlerError, RuntimeError),
    ],
)
def test_errors_derive_from_builtin_errors(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, tachyon.TachyonError)
    assert issubclass(error, builtin)
    assert getattr(builtins, builtin.__name__) is builtin


def test_rpc_error_carries_its_parts() -> None:
    error = tachyon.NoHandlerError(tachyon.ErrorKind.NO_HANDLER, 404, "", b"\x01\x94")
    assert str(error) == "request with msg_type 404 failed: the callee has no endpoint for it"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.kind, copy.msg_type, copy.text, copy.payload) == (1, 404, "", b"\x01\x94")
    assert tachyon._decode_error(error) == 404


def test_error_payloads_decode() -> None:
    assert tachyon._decode_error(b"\x01\x94") == 404
    assert tachyon._decode_error(memoryview(b"\x00\x07and text")) == 7
    with pytest.raises(tachyon.errors.InvalidArgumentError, match="2 bytes"):
        tachyon._decode_error(b"\x01")


@pytest.mark.parametrize("name", ["Bus", "RpcBus", "TxGuard", "RxGuard", "RxBatchGuard", "RxMsgView", "RpcEndpoint"])
def test_no_direct_construction(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(tachyon, name)()
