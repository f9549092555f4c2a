"""Services: their classes, their implementations, and their clients in both languages."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import gc
import inspect
import pickle
import weakref
from collections.abc import AsyncIterator, Iterator  # noqa: TC003 - the hints of endpoints are read
from typing import TYPE_CHECKING, Any

import pytest

import tachyon
from contract import scan as scan_of
from contract import served
from services import contract
from services.contract import NoSensor, Sensors
from services.market import AsyncExchange, AsyncMarket, Audit, Exchange, Market, Pricing, Quote, Unknown
from serving_thread import serving
from tachyon import Pool, RpcBus, RpcDispatcher, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 60.0


def exercise(exchange: Exchange) -> str:
    """Call every method, and return the name."""
    assert isinstance(exchange, Exchange)
    with pytest.raises(Unknown) as raised:
        exchange.price(7)
    assert raised.value.instrument == 7
    assert exchange.quote(7, Quote(bid=1.0, ask=3.0)) is None
    assert exchange.quote(8, quote=Quote(bid=1.0, ask=3.0), spread=0.5) is None
    assert exchange.price(instrument=8) == Quote(bid=0.5, ask=3.5)
    assert exchange.middle(7) == 2.0
    assert exchange.echo(b"abc") == b"abc"
    assert exchange.calls() == 5
    return exchange.name()


def test_an_implementation_works_without_a_peer() -> None:
    assert exercise_locally(Market()) == 5


def exercise_locally(market: Market) -> int:
    market.quote(7, Quote(bid=1.0, ask=3.0))
    assert market.price(7) == Quote(bid=1.0, ask=3.0)
    assert market.middle(7) == 2.0
    with pytest.raises(Unknown):
        market.price(8)
    assert market.echo(b"x") == b"x"
    return market.calls() + 1


@pytest.mark.parametrize(("way", "coroutines"), [("server", False), ("bus", False), ("loop", False), ("loop", True)])
def test_a_client_calls_every_method(service: Callable[..., Any], path: str, way: str, *, coroutines: bool) -> None:
    service("market", way, coroutines=coroutines)
    with RpcBus.connect(path) as bus:
        assert exercise(Exchange.client(bus)) == ("coroutines" if coroutines else "plain")
        limited = Exchange.client(bus.within(LIMIT))
        assert limited.calls() == 5
        assert Audit.client(bus).calls() == 5
        assert Pricing.client(bus).middle(8) == 2.0


def test_a_client_of_a_pool(service: Callable[..., Any], path: str) -> None:
    service("market", "server")
    with Pool(path, 2) as pool:
        assert exercise(Exchange.client(pool)) == "plain"
        assert Exchange.client(pool.within(LIMIT)).calls() == 5


@pytest.mark.parametrize("coroutines", [False, True])
def test_an_awaited_client(service: Callable[..., Any], path: str, *, coroutines: bool) -> None:
    service("market", "loop", coroutines=coroutines)

    async def act(target: Any) -> None:
        exchange = AsyncExchange.client(target)
        with pytest.raises(Unknown):
            await exchange.price(7)
        await exchange.quote(7, Quote(bid=1.0, ask=3.0), spread=0.5)
        replies = await asyncio.gather(*(exchange.price(7) for _ in range(20)))
        assert replies == [Quote(bid=0.5, ask=3.5)] * 20
        assert await exchange.calls() == 22
        assert await exchange.name() == ("coroutines" if coroutines else "plain")

    async def all_targets() -> None:
        with RpcBus.connect(path) as bus:
            await act(bus)
            assert await AsyncExchange.client(bus.within(LIMIT)).calls() == 22
        with Pool(path, 2) as pool:
            assert await AsyncExchange.client(pool).calls() == 22
            assert await AsyncExchange.client(pool.within(LIMIT)).calls() == 22

    asyncio.run(all_targets())


def test_both_languages_serve_a_service(language: str, path: str) -> None:
    with served(language, "sensor", path), RpcBus.connect(path) as bus:
        sensors = Sensors.client(bus.within(LIMIT))
        scan = scan_of(contract, 300)
        assert len(sensors.filter(scan, 2.0, [1, 2]).points) == 2
        assert sensors.filter(scan, 0.0, [], limit=9).taken_at == 9
        with pytest.raises(NoSensor) as raised:
            sensors.filter(scan, 2.0, [1, 101])
        assert raised.value.sensor == 101
        assert sensors.rename("", "first") == "first"
        assert sensors.rename("", "second") is None
        assert sensors.name() == "first"
        assert sensors.doubled(scan) == [scan, scan]
        assert sensors.reset() is None
        assert sensors.name() == ""


def test_both_languages_describe_a_service_alike(path: str) -> None:
    described = []
    for language in ("rust", "python"):
        with served(language, "sensor", path), RpcBus.connect(path) as bus:
            described.append([(each.msg_type, str(each)) for each in bus.describe()])
    assert described[0] == described[1]
    assert [name.partition("(")[0] for _, name in described[0]] == ["filter", "rename", "doubled", "reset", "name"]


def test_the_first_call_of_a_client_compares(language: str, path: str) -> None:
    class Older(tachyon.Service):
        @tachyon_rpc(msg_type=202)
        def rename(self, old: str, to: str) -> str | None: ...

    with served(language, "sensor", path), RpcBus.connect(path) as bus:
        with pytest.raises(
            tachyon.LayoutMismatchError, match="argument 1 of rename is `old` here, `from` at the callee"
        ):
            Older.client(bus).rename("", "first")
        assert Sensors.client(bus).name() == ""


def test_methods_without_a_body_are_abstract() -> None:
    class Half(Pricing):
        def price(self, instrument: tachyon.u64) -> Quote:
            raise Unknown(instrument=instrument)

    with pytest.raises(TypeError, match=r"Half.*quote"):
        Half()
    with pytest.raises(TypeError, match=r"AsyncExchange.*calls.*echo.*name.*price.*quote"):
        AsyncExchange()

    class Bodies(tachyon.Service):
        @tachyon_rpc(msg_type=1)
        def dots(self) -> None: ...

        @tachyon_rpc(msg_type=2)
        async def documented(self) -> None:
            """Nothing else."""

        @tachyon_rpc(msg_type=3)
        async def raising(self) -> None:
            """Nothing else."""
            raise NotImplementedError

        @tachyon_rpc(msg_type=4)
        def default(self) -> None:
            return self.dots()

    assert Bodies.__abstractmethods__ == {"dots", "documented", "raising"}


def refused(body: Callable[[], object], error: str) -> None:
    with pytest.raises(TypeError) as raised:
        body()
    assert str(raised.value) == error


def make(name: str, base: type, **body: Any) -> type:
    return type(base)(name, (base,), body)


def test_an_implementation_that_differs_is_refused_by_its_class_statement() -> None:
    def shorter(self, instrument): ...
    def required(self, instrument, quote, spread): ...
    def named(self, instrument, quote, gap=0.0): ...
    def longer(self, instrument, quote, spread=0.0, *, who): ...
    def other(self, instrument: tachyon.u32, quote, spread=0.0): ...
    def replies(self, instrument, quote, spread=0.0) -> str: ...
    def generates(self, instrument, quote, spread=0.0):
        yield

    declared = "Pricing.quote(self, instrument, quote, spread); give it the same parameters"
    for function, error in (
        (shorter, f"D.quote(self, instrument) differs from {declared}"),
        (named, f"D.quote(self, instrument, quote, gap) differs from {declared}"),
        (longer, f"D.quote(self, instrument, quote, spread, who) differs from {declared}"),
        (required, "D.quote: `spread` has a default in Pricing.quote; give it one here, too"),
        (other, "D.quote: `instrument` is u32, and u64 in Pricing.quote"),
        (replies, "D.quote: the reply is str, and None in Pricing.quote"),
        (3, "D.quote is int, and Pricing.quote is a method"),
        (property(shorter), "D.quote is property, and Pricing.quote is a method"),
    ):
        refused(lambda function=function: make("D", Pricing, quote=function), error)
    with pytest.raises(TypeError, match=r"^D.quote is a generator"):
        make("D", Pricing, quote=generates)


def test_implementations_that_a_call_fits_are_taken() -> None:
    def more(self, instrument, quote, spread=0.0, extra=None): ...
    def hinted(self, instrument: object, quote: "Unimported", spread: float = 0.0) -> None: ...  # noqa: UP037, F821

    @functools.wraps(more)
    def wrapper(*args, **kwargs): ...
    def anything(*args, **kwargs): ...
    def static(instrument, quote, spread=0.0): ...
    async def coroutine(self, instrument, quote, spread=0.0): ...

    for function in (more, hinted, wrapper, anything, staticmethod(static), coroutine):
        make("D", Pricing, quote=function)

    class Mixin:
        def price(self, instrument):
            return Quote(bid=instrument, ask=2)

    class Mixed(Mixin, Pricing):
        def quote(self, instrument, quote, spread=0.0): ...

    assert Mixed().middle(1) == 1.5


@pytest.mark.parametrize(
    ("head", "body", "error"),
    [
        (
            "Twice(tachyon.Service)",
            "@tachyon_rpc(1)\n def first(self): ...\n @tachyon_rpc(1)\n def second(self): ...",
            "Twice: `first` and `second` both have the msg_type 1; change one",
        ),
        (
            "Again(Pricing)",
            "@tachyon_rpc(5)\n def price(self): ...",
            (
                "Again.price is declared twice, as Pricing.price and as Again.price; implement an inherited method "
                "without @tachyon_rpc, or rename one"
            ),
        ),
        (
            "Both(Pricing, AsyncMarket)",
            "@tachyon_rpc(3)\n def another(self): ...",
            "Both: `echo` and `another` both have the msg_type 3; change one",
        ),
        (
            "Selfless(tachyon.Service)",
            "@tachyon_rpc(1)\n def price(instrument: tachyon.u64): ...",
            "Selfless.price has no `self`; the parameters of a method of a Service begin with it",
        ),
        (
            "Static(tachyon.Service)",
            "@tachyon_rpc(1)\n @staticmethod\n def price(instrument: tachyon.u64): ...",
            "Static: a method of a Service is a function with `self`, not staticmethod",
        ),
        *(
            (
                "Wrapped(tachyon.Service)",
                f"@{decorator}\n @tachyon_rpc(1)\n def price(self) -> tachyon.u64: ...",
                f"Wrapped.price is a {kind}, and an endpoint is a plain method; remove that decorator",
            )
            for decorator, kind in (
                ("property", "property"),
                ("staticmethod", "staticmethod"),
                ("functools.cached_property", "cached_property"),
            )
        ),
        (
            "Reserved(tachyon.Service)",
            "@tachyon_rpc(1)\n def client(self): ...",
            "Reserved.client is a name of Python's or of every Service; call the method another name",
        ),
        (
            "Plain",
            "@tachyon_rpc(1)\n def price(self, instrument: tachyon.u64): ...",
            (
                "Plain.price is a method: its `self` would be the request; make the endpoint of the bound "
                "method, tachyon_rpc(msg_type)(service.price)"
            ),
        ),
        (
            "Unhinted(tachyon.Service)",
            "@tachyon_rpc(1)\n def price(self, instrument: int): ...",
            (
                "parameter `instrument` of price: int does not say how it lies in memory; write tachyon.i64 or "
                "another of u8 to u64 and i8 to i64"
            ),
        ),
    ],
)
def test_declarations_that_cannot_work_are_refused(head: str, body: str, error: str) -> None:
    refused(lambda: exec(f"class {head}:\n {body}", globals()), error)


@pytest.mark.parametrize("function", [refused, Market.price, 3])
def test_only_declared_methods_are_declared_again(function: Any) -> None:
    for again in (tachyon.awaited, tachyon.blocking):
        with pytest.raises(TypeError, match=r"is no method that a Service declares with @tachyon_rpc$"):
            again(function)


def test_streams_are_not_declared_again() -> None:
    class Feed(tachyon.Service):
        @tachyon_rpc(msg_type=1)
        def lines(self, count: tachyon.u32) -> Iterator[str]:
            raise NotImplementedError

        @tachyon_rpc(msg_type=2)
        def later(self, count: tachyon.u32) -> AsyncIterator[str]:
            raise NotImplementedError

        @tachyon_rpc(msg_type=3)
        def upload(self, chunks: Iterator[bytes]) -> tachyon.u64:
            raise NotImplementedError

    for again in (tachyon.awaited, tachyon.blocking):
        for method in (Feed.lines, Feed.later, Feed.upload):
            with pytest.raises(TypeError, match=f"^{method.__name__} is a stream.*declare it again"):
                again(method)  # type: ignore[arg-type]


def test_blocking_undoes_awaited(service: Callable[..., Any], path: str) -> None:
    class Blocking(tachyon.Service):
        calls = tachyon.blocking(AsyncExchange.calls)

    service("market", "loop", coroutines=True)
    with RpcBus.connect(path) as bus:
        assert Blocking.client(bus).calls() == 0


def test_a_dispatcher_takes_one_implementation_and_names_both() -> None:
    dispatcher = RpcDispatcher().register(Market())
    assert len(dispatcher) == 5
    refuse = r"is already registered by `Market\.price`; give `AsyncMarket\.price` another one"
    with pytest.raises(tachyon.errors.DuplicateError, match=rf"^msg_type 1 {refuse}$"):
        dispatcher.register(AsyncMarket())
    partly = RpcDispatcher()
    partly.handler(10)(lambda payload: payload)
    with pytest.raises(tachyon.errors.DuplicateError, match=r"^msg_type 10 .* `Market.calls` another one$"):
        partly.register(Market())
    assert len(partly) == 1
    for wrong, text in (
        (Market, r"^Market is a class; register an object of it: dispatcher.register\(Market\(\)\)$"),
        (Exchange, r"^Exchange declares endpoints; .* a class that implements it: class MyExchange\(Exchange\)$"),
        (type("Empty", (tachyon.Service,), {})(), r"^Empty has no endpoint; decorate a method"),
        (3, "an object of a Service is registered, not int"),
    ):
        with pytest.raises(TypeError, match=text):
            dispatcher.register(wrong)
    spoilt = Market()
    spoilt.price = 3  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError, match=r"^an endpoint's handler is a function, not int$"):
        RpcDispatcher().register(spoilt)


def test_plain_serving_refuses_coroutines(path: str) -> None:
    with tachyon.RpcServer(path) as server, pytest.raises(tachyon.errors.InvalidArgumentError, match="aserve"):
        RpcDispatcher().register(AsyncMarket()).serve_forever(server)


def test_clients(service: Callable[..., Any], path: str) -> None:
    service("market", "bus")
    with RpcBus.connect(path) as bus:
        exchange = Exchange.client(bus)
        assert repr(exchange) == "<ExchangeClient>"
        assert type(exchange) is type(Exchange.client(bus))
        with pytest.raises(TypeError, match=r"^ExchangeClient calls endpoints of a peer"):
            RpcDispatcher().register(exchange)
        for call, text in (
            (exchange.price, r"price\(\) missing 1 required positional argument: 'instrument'"),
            (lambda: exchange.price(1, timeout=0.5), r"unexpected keyword argument 'timeout'; .*within"),
            (lambda: exchange.calls(None), r"calls\(\) takes 0 positional arguments but 1 was given"),
            (lambda: exchange.echo("text"), "text|str"),
            (lambda: Exchange.client(exchange), "a client calls on an RpcBus, a Pool, or a view of one"),
            (lambda: tachyon.Service.client(bus), "^Service has no endpoint"),
        ):
            with pytest.raises(TypeError, match=text):
                call()
        for copied in (copy.copy, pickle.dumps):
            with pytest.raises(TypeError, match=r"^ExchangeClient calls on a bus of this process"):
                copied(exchange)
        # Without `__init__`, whose parameters the client does not know.
        assert Market.client(bus).calls() == 0
        assert inspect.signature(type(exchange).price) == inspect.signature(Exchange.price)
    with pytest.raises(tachyon.BusClosedError):
        exchange.calls()


@dataclasses.dataclass(slots=True, frozen=True)
class Held(Audit):
    """An implementation whose methods of a dataclass need its fields."""

    count: int

    def calls(self) -> tachyon.u64:
        return self.count


class Shared(Audit):
    """An implementation without `self`."""

    @classmethod
    def calls(cls) -> tachyon.u64:
        return 7


@pytest.mark.parametrize("implementation", [Held(7), copy.copy(Held(7)), pickle.loads(pickle.dumps(Held(7))), Shared()])
def test_implementations_of_many_kinds(path: str, implementation: Audit) -> None:
    with serving(RpcDispatcher().register(implementation), path), RpcBus.connect(path) as bus:
        client = type(implementation).client(bus)
        assert client.calls() == 7
        assert client != type(implementation).client(bus)
        assert len({client, client}) == 1


class Names(tachyon.Service):
    """Parameters with the names of settings elsewhere."""

    @tachyon_rpc(msg_type=1)
    def several(self, bus: tachyon.u8, timeout: tachyon.u8, on_response: tachyon.u8 = 3, client: tachyon.u8 = 4) -> str:
        return f"{bus} {timeout} {on_response} {client}"

    @tachyon_rpc(msg_type=2)
    def one(self, timeout: tachyon.u8) -> tachyon.u8:
        return timeout

    @tachyon_rpc(msg_type=3)
    def by_position(self, payload: tachyon.u8, /) -> tachyon.u8:
        return payload


class AsyncNames(tachyon.Service):
    several = tachyon.awaited(Names.several)
    one = tachyon.awaited(Names.one)


def test_parameters_have_any_name(path: str) -> None:
    async def act(target: Any) -> None:
        names = AsyncNames.client(target)
        assert await names.several(1, timeout=2, client=5) == "1 2 3 5"
        assert await names.one(timeout=9) == 9

    with serving(RpcDispatcher().register(Names()), path), Pool(path, 1) as pool:
        with RpcBus.connect(path) as bus:
            for target in (bus, bus.within(LIMIT), bus.metadata("a", "1"), pool, pool.within(LIMIT)):
                names = Names.client(target)
                assert names.several(bus=1, timeout=2) == "1 2 3 4"
                assert names.several(1, 2, client=5) == "1 2 3 5"
                assert names.one(timeout=9) == names.one(9) == 9
                assert names.by_position(8) == 8
                with pytest.raises(TypeError, match="unexpected keyword argument 'payload'"):
                    names.by_position(payload=8)  # type: ignore[call-arg]
        for target in (pool, pool.metadata("a", "1")):
            asyncio.run(act(target))
        with RpcBus.connect(path) as bus:
            asyncio.run(act(bus.metadata("a", "1")))


def test_a_service_and_its_dispatcher_are_freed() -> None:
    market = Market()
    dispatcher = RpcDispatcher().register(market)
    market.dispatcher = dispatcher  # type: ignore[attr-defined]
    freed = weakref.ref(market)
    del market, dispatcher
    gc.collect()
    assert freed() is None
