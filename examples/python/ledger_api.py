"""The contract of `ledger_service.py`, of `accounts_service.rs` and of `accounts_caller.py`."""

import tachyon


class NoAccount(tachyon.EndpointError, text="no account {account}", kind=tachyon.ErrorKind.NOT_FOUND):
    """No account has this number."""

    account: tachyon.u32


class Short(tachyon.EndpointError, text="{missing} cents are missing", kind=tachyon.ErrorKind.FAILED_PRECONDITION):
    """The account has less than the amount."""

    missing: tachyon.u64


class NotYours(tachyon.EndpointError, text="account {account} is not yours", kind=tachyon.ErrorKind.PERMISSION_DENIED):
    """The account belongs to another user."""

    account: tachyon.u32


class LedgerFailed(tachyon.EndpointError, text="the ledger failed: {why}", kind=tachyon.ErrorKind.UNAVAILABLE):
    """The ledger did not answer in time, or is gone."""

    why: str


class Ledger(tachyon.Service):
    """The balances of all accounts, for services only."""

    @tachyon.tachyon_rpc(msg_type=1, raises=(NoAccount, Short))
    async def book(self, source: tachyon.u32, target: tachyon.u32, cents: tachyon.u64) -> tachyon.u64:
        """Move cents between two accounts, and return the new balance of the source."""
        raise NotImplementedError


class Accounts(tachyon.Service):
    """Transfers of the users, who send a token with each call."""

    @tachyon.tachyon_rpc(msg_type=1, raises=(NoAccount, Short, NotYours, LedgerFailed))
    def transfer(self, source: tachyon.u32, target: tachyon.u32, cents: tachyon.u64) -> tachyon.u64:
        """Move cents from an account of the user, and return its new balance."""
        raise NotImplementedError
