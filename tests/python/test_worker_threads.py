"""Threads of the core that run Python handlers: their names, and the hooks of debuggers and coverage tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tachyon import RpcBus, tachyon_rpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Peer

about, traced, stop = (tachyon_rpc(number)(bytes) for number in range(1, 4))

SERVER = """
    import json, signal, sys, threading
    from pathlib import Path
    {extra}
    seen = {{"trace": set(), "profile": set()}}
    meeting = threading.Barrier({workers})

    def note(kind):
        def hook(frame, event, argument):
            # Only the handlers' own frames: the hook also runs at the end of a thread.
            if frame.f_code.co_name in ("about", "inner"):
                seen[kind].add((threading.get_native_id(), frame.f_code.co_name, event))
            return hook
        return hook

    threading.settrace(note("trace"))
    threading.setprofile(note("profile"))
    dispatcher = tachyon.RpcDispatcher()

    def inner(payload):
        return payload

    @dispatcher.handler(101)
    def about(payload):
        inner(payload)
        meeting.wait(60)
        thread = threading.get_native_id()
        return json.dumps({{
            "thread": thread,
            "name": threading.current_thread().name,
            "system": Path(f"/proc/self/task/{{thread}}/comm").read_text().strip(),
            "all": [thread.name for thread in threading.enumerate()],
        }}).encode()

    @dispatcher.handler(102)
    def traced(payload):
        return json.dumps({{kind: sorted(found) for kind, found in seen.items()}}).encode()

    @dispatcher.handler(103)
    def end(payload):
        server.stop()
        return b""

    def names():
        return [thread.name for thread in threading.enumerate()]

    for _ in range({rounds}):
        with tachyon.RpcServer(path) as server:
            print("ready", flush=True)
            dispatcher.serve_forever(server, workers={workers})
        assert names() == ["MainThread"], names()
        print("ended", flush=True)
    threading.settrace(None)
    threading.setprofile(None)
"""

about, traced, end = (tachyon_rpc(number)(bytes) for number in range(101, 104))


def ask_all(path: str, workers: int) -> list[dict[str, object]]:
    """Call a handler in every worker at the same time, and return the facts of each of them."""
    buses = [RpcBus.connect(path) for _ in range(workers)]
    calls = [bus.start(b"", about.msg_type) for bus in buses]
    facts = []
    for bus, call in zip(buses, calls, strict=True):
        with bus.finish(call, timeout=60) as reply:
            facts.append(json.loads(bytes(reply)))
        bus.close()
    return sorted(facts, key=lambda fact: fact["name"])


@pytest.mark.parametrize("rust", [False, True])
def test_workers_are_named_and_traced(peer: Callable[..., Peer], path: str, *, rust: bool) -> None:
    # With endpoints in Rust all workers are threads of the core.
    extra = "import pricing" if rust else ""
    code = SERVER.format(workers=3, rounds=3, extra=extra)
    if rust:
        code = code.replace("def names", "dispatcher.register(pricing.mean)\n\n    def names")
    server = peer(code)
    for _ in range(3):
        assert server.line() == "ready"
        facts = ask_all(path, 3)
        first = "tachyon-work-0" if rust else "MainThread"
        expected = [first, "tachyon-work-1", "tachyon-work-2"]
        assert [fact["name"] for fact in facts] == sorted(expected)
        workers = [fact for fact in facts if fact["name"] != "MainThread"]
        assert all(fact["system"] == fact["name"] for fact in workers)
        assert all(sorted(fact["all"]) == sorted({"MainThread", *expected}) for fact in facts)  # type: ignore[arg-type]
        with RpcBus.connect(path) as bus:
            seen = json.loads(traced.call(bus, b"", timeout=60))
            for fact in workers:
                for kind, events in (("trace", ("call", "line", "return")), ("profile", ("call", "return"))):
                    for name in ("about", "inner"):
                        for event in events:
                            assert [fact["thread"], name, event] in seen[kind], (fact, kind, name, event)
            end.call(bus, b"")
        assert server.line() == "ended"
    assert server.join() == ""


def test_a_hook_that_raises_does_not_end_the_server(peer: Callable[..., Peer], path: str) -> None:
    server = peer("""
        import threading

        def broken(frame, event, argument):
            raise RuntimeError("on purpose")

        dispatcher = tachyon.RpcDispatcher()
        meeting = threading.Barrier(2)

        @dispatcher.handler(101)
        def meet(payload):
            meeting.wait(60)
            return threading.current_thread().name.encode()

        @dispatcher.handler(103)
        def end(payload):
            server.stop()
            return b""

        logging.disable()
        sys.unraisablehook = print
        with tachyon.RpcServer(path) as server:
            threading.settrace(broken)
            print("ready", flush=True)
            dispatcher.serve_forever(server, workers=2)
        print([thread.name for thread in threading.enumerate()])
    """)
    assert server.line() == "ready"
    with RpcBus.connect(path) as one, RpcBus.connect(path) as two:
        # Where the trace function fails the call fails, and Python drops the function.
        for _ in range(2):
            calls = [(bus, bus.start(b"", 101)) for bus in (one, two)]
            for bus, call in calls:
                with bus.finish(call, timeout=60):
                    pass
        end.call(one, b"")
    assert server.join().endswith("['MainThread']\n")
