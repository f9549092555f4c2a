"""A service with a state, in plain methods and in coroutines."""

from __future__ import annotations

import asyncio
from abc import abstractmethod

import tachyon
from services import serving
from tachyon import tachyon_rpc


class Quote(tachyon.Struct):
    bid: tachyon.f64
    ask: tachyon.f64


class Unknown(tachyon.EndpointError, text="instrument {instrument} is not known"):
    instrument: tachyon.u64


class Pricing(tachyon.Service):
    """Prices."""

    @tachyon_rpc(msg_type=1, idempotent=True, raises=Unknown)
    @abstractmethod
    def price(self, instrument: tachyon.u64) -> Quote:
        """Price an instrument."""

    @tachyon_rpc(msg_type=2)
    @abstractmethod
    def quote(self, instrument: tachyon.u64, quote: Quote, spread: tachyon.f64 = 0.0) -> None:
        """Set a price."""

    @tachyon_rpc(msg_type=3)
    def echo(self, payload: bytes) -> bytes:
        """Give bytes back, unless a subclass does more."""
        return payload

    def middle(self, instrument: int) -> float:
        """Run where it is called."""
        quote = self.price(instrument)
        return (quote.bid + quote.ask) / 2


class Audit(tachyon.Service):
    """Calls so far."""

    @tachyon_rpc(msg_type=10)
    def calls(self) -> tachyon.u64:
        """Count the calls."""
        raise NotImplementedError


class Exchange(Pricing, Audit):
    """Both."""

    @tachyon_rpc(msg_type=20)
    def name(self) -> str:
        """Give the name of the exchange."""
        raise NotImplementedError


class AsyncExchange(tachyon.Service):
    """The same, awaited."""

    price = tachyon.awaited(Exchange.price)
    quote = tachyon.awaited(Exchange.quote)
    echo = tachyon.awaited(Exchange.echo)
    calls = tachyon.awaited(Exchange.calls)
    name = tachyon.awaited(Exchange.name)


class Market(Exchange):
    """An implementation in plain methods."""

    def __init__(self) -> None:
        self.quotes: dict[int, Quote] = {}
        self.counted = 0

    def price(self, instrument: tachyon.u64) -> Quote:
        self.counted += 1
        if instrument not in self.quotes:
            raise Unknown(instrument=instrument)
        return self.quotes[instrument]

    def quote(self, instrument: tachyon.u64, quote: Quote, spread: tachyon.f64 = 0.0) -> None:
        self.counted += 1
        self.quotes[instrument] = Quote(bid=quote.bid - spread, ask=quote.ask + spread)

    def calls(self) -> tachyon.u64:
        return self.counted

    def name(self) -> str:
        assert tachyon.current_call().name == "name"
        return "plain"


class AsyncMarket(AsyncExchange):
    """An implementation in coroutines, but for one method."""

    def __init__(self) -> None:
        self.market = Market()

    async def price(self, instrument: tachyon.u64) -> Quote:
        await asyncio.sleep(0)
        return self.market.price(instrument)

    async def quote(self, instrument: tachyon.u64, quote: Quote, spread: tachyon.f64 = 0.0) -> None:
        await asyncio.sleep(0)
        self.market.quote(instrument, quote, spread)

    async def echo(self, payload: bytes) -> bytes:
        return self.market.echo(payload)

    async def calls(self) -> tachyon.u64:
        return self.market.calls()

    def name(self) -> str:  # type: ignore[override]
        return "coroutines"


if __name__ == "__main__":
    settings = serving.options()
    service = AsyncMarket() if settings.pop("coroutines", False) else Market()
    serving.serve(tachyon.RpcDispatcher().register(service), settings)
