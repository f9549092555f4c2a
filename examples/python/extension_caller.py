"""Call the endpoints of `extension_service`, from which `tachyon codegen python` generated `extension_api`."""

import sys

import extension_api as api

import tachyon

LIMIT = 5.0


def main(path: str) -> None:
    """Keep some quotes, read one back, compute, and stop the service."""
    with tachyon.RpcBus.connect(path) as bus:
        quotes = [api.Quote(instrument=number, bid=number - 0.5, ask=number + 0.5) for number in range(1, 4)]
        print(f"kept {api.keep.call(bus, quotes, timeout=LIMIT)} quotes")
        quote = api.latest.call(bus, 2, timeout=LIMIT)
        print(f"instrument {quote.instrument}: {quote.bid} to {quote.ask}")
        try:
            api.latest.call(bus, 9, timeout=LIMIT)
        except tachyon.RpcError as error:
            print(f"refused: {error.text}")
        print(f"mean {api.mean.call(bus, [1.0, 2.0, 6.0], timeout=LIMIT)}")
        print(f"sums {list(api.running_sum.call(bus, [1.0, 2.0, 6.0], timeout=LIMIT))}")
        print(f"from Python: {api.shout.call(bus, b'loud', timeout=LIMIT).decode()}")
        api.stop.call(bus, timeout=LIMIT)


if __name__ == "__main__":
    main(sys.argv[1])
