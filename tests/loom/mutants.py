"""Breaks the library in one place after the other, and expects a model to notice each time.

`make loom-mutants`. The library itself stays as it is: a copy of it is broken, under target/. A mutant that passes every
model is a place that the models do not check.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPY = ROOT / "target" / "loom-mutants"

# What is broken, where, and how: a text of a file becomes another wherever it stands.
MUTANTS = [
    ("a message is published without release", "ring/producer.rs", "slot.sequence.store(sequence, Ordering::Release)", "slot.sequence.store(sequence, Ordering::Relaxed)"),
    ("the sequence is looked at without acquire", "ring/consumer.rs", "slot.sequence.load(Ordering::Acquire)", "slot.sequence.load(Ordering::Relaxed)"),
    ("a slot is given back without release", "ring/consumer.rs", "store(self.released, Ordering::Release)", "store(self.released, Ordering::Relaxed)"),
    ("the released count is looked at without acquire", "ring/producer.rs", "released.0.load(Ordering::Acquire)", "released.0.load(Ordering::Relaxed)"),
    ("a payload is given back before it is taken", "ring/consumer.rs", "self.next = expected;", "self.next = expected; self.released = expected; self.publish_released();"),
    ("no barrier after publishing", "ring/producer.rs", "self.memory.barrier().before_looking_for_sleepers();", ""),
    ("no barrier after releasing", "ring/consumer.rs", "self.memory.barrier().before_looking_for_sleepers();", ""),
    ("no barrier before parking", "wait/source.rs", "barrier_of(sources).before_the_last_look();", ""),
    ("a weaker fence after publishing", "barrier.rs", "Self::Fences => fence(Ordering::SeqCst),", "Self::Fences => fence(Ordering::AcqRel),"),
    ("a weaker fence before parking", "barrier.rs", "        fence(Ordering::SeqCst);\n        if self", "        fence(Ordering::AcqRel);\n        if self"),
    ("no look after the parked word is set", "wait/mod.rs", "let found = look();", "let found: Result<Option<T>, E> = Ok(None);"),
    ("no look after resting for messages", "bus/rest.rs", "Lack::Messages => !incoming.consumer.is_ready(),", "Lack::Messages => true,"),
    ("no look after resting for room", "bus/rest.rs", "Lack::Room => matches!(outgoing.flush(), Ok(false)),", "Lack::Room => true,"),
    ("who rests for room arms the wrong bell", "bus/rest.rs", "Lack::Room => room_source(outgoing.channel()).arm(),", "Lack::Room => data_source(incoming.channel()).arm(),"),
    ("who waits for room is not woken by replies", "bus/exchange.rs", "[room_source(forward), data_source(reverse)]", "[room_source(forward)]"),
    ("who waits for room takes no replies", "bus/exchange.rs", "Some(frame) => keep(incoming, frame)?,", "Some(_) | None if true => break, Some(frame) => keep(incoming, frame)?,"),
    ("a waker that clears the word and does not ring", "bus/outgoing.rs", "self.channel().data.ring();", ""),
    ("a close is looked at without acquire", "ring/memory.rs", "state.0.load(Ordering::Acquire)", "state.0.load(Ordering::Relaxed)"),
    ("no last look after a close", "bus/incoming.rs", "match consumer.try_take() {\n        Ok(None) => Err(Halt::Closed),", "match Ok(None) {\n        Ok(None) => Err(Halt::Closed),"),
    ("a close that wakes nobody", "bus/connection.rs", "            channel.memory.close(self.side);\n        }\n        self.ring_all();\n        self.peer.hang_up();", "            channel.memory.close(self.side);\n        }"),
    ("a fault that wakes nobody", "bus/connection.rs", "            channel.memory.condemn();\n        }\n        self.ring_all();\n        self.peer.hang_up();", "            channel.memory.condemn();\n        }"),
    ("a death is asked after the last look", "wait/mod.rs", "            let gone = peer.was_gone();\n            if let Some(found) = look().map_err(Stop::Failed)? {\n                return Ok(found);\n            }\n            if gone {", "            if peer.was_gone() {"),
]


def copy() -> None:
    shutil.rmtree(COPY, ignore_errors=True)
    for part in ("tachyon/src", "tests/loom"):
        # New times, or cargo would take what it built of the last broken copy for this one.
        shutil.copytree(ROOT / part, COPY / part, copy_function=shutil.copy)
    manifest = (ROOT / "Cargo.toml").read_text()
    members = manifest[manifest.index("members = [") :].partition("]")[0] + "]"
    (COPY / "Cargo.toml").write_text(manifest.replace(members, 'members = ["tests/loom"]'))
    shutil.copy(ROOT / "Cargo.lock", COPY / "Cargo.lock")


def survives() -> bool:
    """Whether every model passes."""
    command = ["cargo", "test", "--quiet", "--release", "--package", "tachyon-loom", "--test", "models"]
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    environment = os.environ | {"RUSTFLAGS": "--cfg loom", "CARGO_TARGET_DIR": str(Path(target) / "loom-mutants-build")}
    ran = subprocess.run(command, cwd=COPY, env=environment, capture_output=True, text=True, check=False)
    if "could not compile" in ran.stderr:
        sys.exit(f"{ran.stderr}\nthe models could not be built")
    # cargo's quiet list ends with the names, each on a line of its own and four spaces in.
    tail = ran.stdout.rpartition("\nfailures:\n")[2]
    failed = sorted({line.strip() for line in tail.splitlines() if re.fullmatch(r" {4}[a-z_]+", line)})
    noticed = ran.returncode != 0
    # A panic during a panic ends the program before it can say which.
    print(f"    noticed by: {', '.join(failed) or 'an abort' if noticed else 'nobody'}", flush=True)
    return not noticed


def main() -> None:
    copy()
    print("nothing is broken:", flush=True)
    if not survives():
        sys.exit("the models fail as it is")
    survivors = []
    for what, file, text, instead in MUTANTS:
        path = COPY / "tachyon" / "src" / file
        whole = path.read_text()
        if text not in whole:
            sys.exit(f"{file} has changed: nowhere is {text!r}")
        path.write_text(whole.replace(text, instead))
        print(f"{what}:", flush=True)
        if survives():
            survivors.append(what)
        path.write_text(whole)
    shutil.rmtree(COPY)
    if survivors:
        sys.exit(f"no model noticed: {'; '.join(survivors)}")


main()
