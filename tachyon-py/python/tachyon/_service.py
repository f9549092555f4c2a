"""Services: classes whose methods are endpoints."""

from __future__ import annotations

import dis
import functools
import inspect
import sys
from abc import ABCMeta
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, NoReturn, ParamSpec, Self, TypeVar

from tachyon._contract import method_contract, resolved_or_none
from tachyon._forms import form
from tachyon._hints import shown
from tachyon._layout import Types
from tachyon._pool import Pool, PoolView
from tachyon._stream_clients import items_of, sending
from tachyon._stream_hints import check_implementation, is_async, signature_of, stream_hint, type_name
from tachyon._tachyon import BusView, RpcBus

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, MutableMapping

    from tachyon._tachyon import Contract, RpcEndpoint

_ParametersT = ParamSpec("_ParametersT")
_GivenT = TypeVar("_GivenT")

_BODY = "__tachyon_body__"
"""The name by which the decorator recognises the body of a Service."""

_ENDPOINT = "__tachyon_endpoint__"
"""The attribute of a declared method with its endpoint."""

_HINTS = "__tachyon_hints__"
"""The attribute of a declared method with its resolved hints."""


def _endpoint_of(method: object) -> RpcEndpoint[..., Any, Any] | None:
    """Give the endpoint of a declared method; None for all else."""
    endpoint: RpcEndpoint[..., Any, Any] | None = None
    if isinstance(method, FunctionType):
        endpoint = method.__dict__.get(_ENDPOINT)
    return endpoint


_DESCRIPTORS: dict[type[Any], str] = {
    staticmethod: "__func__",
    classmethod: "__func__",
    property: "fget",
    functools.cached_property: "func",
}
"""Descriptors around a function, and their attribute with the function."""


def _refuse_wrapped(place: str, value: object) -> None:
    """Raise TypeError for a declared method within a descriptor that hides the endpoint."""
    for kind, attribute in _DESCRIPTORS.items():
        if isinstance(value, kind) and _endpoint_of(getattr(value, attribute)) is not None:
            message = f"{place} is a {kind.__name__}, and an endpoint is a plain method; remove that decorator"
            raise TypeError(message)


def _place(endpoint: RpcEndpoint[..., Any, Any]) -> str:
    """Give the class and the method that declare an endpoint."""
    return endpoint.__qualname__.rpartition("<locals>.")[2]


def _methods(cls: type) -> dict[str, RpcEndpoint[..., Any, Any]]:
    """Collect the endpoints of a class and its bases, by the names of their methods."""
    methods: dict[str, RpcEndpoint[..., Any, Any]] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            endpoint = _endpoint_of(value)
            if endpoint is None:
                continue
            if methods.setdefault(name, endpoint) is not endpoint:
                places = f"{_place(methods[name])} and as {_place(endpoint)}"
                message = (
                    f"{cls.__name__}.{name} is declared twice, as {places}; implement an inherited method without "
                    "@tachyon_rpc, or rename one"
                )
                raise TypeError(message)
    owners: dict[int, str] = {}
    for name, endpoint in methods.items():
        other = owners.setdefault(endpoint.msg_type, name)
        if other is not name:
            message = f"{cls.__name__}: `{other}` and `{name}` both have the msg_type {endpoint.msg_type}; change one"
            raise TypeError(message)
    return methods


def _check(place: str, found: object, endpoint: RpcEndpoint[..., Any, Any], around: Mapping[str, Any]) -> None:
    """Raise TypeError unless an implementation takes the declared arguments."""
    method: Any = getattr(found, "__func__", found)
    declared = _place(endpoint)
    if not callable(method):
        message = f"{place} is {type(found).__name__}, and {declared} is a method"
        raise TypeError(message)
    own_hint = vars(endpoint.__wrapped__)[_HINTS].get("return")
    check_implementation(method, place, endpoint.__wrapped__, own_hint, declared)
    try:
        signature = signature_of(method)
    except (TypeError, ValueError):
        return  # Builtins without a signature.
    own = list(signature.parameters.values())
    if isinstance(found, (FunctionType, classmethod)):
        own = own[1:]
    if any(each.kind in {each.VAR_POSITIONAL, each.VAR_KEYWORD} for each in own):
        return  # A wrapper.
    wanted = list(inspect.signature(endpoint.__wrapped__).parameters.values())[1:]
    surplus = [each for each in own[len(wanted) :] if each.default is each.empty]
    is_same = [each.name for each in own[: len(wanted)]] == [each.name for each in wanted]
    if surplus or not is_same or any(each.kind is each.KEYWORD_ONLY for each in own[: len(wanted)]):
        message = f"{place}{_listed(own)} differs from {declared}{_listed(wanted)}; give it the same parameters"
        raise TypeError(message)
    for mine, its in zip(own, wanted, strict=False):
        if its.default is not its.empty and mine.default is mine.empty:
            message = f"{place}: `{its.name}` has a default in {declared}; give it one here, too"
            raise TypeError(message)
    hints = {each.name: each.annotation for each in own} | {"return": signature.return_annotation}
    _check_hints(place, method, hints, endpoint, around)


