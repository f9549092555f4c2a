"""The last of three processes of one trace: `accounts_caller.py` calls `accounts_service.rs`, which calls this service.

    python examples/python/ledger_service.py /tmp/tachyon-ledger.sock

A layer lets only callers with the token of a service in, and another prints the trace of each call.
"""

import asyncio
import hmac
import signal
import sys

from ledger_api import Ledger, NoAccount, Short

import tachyon
from tachyon.layers import Layer, Outcome

TOKEN = "the token of the accounts service"  # noqa: S105  # a real service reads its secrets from its environment

SLOW_ACCOUNT = 3
"""A transfer to this account takes seconds."""


class Services(Layer):
    """Lets services in, and refuses all other callers."""

    def before(self, call: tachyon.CurrentCall, /) -> None:
        """Refuse a call without the token."""
        if not hmac.compare_digest(call.metadata.get("authorization", "").encode(), TOKEN.encode()):
            message = "the ledger serves services, which send their token as `authorization`"
            raise tachyon.errors.UnauthenticatedError(message)


class Traces(Layer):
    """Prints the trace of each call."""

    def after(self, call: tachyon.CurrentCall, outcome: Outcome, seconds: float, /) -> None:
        """Print the identity that all calls of the trace share."""
        _, trace, *_ = call.metadata.get("traceparent", "-none").split("-")
        print(f"ledger {call.name}: {outcome} after {seconds:.3f} s, trace_id={trace}", flush=True)


class Books(Ledger):
    """The balances, in memory."""

    def __init__(self) -> None:
        """Open three accounts."""
        self.cents = {1: 10_000, 2: 500, 3: 0}

    async def book(self, source: int, target: int, cents: int) -> int:
        """Move cents, after a look into a slow store."""
        for account in (source, target):
            if account not in self.cents:
                raise NoAccount(account=account)
        # The deadline of the first caller is that of this call: beyond it the task is cancelled here.
        await asyncio.sleep(5.0 if target == SLOW_ACCOUNT else 0.01)
        if self.cents[source] < cents:
            raise Short(missing=cents - self.cents[source])
        self.cents[source] -= cents
        self.cents[target] += cents
        return self.cents[source]


async def main(socket: str) -> None:
    """Serve until a signal comes."""
    dispatcher = tachyon.RpcDispatcher().register(Books())
    dispatcher.layer(Traces())
    dispatcher.layer(Services())
    async with tachyon.RpcServer(socket) as server:
        print(f"serving at {socket}", flush=True)
        await dispatcher.aserve(server, stop_on=(signal.SIGTERM, signal.SIGINT))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
