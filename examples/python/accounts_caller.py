"""The first of three processes of one trace; see `accounts_service.rs`.

python examples/python/accounts_caller.py /tmp/tachyon-accounts.sock
"""

import secrets
import sys

from ledger_api import Accounts, LedgerFailed, NoAccount, NotYours, Short

import tachyon
from tachyon.layers import CallerLayer, OutgoingCall


class Traced(CallerLayer):
    """Begins a trace with each call: `traceparent`, as W3C Trace Context describes it."""

    def before(self, call: OutgoingCall, /) -> None:
        """Add a new trace, unless the call belongs to one."""
        if "traceparent" not in call.metadata:
            trace = secrets.token_hex(16)
            call.add_metadata("traceparent", f"00-{trace}-{secrets.token_hex(8)}-01")
            print(f"trace_id={trace}")


def main(socket: str) -> None:
    """Make transfers that succeed, and one of each kind that fails."""
    with tachyon.RpcBus.connect(socket).layer(Traced()) as bus:
        alice = Accounts.client(bus.within(10).metadata("authorization", "alice's token"))
        print(f"{alice.transfer(1, 2, 2_500)} cents left")
        try:
            alice.transfer(1, 2, 10_000)
        except Short as error:
            print(f"short: {error.missing} cents are missing")
        try:
            alice.transfer(1, 9, 1)
        except NoAccount as error:
            print(f"no account {error.account}")
        try:
            alice.transfer(2, 1, 1)
        except NotYours as error:
            print(f"{error.kind.name}: account {error.account}")
        try:
            Accounts.client(bus).transfer(1, 2, 1)
        except tachyon.errors.UnauthenticatedError as error:
            print(f"unauthenticated: {error.text}")
        hasty = Accounts.client(bus.within(0.3).metadata("authorization", "alice's token"))
        try:
            hasty.transfer(1, 3, 1)
        except (TimeoutError, LedgerFailed):
            # The service gives the ledger up at the same moment, and its answer may come first.
            print("too slow: given up in all three processes")


if __name__ == "__main__":
    main(sys.argv[1])
