//! A peer that speaks the handshake by itself, and then does to the shared memory what its descriptor allows.

use std::error::Error;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, fstat, ftruncate};
use rustix::io::pwrite;
use tachyon_tests::hostile::{BUS, Connection, SINK, SOURCE, Segment, hear};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, path] = &arguments[..] else { return Err("usage: vandal sender|receiver PATH".into()) };
    let sends = role == "sender";
    let connection = Connection::connect(Path::new(path), BUS, if sends { SOURCE } else { SINK })?;
    let [ring] = &connection.rings[..] else { return Err("not welcomed with one ring".into()) };
    report(&resize(&ring.memory)?);
    let whole = fstat(&ring.memory)?.st_size.cast_unsigned();
    if sends {
        ring.publish(0, 0, b"intact")?;
        connection.ring()?;
        punch(&ring.memory, ring.arena(), 4096)?;
        ring.publish_far(1, &[7; 100], 128)?;
        connection.ring()?;
        wait_for_released(ring, 2)?;
        punch(&ring.memory, 0, whole)?;
        for position in 2..64 {
            ring.publish(position, 0, b"again")?;
        }
        connection.ring()?;
        wait_for_released(ring, 64)?;
    } else {
        // Until the sender has filled its ring.
        while !ring.is_published(63)? {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    punch(&ring.memory, 0, whole)?;
    report("holed");
    connection.ring()?;
    // Until the other side hangs up, or kills us.
    while !hear(&connection.socket)?.0.is_empty() {}
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is how a test hears of its peer")]
fn report(what: &str) {
    println!("{what}");
}

/// Every way to change the file's size, or to take the right to write from whoever has it mapped.
fn resize(memory: &OwnedFd) -> Result<String, Box<dyn Error>> {
    let len = fstat(memory)?.st_size.cast_unsigned();
    let outcomes = [
        ("empty", ftruncate(memory, 0)),
        ("shrink", ftruncate(memory, len - 1)),
        ("grow", ftruncate(memory, len * 2)),
        ("allocate", fallocate(memory, FallocateFlags::empty(), len, 4096)),
        ("append", pwrite(memory, &[1], len).map(drop)),
        ("seal writing", fcntl_add_seals(memory, SealFlags::WRITE)),
        ("seal later writing", fcntl_add_seals(memory, SealFlags::FUTURE_WRITE)),
        ("collapse", fallocate(memory, FallocateFlags::COLLAPSE_RANGE, 0, 4096)),
        ("insert", fallocate(memory, FallocateFlags::INSERT_RANGE, 0, 4096)),
    ];
    let done: Vec<&str> = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(what, _)| *what).collect();
    if fstat(memory)?.st_size.cast_unsigned() != len {
        return Err("the size has changed".into());
    }
    Ok(if done.is_empty() { "nothing".to_owned() } else { done.join(", ") })
}

fn punch(memory: &OwnedFd, from: u64, len: u64) -> Outcome {
    Ok(fallocate(memory, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, len)?)
}

/// Waits until the receiver has given back everything before a position.
fn wait_for_released(ring: &Segment, position: u64) -> Outcome {
    while ring.released()? < position {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