def _listed(parameters: list[inspect.Parameter]) -> str:
    return f"({', '.join(['self', *(each.name for each in parameters)])})"


def _check_hints(
    place: str,
    method: Any,
    hints: Mapping[str, Any],
    endpoint: RpcEndpoint[..., Any, Any],
    around: Mapping[str, Any],
) -> None:
    """Compare the hints of an implementation, where it has some, with the declared ones."""
    declared = vars(endpoint.__wrapped__)[_HINTS]
    for name, hint in hints.items():
        if name not in declared or hint is inspect.Signature.empty:
            continue
        own = resolved_or_none(method, name, hint, around)
        if own is not None and _forms_differ(own, declared[name]):
            what = "the reply" if name == "return" else f"`{name}`"
            other = f"{type_name(declared[name])} in {_place(endpoint)}"
            message = f"{place}: {what} is {type_name(own)}, and {other}"
            raise TypeError(message)


def _forms_differ(mine: Any, its: Any) -> bool:
    """Whether two hints are two types; a wider hint, such as `object` or a protocol, does not travel."""
    if mine == its or mine is object:
        return False
    try:
        mine_streams, its_streams = stream_hint(mine, ""), stream_hint(its, "")
    except TypeError:
        return False
    if mine_streams and its_streams:
        return _forms_differ(mine_streams.items, its_streams.items)
    if mine_streams or its_streams:
        return True
    described: list[Any] = []
    for hint in (mine, its):
        types = Types()
        try:
            made = form(hint, "")
        except TypeError:
            return False
        described.append((made.kind, made.describe(types), types.list))
    return bool(described[0] != described[1])


def _body(function: Any) -> list[tuple[str, object]] | None:
    code = getattr(function, "__code__", None)
    return None if code is None else [(each.opname, each.argval) for each in dis.get_instructions(code)]


def _empty() -> Any: ...
async def _empty_awaited() -> Any: ...


def _raising() -> Any:
    raise NotImplementedError


async def _raising_awaited() -> Any:
    raise NotImplementedError


_EMPTY = [_body(each) for each in (_empty, _empty_awaited, _raising, _raising_awaited)]


def _is_empty(function: Any) -> bool:
    """Whether a function does nothing, or only raises NotImplementedError."""
    return _body(function) in _EMPTY


class ServiceMeta(ABCMeta):
    """The class of services: reads the methods of a class statement, and checks those that implement."""

    __tachyon_methods__: dict[str, RpcEndpoint[..., Any, Any]]

    @classmethod
    def __prepare__(cls, name: str, bases: tuple[type, ...], /, **kwargs: Any) -> MutableMapping[str, object]:
        """Mark the body of the class statement for the decorator."""
        body = super().__prepare__(name, bases, **kwargs)
        body[_BODY] = True
        return body

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **kwargs: Any) -> ServiceMeta:
        """Make a class with the endpoints of its bases and its own."""
        namespace.pop(_BODY, None)
        cls = super().__new__(mcls, name, bases, namespace, **kwargs)
        for attribute, value in namespace.items():
            _refuse_wrapped(f"{name}.{attribute}", value)
        cls.__tachyon_methods__ = _methods(cls)
        around = sys._getframe(1).f_locals | namespace  # pyright: ignore[reportPrivateUsage]
        for method, endpoint in cls.__tachyon_methods__.items():
            found = inspect.getattr_static(cls, method)
            if _endpoint_of(found) is not endpoint:
                _check(f"{name}.{method}", found, endpoint, around)
        return cls


