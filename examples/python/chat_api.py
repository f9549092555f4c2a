"""The contract of the chat. `chat_api.rs` has the same contract."""

from collections.abc import AsyncIterator

import tachyon


class Line(tachyon.Struct):
    """A line of the chat."""

    author: str
    text: str


@tachyon.tachyon_rpc(msg_type=1)
def enter(name: str, items: AsyncIterator[str]) -> AsyncIterator[Line]:
    """Enter the room until the caller ends its lines; all members receive the lines of all."""
    raise NotImplementedError
