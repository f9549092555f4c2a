"""A web application that calls a service in Rust for each request.

    cargo run --release -p tachyon-examples --bin quote_service -- /tmp/tachyon-quotes.sock
    QUOTES=/tmp/tachyon-quotes.sock uvicorn --app-dir examples/python web_app:app

    curl 'http://127.0.0.1:8000/quotes/ACME?quantity=10'
    curl 'http://127.0.0.1:8000/forecasts/ACME?days=500'

The routes of FastAPI work the same way: an application of FastAPI is one of Starlette. `docs/guide/web.md` explains the
parts.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from quote_api import NoShares, UnknownSymbol, forecast, quote
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tachyon import (
    ErrorKind,
    NoListenerError,
    PeerClosedError,
    PeerDeadError,
    Pool,
    RpcError,
    ServerBusyError,
    TachyonError,
    TimedOutError,
)

DEADLINE = 2.0
"""Seconds for each call, also for the wait for a free caller. The service gives up the work after that."""


class State(TypedDict):
    """The state that all requests share."""

    quotes: Pool


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[State]:
    """Keep the callers of this process while the application runs. The first request connects."""
    async with Pool(os.environ["QUOTES"], max_size=8, timeout=DEADLINE) as quotes:
        yield {"quotes": quotes}


async def get_quote(request: Request[State]) -> JSONResponse:
    """Answer `/quotes/ACME?quantity=10`."""
    symbol, quantity = request.path_params["symbol"], int(request.query_params.get("quantity", "1"))
    found = await request.state["quotes"].within(DEADLINE).acall(quote, symbol, quantity)
    return JSONResponse({"symbol": found.symbol, "quantity": found.quantity, "cents": found.cents})


async def get_forecast(request: Request[State]) -> JSONResponse:
    """Answer `/forecasts/ACME?days=5`."""
    days = int(request.query_params.get("days", "1"))
    cents = await request.state["quotes"].within(DEADLINE).acall(forecast, request.path_params["symbol"], days)
    return JSONResponse({"cents": cents})


STATUS_OF = {
    UnknownSymbol: 404,
    # The arguments do not fit the contract.
    NoShares: 422,
    ValueError: 422,
    OverflowError: 422,
    # The service is not there, or has no place for one more caller.
    NoListenerError: 503,
    ServerBusyError: 503,
    PeerClosedError: 503,
    PeerDeadError: 503,
    TimedOutError: 504,
    # The service failed.
    RpcError: 502,
    TachyonError: 500,
}
"""The HTTP statuses of failed calls: the first class counts that the error derives from."""

STATUS_OF_KIND = {ErrorKind.STOPPING: 503, ErrorKind.CANCELLED: 503, ErrorKind.DEADLINE_PASSED: 504}
"""The HTTP statuses of error replies whose kind says more than their class."""

UNAVAILABLE = 503


async def failed(_: Request, error: Exception) -> JSONResponse:
    """Answer a request whose call failed."""
    status = next(STATUS_OF[cls] for cls in type(error).__mro__ if cls in STATUS_OF)
    if isinstance(error, RpcError):
        status = STATUS_OF_KIND.get(error.kind, status)
    return JSONResponse({"error": str(error)}, status, {"Retry-After": "1"} if status == UNAVAILABLE else None)


app = Starlette(
    routes=[Route("/quotes/{symbol}", get_quote), Route("/forecasts/{symbol}", get_forecast)],
    lifespan=lifespan,
    exception_handlers=dict.fromkeys(STATUS_OF, failed),
)