class Service(metaclass=ServiceMeta):
    """A contract of several endpoints, which are the methods of one class.

    ::

        class Pricing(tachyon.Service):
            @tachyon.tachyon_rpc(msg_type=1)
            def price(self, request: PriceRequest) -> PriceReply: ...

        class Market(Pricing):
            def price(self, request: PriceRequest) -> PriceReply:
                return PriceReply(...)

    `dispatcher.register(Market())` serves all methods, and `Pricing.client(bus)` calls them. A declared method without
    a body (`...`, a docstring, or `raise NotImplementedError`) is abstract; with a body it is a default. A subclass
    implements by the method's name, with its parameters, and with `def` or `async def` as it likes.
    """

    if TYPE_CHECKING:
        __tachyon_methods__: ClassVar[dict[str, RpcEndpoint[..., Any, Any]]]

    @classmethod
    def client(cls, bus: RpcBus | BusView | Pool | PoolView, /) -> Self:
        """Return an object whose endpoints run in the peer; `bus` may be a view, such as `bus.within(0.5)`.

        A `def` method blocks, as `call` does; an `async def` method is awaited, as `acall` is. All other methods of the
        class run here, without `__init__` before them.
        """
        if not cls.__tachyon_methods__:
            raise TypeError(_without_methods(cls))
        client: Self = object.__new__(_client_class(cls))
        vars(client)["__tachyon_calling__"] = _calling(bus)
        return client


def awaited(
    method: Callable[Concatenate[Any, _ParametersT], _GivenT], /
) -> Callable[Concatenate[Any, _ParametersT], Coroutine[Any, Any, _GivenT]]:
    """Declare a method of another Service again, as `async def`.

    ::

        class AsyncPricing(tachyon.Service):
            price = tachyon.awaited(Pricing.price)

    Raises `TypeError` for a stream: its hints, `Iterator` or `AsyncIterator`, say whether it is awaited.
    """

    async def declared(*args: _ParametersT.args, **kwargs: _ParametersT.kwargs) -> _GivenT:
        raise NotImplementedError

    return _declared_again(declared, method)


def blocking(
    method: Callable[Concatenate[Any, _ParametersT], Coroutine[Any, Any, _GivenT]], /
) -> Callable[Concatenate[Any, _ParametersT], _GivenT]:
    """Declare an `async def` method of another Service again, as `def`; the counterpart of `awaited`."""

    def declared(*args: _ParametersT.args, **kwargs: _ParametersT.kwargs) -> _GivenT:
        raise NotImplementedError

    return _declared_again(declared, method)


def _declared_again(declared: Callable[..., _GivenT], method: Callable[..., Any]) -> Callable[..., _GivenT]:
    if _endpoint_of(method) is None:
        message = f"{shown(method)} is no method that a Service declares with @tachyon_rpc"
        raise TypeError(message)
    hints = vars(method)[_HINTS]
    if any(stream_hint(hint, name) is not None for name, hint in hints.items()):
        message = (
            f"{shown(method)} is a stream, whose hints say whether it is awaited; declare it again with @tachyon_rpc, "
            "and with `AsyncIterator` in the place of `Iterator`, or the other way round"
        )
        raise TypeError(message)
    # Copies the endpoint, too.
    functools.update_wrapper(declared, method)
    vars(declared)["__isabstractmethod__"] = True
    return declared


def declared(function: Any, msg_type: int, raises: object, codec: object) -> Contract | None:
    """Give the contract of a method in the body of a Service; None for a function elsewhere."""
    body = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    if _BODY not in body.f_locals:
        return None
    owner = body.f_locals.get("__qualname__", "").rpartition(".")[2]
    if not inspect.isfunction(function):
        message = f"{owner}: a method of a Service is a function with `self`, not {type(function).__name__}"
        raise TypeError(message)
    name = f"{owner}.{function.__name__}"
    if function.__name__ == "client" or function.__name__.startswith("__"):
        message = f"{name} is a name of Python's or of every Service; call the method another name"
        raise TypeError(message)
    around = (body.f_back.f_locals if body.f_back else {}) | body.f_locals
    contract, vars(function)[_HINTS] = method_contract(function, name, msg_type, raises, codec, around)
    if _is_empty(function):
        vars(function)["__isabstractmethod__"] = True
    return contract


