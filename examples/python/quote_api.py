"""The contract of the service `quote_service.rs`, for its callers."""

import tachyon


class Quote(tachyon.Struct):
    """The price of a number of shares."""

    symbol: str
    quantity: tachyon.u32
    cents: tachyon.u64


class UnknownSymbol(tachyon.EndpointError, text="no share has the symbol {symbol}"):
    """No share has this symbol."""

    symbol: str


class NoShares(tachyon.EndpointError, text="a quote is of one share at least"):
    """A quote is of one share at least."""


@tachyon.tachyon_rpc(msg_type=1, idempotent=True, raises=(UnknownSymbol, NoShares))
def quote(symbol: str, quantity: tachyon.u32) -> Quote:
    """Return the price of a number of shares."""
    raise NotImplementedError


@tachyon.tachyon_rpc(msg_type=2, idempotent=True, raises=(UnknownSymbol, NoShares))
def forecast(symbol: str, days: tachyon.u32) -> tachyon.u64:
    """Return the price of a share after some days, in cents."""
    raise NotImplementedError
