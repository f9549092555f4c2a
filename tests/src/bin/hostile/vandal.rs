//! A peer that performs the handshake without the library, and then attacks the other side through the shared memory:
//! `vandal sender|receiver|caller SOCKET`.

use std::error::Error;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, fstat, ftruncate};
use rustix::io::{Errno, pwrite};
use rustix::net::{RecvFlags, recv};
use tachyon::payload::Value;
use tachyon_tests::contract;
use tachyon_tests::process::{arguments, report};
use tachyon_tests::wire::{BUS, Connection, RPC, SINK, SOURCE, Segment, receive};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments = arguments();
    let [role, path] = &arguments[..] else { return Err("usage: vandal sender|receiver|caller SOCKET".into()) };
    if *role == "caller" {
        return rewrite(Path::new(path));
    }
    let sends = *role == "sender";
    let connection = Connection::connect(Path::new(path), BUS, if sends { SOURCE } else { SINK })?;
    let [ring] = &connection.rings[..] else { return Err("not welcomed with one ring".into()) };
    report(&resize(&ring.memory)?)?;
    let whole = fstat(&ring.memory)?.st_size.cast_unsigned();
    if sends {
        ring.publish(0, 0, b"intact")?;
        connection.ring()?;
        punch(&ring.memory, ring.arena(), 4096)?;
        ring.publish_in_arena(1, &[7; 100], 128)?;
        connection.ring()?;
        wait_for_released(ring, 2)?;
        punch(&ring.memory, 0, whole)?;
        for position in 2..64 {
            ring.publish(position, 0, b"again")?;
        }
        connection.ring()?;
        wait_for_released(ring, 64)?;
    } else {
        // Waits until the sender has filled its ring.
        while !ring.is_published(63)? {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    punch(&ring.memory, 0, whole)?;
    report("holed")?;
    connection.ring()?;
    // Waits until the other side hangs up, or kills this process.
    while !receive(&connection.socket)?.0.is_empty() {}
    Ok(())
}

/// Sends requests for endpoint 1, and changes them while the callee reads them, until the connection ends.
fn rewrite(path: &Path) -> Outcome {
    let connection = Connection::connect(path, RPC, SOURCE)?;
    let [requests, replies] = &connection.rings[..] else { return Err("not welcomed with two rings".into()) };
    let valid = contract::a_small().to_bytes();
    let len = valid.len() as u64;
    let next = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| -> Result<(), Errno> {
            while requests.state()? == 0 && is_connected(&connection.socket) {
                let position = next.load(Ordering::Relaxed);
                // At most 8 requests at a time, so that most are changed while they are read.
                if position < requests.released()? + 8 {
                    requests.publish(position, position + 1, &valid)?;
                    next.store(position + 1, Ordering::Relaxed);
                    connection.ring()?;
                }
                // Releases every reply unread.
                let released = replies.released()?;
                if replies.is_published(released)? {
                    replies.release(released + 1)?;
                }
            }
            Ok(())
        });
        let changed = scope.spawn(|| -> Result<(), Errno> {
            let mut random = fastrand::Rng::with_seed(7);
            while !over.load(Ordering::Relaxed) {
                let position = next.load(Ordering::Relaxed).saturating_sub(random.u64(1..8));
                for _ in 0..4 {
                    let changed = [random.u8(..)];
                    requests.rewrite(position, random.u64(..len), &changed)?;
                }
                // Restored, so that the callee reads about half of the requests as valid.
                requests.rewrite(position, 0, &valid)?;
            }
            Ok(())
        });
        let sent = sent.join();
        over.store(true, Ordering::Relaxed);
        drop(changed.join());
        // The sending thread fails when the callee ends the connection.
        drop(sent);
        Ok(())
    })
}

/// Whether the peer has not hung up. Drops a message of the peer.
fn is_connected(socket: &OwnedFd) -> bool {
    let mut bytes = [0; 64];
    !matches!(recv(socket, &mut bytes, RecvFlags::DONTWAIT), Ok((_, 0)) | Err(Errno::CONNRESET | Errno::PIPE))
}

/// Tries every way to change the file's size or to forbid writing, and names those that succeed.
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

/// Waits until the receiver has released every message before a position.
fn wait_for_released(ring: &Segment, position: u64) -> Outcome {
    while ring.released()? < position {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
