"""A caller that checks each reply of an echo: `PATH COUNT`; prints the count."""

import sys

import tachyon

echo = tachyon.tachyon_rpc(1)(bytes)

if __name__ == "__main__":
    count = int(sys.argv[2])
    with tachyon.RpcBus.connect(sys.argv[1]) as bus:
        for number in range(count):
            sent = number.to_bytes(4, "little") * (number % 300)
            assert echo.call(bus, sent, timeout=30) == sent, number
    print(count)
