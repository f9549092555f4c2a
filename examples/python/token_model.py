"""A language model that sends each word as it makes it: a chain of words, trained on a speech of Lincoln.

python examples/python/token_model.py SOCKET

The text has no end. A stream ends when its caller has read enough: `token_frontend.rs` in Rust.
"""

import random
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator

import tachyon

TEXT = """
Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in Liberty, and
dedicated to the proposition that all men are created equal. Now we are engaged in a great civil war, testing whether
that nation, or any nation so conceived and so dedicated, can long endure. We are met on a great battle-field of that
war. We have come to dedicate a portion of that field, as a final resting place for those who here gave their lives that
that nation might live. It is altogether fitting and proper that we should do this. But, in a larger sense, we can not
dedicate -- we can not consecrate -- we can not hallow -- this ground. The brave men, living and dead, who struggled
here, have consecrated it, far above our poor power to add or detract. The world will little note, nor long remember
what we say here, but it can never forget what they did here. It is for us the living, rather, to be dedicated here to
the unfinished work which they who fought here have thus far so nobly advanced. It is rather for us to be here dedicated
to the great task remaining before us -- that from these honored dead we take increased devotion to that cause for which
they gave the last full measure of devotion -- that we here highly resolve that these dead shall not have died in vain
-- that this nation, under God, shall have a new birth of freedom -- and that government of the people, by the people,
for the people, shall not perish from the earth.
"""


def train(words: list[str]) -> dict[tuple[str, ...], list[str]]:
    """Return the words that follow each word, and each pair of words."""
    following: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    # The first words follow the last ones, so every context has a next word.
    for first, second, third in zip(words, words[1:] + words[:1], words[2:] + words[:2], strict=True):
        following[first, second].append(third)
        following[second,].append(third)
    return dict(following)


MODEL = train(TEXT.split())
dispatcher = tachyon.RpcDispatcher()


class UnknownWord(tachyon.EndpointError, text="the model does not know the word {word}"):
    """The text that the model was trained on does not have the word."""

    word: str


@dispatcher.handler(msg_type=1, raises=(UnknownWord,))
def generate(prompt: str, seed: tachyon.u64) -> Iterator[str]:
    """Return the words that follow a prompt, without end."""
    context = tuple(prompt.split()[-2:])
    if context[-1:] not in MODEL:
        raise UnknownWord(word=prompt)
    chance = random.Random(seed)  # noqa: S311  # the seed makes the same text again
    made = 0
    try:
        while True:
            word = chance.choice(MODEL.get(context) or MODEL[context[-1:]])
            context = (*context[-1:], word)
            made += 1
            yield word
    finally:
        # The caller has dropped its stream, or is gone.
        print(f"{made} words after {prompt!r}", flush=True)


def main() -> None:
    """Serve any number of callers until a signal comes."""
    if len(sys.argv) == 1:
        sys.exit(f"usage: {sys.argv[0]} SOCKET")
    with tachyon.RpcServer(sys.argv[1]) as server:
        print(f"serving at {sys.argv[1]}", flush=True)
        dispatcher.serve_forever(server, stop_on=(signal.SIGTERM, signal.SIGINT))


if __name__ == "__main__":
    main()
