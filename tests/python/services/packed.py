"""The contract of `tests/src/packed.rs` in Python: `SOCKET` serves it."""

import logging
import sys
from collections.abc import Iterator

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


def advance(balances: dict[str, float], event: Event) -> None:
    match event:
        case Opened(account, balance):
            balances[account] = balance
        case Closed():
            balances.clear()
        case Moved(payer, receiver, amount):
            for account, by in ((payer, -amount), (receiver, amount)):
                if account not in balances:
                    raise Unknown(account=account)
                balances[account] += by


@dispatcher.handler(301, raises=(Unknown, TooMuch), codec="msgpack")
def apply(events: list[Event], limits: dict[str, float], dry: bool | None = None) -> Summary:  # noqa: FBT001
    balances = dict(accounts)
    for event in events:
        if isinstance(event, Moved) and event.amount > limits.get(event.from_, event.amount):
            raise TooMuch(amount=event.amount, limit=limits[event.from_])
        advance(balances, event)
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


@dispatcher.handler(307, raises=(Unknown, TooMuch), codec="msgpack")
def history(events: list[Event]) -> Iterator[Summary]:
    balances: dict[str, float] = {}
    for event in events:
        advance(balances, event)
        yield Summary(dict(balances), event)


@dispatcher.handler(308, codec="msgpack")
def replay(first: Event | None, events: Iterator[Event]) -> Summary:
    summary = Summary({}, first)
    for event in events:
        advance(summary.balances, event)
        summary.last = event
    return summary


@dispatcher.handler(309, codec="msgpack")
def remark(text: str, events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Moved):
            yield Moved(event.from_, event.to, event.amount, text)


def main(path: str) -> None:
    logging.disable()
    with tachyon.RpcBus.listen(path, 1 << 20, 1 << 20, dispatcher=dispatcher) as bus:
        dispatcher.serve_forever(bus)


if __name__ == "__main__":
    main(*sys.argv[1:])
