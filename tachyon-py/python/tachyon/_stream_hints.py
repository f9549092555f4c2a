"""Streams in the hints of a function: whether it answers with items, and whether it takes the caller's."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, get_args, get_origin

from tachyon._hints import layout, shown

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = (Iterator, Iterable, Generator)
_ASYNC = (AsyncIterator, AsyncIterable, AsyncGenerator)


class StreamHint(NamedTuple):
    """The hint of a stream: that of its items, and whether the items are awaited."""

    items: Any
    is_async: bool


def stream_hint(hint: Any, place: str) -> StreamHint | None:
    """Read the hint of a stream, or raise naming the place of the hint; None for a hint of one value."""
    origin = get_origin(hint) or hint
    if not any(origin is known for known in (*_PLAIN, *_ASYNC)):
        return None
    name = origin.__name__
    arguments = get_args(hint)
    if not arguments:
        message = f"{place}: {name} does not say what its items are; write {name}[tachyon.f64]"
        raise TypeError(message)
    items, *others = arguments
    # A generator's other arguments are the values that `send` takes and that `return` gives.
    if any(other not in {None, NoneType, Any} for other in others):
        plain = "AsyncIterator" if origin is AsyncGenerator else "Iterator"
        message = (
            f"{place}: only the items of a generator travel; write {plain}[{type_name(items)}], and `yield` each value"
        )
        raise TypeError(message)
    return StreamHint(items, any(origin is known for known in _ASYNC))


def type_name(hint: Any) -> str:
    """Show a hint in an error text by its type."""
    if found := stream_hint(hint, ""):
        return f"a stream of {type_name(found.items)}"
    try:
        return layout(hint, "").name
    except TypeError:
        return "None" if hint is NoneType else shown(hint)


class Runs(NamedTuple):
    """The result of a call of a function."""

    generator: bool
    """A generator, of either kind."""
    awaited: bool
    """A coroutine, or an asynchronous generator."""


def runs(function: Callable[..., Any]) -> Runs:
    """Say what a call of a function makes."""
    # An object with a `__call__` runs that method.
    both = (function, getattr(type(function), "__call__", None))  # noqa: B004 - the method itself is checked
    is_async = any(inspect.isasyncgenfunction(each) for each in both)
    return Runs(
        is_async or any(inspect.isgeneratorfunction(each) for each in both),
        is_async or any(inspect.iscoroutinefunction(each) for each in both),
    )


def check_reply(function: Callable[..., Any], name: str, hint: Any, found: StreamHint | None) -> None:
    """Raise TypeError unless a function does as the hint of its reply says; `hint` is empty without one."""
    made = runs(function)
    if found is None:
        if made.generator and hint is not inspect.Signature.empty:
            own = f"{'Async' if made.awaited else ''}Iterator[{type_name(hint)}]"
            _refuse(f"{name} is a generator, and its hint says one reply", f"write `-> {own}`, or `return` one value")
        return
    if made.generator and made.awaited is not found.is_async:
        own = f"{'Async' if made.awaited else ''}Iterator[{type_name(found.items)}]"
        other = "leave out `async`" if made.awaited else "make it `async def`"
        which = "an asynchronous generator" if made.awaited else "a generator"
        _refuse(f"{name} is {which}, and its hint says {shown(hint)}", f"write `-> {own}`, or {other}")
    if made.awaited and not made.generator:
        _refuse(
            f"{name} is `async def` without `yield`, and its hint says a stream, {shown(hint)}",
            "`yield` the items, or leave out `async` where it returns an iterator",
        )


def check_items(function: Callable[..., Any], place: str, found: StreamHint, reply: StreamHint | None) -> None:
    """Raise TypeError unless a function can wait for the caller's items as their hint says."""
    items = type_name(found.items)
    is_async = runs(function).awaited or (reply is not None and reply.is_async)
    if is_async and not found.is_async:
        _refuse(f"{place}: a wait for items would block the event loop", f"write AsyncIterator[{items}]")
    if found.is_async and not is_async:
        _refuse(f"{place}: only `async def` awaits items", f"write Iterator[{items}], or make the function `async def`")


def check_implementation(
    function: Callable[..., Any], place: str, declared: Callable[..., Any], hint: Any, where: str
) -> None:
    """Raise TypeError unless an implementation answers with items exactly if the declared method does."""
    made = runs(function)
    if stream_hint(hint, where) is None and not runs(declared).generator:
        if made.generator:
            _refuse(f"{place} is a generator, and {where} has one reply", "`return` one value")
    elif made.awaited and not made.generator:
        _refuse(f"{place} is `async def` without `yield`, and {where} is a stream", "`yield` the items")


def is_async(function: Callable[..., Any]) -> bool:
    """Whether an event loop has to run a function: it makes a coroutine, or returns an asynchronous iterator."""
    if runs(function).awaited:
        return True
    try:
        returns: Any = signature_of(function).return_annotation
    except (TypeError, ValueError):
        return False  # Builtins without a signature.
    if isinstance(returns, str):
        # The names of the hint need not be there at run time.
        named = returns.partition("[")[0].rpartition(".")[2].strip()
        return any(named == known.__name__ for known in _ASYNC)
    return any((get_origin(returns) or returns) is known for known in _ASYNC)


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Give the signature of a function, whose hints may have names for type checkers only."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format  # noqa: PLC0415 - the module is new

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def _refuse(what: str, advice: str) -> NoReturn:
    message = f"{what}; {advice}"
    raise TypeError(message)
