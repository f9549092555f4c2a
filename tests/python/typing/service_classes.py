"""Types of services and their clients; mypy and pyright must agree with every line."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, assert_type

import tachyon
from tachyon import Pool, RpcBus, RpcDispatcher, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Quote(tachyon.Struct):
    """A price and its size."""

    price: tachyon.f64
    size: tachyon.u32 = 0


class Pricing(tachyon.Service):
    """Plain methods."""

    @tachyon_rpc(msg_type=1, idempotent=True)
    @abstractmethod
    def price(self, instrument: tachyon.u64, depth: tachyon.u32 = 1) -> Quote:
        """Take several arguments."""

    @tachyon_rpc(msg_type=2)
    def book(self, quote: Quote) -> tachyon.u64:
        """Take one."""
        raise NotImplementedError

    @tachyon_rpc(msg_type=3)
    def count(self) -> tachyon.u64:
        """Take none, and have a default."""
        return 0

    @tachyon_rpc(msg_type=4)
    def echo(self, payload: bytes) -> bytes:
        """Take bytes."""
        return payload


class Market(Pricing):
    """An implementation with a state."""

    def __init__(self, quotes: dict[int, Quote]) -> None:
        """Keep the quotes."""
        self.quotes = quotes

    def price(self, instrument: tachyon.u64, depth: tachyon.u32 = 1) -> Quote:
        """Implement."""
        return self.quotes[instrument]

    def book(self, quote: Quote) -> tachyon.u64:
        """Implement."""
        return super().count()


class AsyncPricing(tachyon.Service):
    """The same, awaited."""

    price = tachyon.awaited(Pricing.price)
    count = tachyon.awaited(Pricing.count)


class AsyncMarket(AsyncPricing):
    """An implementation in coroutines."""

    async def price(self, instrument: tachyon.u64, depth: tachyon.u32 = 1) -> Quote:
        """Implement."""
        return Quote(price=1.0)

    async def count(self) -> tachyon.u64:
        """Implement."""
        return 1


class Later(tachyon.Service):
    """Coroutine functions."""

    @tachyon_rpc(msg_type=1)
    async def price(self, instrument: tachyon.u64) -> Quote:
        """Take one."""
        raise NotImplementedError


class Blocking(tachyon.Service):
    """The same, without a loop."""

    price = tachyon.blocking(Later.price)


def clients(bus: RpcBus, pool: Pool) -> None:
    """A client has the class of the contract."""
    pricing = Pricing.client(bus)
    assert_type(pricing, Pricing)
    assert_type(pricing.price(1, depth=2), Quote)
    assert_type(pricing.book(Quote(price=1.0)), int)
    assert_type(pricing.count(), int)
    assert_type(pricing.echo(b"x"), bytes)
    assert_type(Pricing.client(bus.within(0.5)).count(), int)
    assert_type(Pricing.client(pool).count(), int)
    assert_type(Pricing.client(pool.within(0.5)).count(), int)
    assert_type(Market.client(bus).quotes, dict[int, Quote])
    assert_type(Blocking.client(bus).price(1), Quote)
    pricing.price("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    pricing.price()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    pricing.count(timeout=0.5)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    Pricing.client(pricing)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def awaited_clients(bus: RpcBus, pool: Pool) -> None:
    """Methods that are coroutine functions, or became some, are awaited."""
    pricing = AsyncPricing.client(bus)
    assert_type(await pricing.price(1, depth=2), Quote)
    assert_type(await pricing.count(), int)
    assert_type(await AsyncPricing.client(pool).count(), int)
    assert_type(await Later.client(pool.within(0.5)).price(1), Quote)
    call: Coroutine[Any, Any, Quote] = pricing.price(1)
    await call
    await pricing.price("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def served() -> None:
    """A dispatcher takes objects of services."""
    RpcDispatcher().register(Market({})).register(AsyncMarket())
    Pricing()  # type: ignore[abstract] # pyright: ignore[reportAbstractUsage]
    RpcDispatcher().register(Market)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


class Wrong(Pricing):
    """An implementation of another signature."""

    def count(self) -> str:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        """Differ."""
        return ""
