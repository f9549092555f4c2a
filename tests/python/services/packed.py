"""The contract of `tests/src/packed.rs` in Python: `SOCKET` serves it."""

import logging
import sys

import msgspec

import tachyon


class Opened(msgspec.Struct, tag=True):
    account: str
    balance: float


class Moved(msgspec.Struct, tag=True):
    from_: str = msgspec.field(name="from")
    to: str
    amount: int
    note: str | None = None


class Closed(msgspec.Struct, tag=True):
    pass


Event = Opened | Moved | Closed


class Summary(msgspec.Struct):
    balances: dict[str, float]
    last: Event | None


class Unknown(tachyon.EndpointError, text="no account {account}"):
    account: str


class TooMuch(tachyon.EndpointError, text="{amount} is more than {limit}"):
    amount: tachyon.i64
    limit: tachyon.f64


dispatcher = tachyon.RpcDispatcher()
accounts: dict[str, float] = {}


@dispatcher.handler(301, raises=(Unknown, TooMuch), codec="msgpack")
def apply(events: list[Event], limits: dict[str, float], dry: bool | None = None) -> Summary:  # noqa: FBT001
    balances = dict(accounts)
    for event in events:
        match event:
            case Opened(account, balance):
                balances[account] = balance
            case Closed():
                balances.clear()
            case Moved(payer, receiver, amount):
                if amount > limits.get(payer, amount):
                    raise TooMuch(amount=amount, limit=limits[payer])
                for account, by in ((payer, -amount), (receiver, amount)):
                    if account not in balances:
                        raise Unknown(account=account)
                    balances[account] += by
    if not dry:
        accounts.clear()
        accounts.update(balances)
    return Summary(balances, events[-1] if events else None)


@dispatcher.handler(302, codec="msgpack")
def same(event: Event) -> Event:
    return event


@dispatcher.handler(303, codec="msgpack")
def clear() -> None:
    accounts.clear()


@dispatcher.handler(304, codec="msgpack")
def maybe(value: int | None) -> int | None:
    return value


@dispatcher.handler(305)
def count() -> tachyon.u64:
    return len(accounts)


@dispatcher.handler(306, codec="msgpack")
def fails(text: str) -> int:
    raise RuntimeError(text)


def main(path: str) -> None:
    logging.disable()
    with tachyon.RpcBus.listen(path, 1 << 20, 1 << 20, dispatcher=dispatcher) as bus:
        dispatcher.serve_forever(bus)


if __name__ == "__main__":
    main(*sys.argv[1:])