def endpoints_of(service: object) -> list[RpcEndpoint[..., Any, Any]] | None:
    """Give the endpoints of an implementation, which the dispatcher registers; None for other objects."""
    if isinstance(service, ServiceMeta):
        name = service.__name__
        message = (
            f"{name} declares endpoints; register an object of a class that implements it: class My{name}({name})"
            if service.__abstractmethods__
            else f"{name} is a class; register an object of it: dispatcher.register({name}())"
        )
        raise TypeError(message)
    if not isinstance(service, Service):
        return None
    cls = type(service)
    if "__tachyon_calling__" in service.__dict__:
        message = f"{cls.__name__} calls endpoints of a peer; register an object that implements them"
        raise TypeError(message)
    if not cls.__tachyon_methods__:
        raise TypeError(_without_methods(cls))
    bound: list[RpcEndpoint[..., Any, Any]] = []
    for name, endpoint in cls.__tachyon_methods__.items():
        own = endpoint.__tachyon_bind__(getattr(service, name))
        own.__qualname__ = f"{cls.__qualname__}.{name}".rpartition("<locals>.")[2]
        bound.append(own)
    return bound


def _without_methods(cls: type) -> str:
    return f"{cls.__name__} has no endpoint; decorate a method: @tachyon_rpc(msg_type=1)"


def _calling(bus: object) -> Callable[[RpcEndpoint[..., Any, Any], bool], Callable[..., Any]]:
    """Give the function that binds an endpoint to a bus or a pool; its second argument asks for coroutines."""
    if isinstance(bus, (RpcBus, BusView)):
        return lambda endpoint, awaits: functools.partial(getattr(endpoint, _operation(endpoint, awaits)), bus)
    if isinstance(bus, (Pool, PoolView)):
        return lambda endpoint, awaits: functools.partial(getattr(bus, _operation(endpoint, awaits)), endpoint)
    message = f"a client calls on an RpcBus, a Pool, or a view of one, not on {type(bus).__name__}"
    raise TypeError(message)


def _operation(endpoint: RpcEndpoint[..., Any, Any], awaits: bool) -> str:  # noqa: FBT001
    """Give the name of the method that calls an endpoint, or opens it."""
    return f"{'a' if awaits else ''}{'stream' if endpoint.__tachyon_streams__ else 'call'}"


class _Remote:
    """A method of clients. The first use leaves the bound call in the client."""

    def __init__(self, name: str, endpoint: RpcEndpoint[..., Any, Any], method: Any) -> None:
        self._name, self._endpoint, self._method = name, endpoint, method
        self._awaits = is_async(method)
        self._items = items_of(method) if endpoint.__tachyon_streams__ else None

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self._method
        own: dict[str, Any] = instance.__dict__
        call = own["__tachyon_calling__"](self._endpoint, self._awaits)
        if self._items is not None:
            call = sending(call, self._method, self._items, awaits=self._awaits)
        own[self._name] = call
        return call


class _Client:
    """The methods that clients have of their own, in place of those that an implementation has for its state."""

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__}>"

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        message = f"{type(self).__name__} calls on a bus of this process; make another client where it is needed"
        raise TypeError(message)

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def _client_class(cls: type[Any]) -> type[Any]:
    """Give the class of a service's clients."""
    known: type[Any] | None = cls.__dict__.get("__tachyon_client__")
    if known is not None:
        return known
    body: dict[str, Any] = {
        name: _Remote(name, endpoint, getattr(cls, name)) for name, endpoint in cls.__tachyon_methods__.items()
    }
    body["__module__"] = cls.__module__
    body["__qualname__"] = f"{cls.__qualname__}Client"
    body |= {name: vars(_Client)[name] for name in ("__repr__", "__reduce_ex__", "__eq__", "__hash__")}
    # Beside `ServiceMeta.__new__`, which would check these methods as implementations.
    made = ABCMeta.__new__(type(cls), f"{cls.__name__}Client", (cls,), body)
    made.__abstractmethods__ = frozenset()
    cls.__tachyon_client__ = made
    return made
