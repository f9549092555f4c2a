use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};

use super::*;

thread_local! {
    /// Whether this thread behaves as on a system before Linux 6.16, and peeks.
    pub(crate) static AS_BEFORE_6_16: Cell<bool> = const { Cell::new(false) };
}

/// Seconds that the close of a test's descriptor takes, and the most time that an operation may take.
const LINGERS: u64 = 6;
const AT_ONCE: Duration = Duration::from_secs(2);

/// Runs a test as before Linux 6.16, and also with refused descriptors if this system refuses them.
fn on_both(test: impl Fn(bool)) {
    for peeks in [false, true] {
        AS_BEFORE_6_16.set(peeks);
        let (probe, _other) = pair();
        if peeks || probe.rights == Rights::Refused {
            test(peeks);
        }
        AS_BEFORE_6_16.set(false);
    }
}

fn pair() -> (Socket, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    (Socket::connecting(ours), theirs)
}

/// A descriptor whose last close takes [`LINGERS`] seconds, and the other end, which never reads.
pub(crate) fn lingering() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    sockopt::set_socket_recv_buffer_size(&listener, 4096).unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.write(&[0; 8192]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    sockopt::set_socket_linger(&stream, Some(Duration::from_secs(LINGERS))).unwrap();
    (stream.into(), other)
}

/// Sends a message with any descriptors.
fn pass(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(200))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(descriptors)));
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
}

fn memory_file() -> OwnedFd {
    let file = memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    file
}

/// Waits until the last copy of a pipe's writing end is closed. A child of another test may hold a copy until its exec.
fn assert_closes(reader: &OwnedFd) {
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&patience)), Ok(1));
    assert_eq!(rustix::io::read(reader, &mut [0; 1]), Ok(0));
}

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK).unwrap()
}

fn within<T>(operation: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let outcome = operation();
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
    outcome
}

#[test]
fn rings_arrive_with_their_time_and_are_taken_once() {
    on_both(|_| {
        let (ours, theirs) = pair();
        assert_eq!(ours.hear().unwrap(), Heard::default(), "nothing came, and nothing waits");
        let theirs = Socket::connecting(theirs);
        assert!(theirs.ring(7) && theirs.ring(9) && theirs.ring(8));
        assert_eq!(ours.hear().unwrap(), Heard { rang: true, sent_at: 9, ..Heard::default() });
        assert_eq!(ours.hear().unwrap(), Heard::default());
        drop(theirs);
        assert_eq!(ours.hear().unwrap(), Heard { gone: true, ..Heard::default() });
        assert!(ours.ring(1), "the other end is gone");
    });
}

#[test]
fn a_flood_is_taken_in_parts_and_a_full_socket_counts_as_rung() {
    on_both(|_| {
        let (ours, theirs) = pair();
        let theirs = Socket::connecting(theirs);
        for now in 0..100_000 {
            assert!(theirs.ring(now), "however full it is");
        }
        let mut parts = 0;
        while ours.hear().unwrap().more {
            parts += 1;
        }
        assert!(parts > 1, "{parts} parts");
        // The peer's flags belong to the peer's end alone.
        assert!(ours.ring(1) && !ours.hear().unwrap().rang);
    });
}

#[test]
fn a_message_of_another_length_is_no_ring_message() {
    on_both(|_| {
        for len in [1, 4, 7, 9, 100] {
            let (ours, theirs) = pair();
            let theirs = Socket::connecting(theirs);
            assert!(theirs.ring(1));
            pass(&theirs, &vec![0; len], &[]).unwrap();
            let fault = ours.hear().unwrap_err();
            assert_eq!(fault, Fault::Socket { len: len.min(RING_LEN + 1), descriptors: false });
        }
    });
}

#[test]
fn a_passed_descriptor_is_refused_or_ends_the_connection_and_holds_nothing_up() {
    on_both(|peeks| {
        let (ours, theirs) = pair();
        let (lingers, other) = lingering();
        let passed = pass(&theirs, &[0; 8], &[lingers.as_fd()]);
        // Nothing lingers whose other end is gone.
        let _other = peeks.then_some(other);
        drop(lingers);
        if !peeks {
            assert_eq!(passed, Err(Errno::PERM), "the system refuses the descriptor to its sender");
            assert_eq!(ours.hear().unwrap(), Heard::default());
            return;
        }
        passed.unwrap();
        let fault = within(|| ours.hear().unwrap_err());
        assert_eq!(fault, Fault::Socket { len: 8, descriptors: true });
        assert_eq!(within(|| ours.hear().unwrap_err()), fault, "the message is never taken");
        within(|| drop(ours));
    });
}

#[test]
fn a_descriptor_behind_other_messages_holds_no_closing_up() {
    on_both(|peeks| {
        let (ours, theirs) = pair();
        let (lingers, other) = lingering();
        pass(&theirs, &[0; 8], &[]).unwrap();
        assert_eq!(pass(&theirs, b"anything", &[lingers.as_fd()]).is_ok(), peeks);
        let _other = peeks.then_some(other);
        drop(lingers);
        within(|| drop(ours));
    });
}

#[test]
fn an_empty_message_hides_no_descriptor_from_the_closing() {
    on_both(|peeks| {
        let (ours, theirs) = pair();
        let (lingers, other) = lingering();
        // A read takes an empty message for the end.
        pass(&theirs, b"", &[]).unwrap();
        let passed = pass(&theirs, b"anything", &[lingers.as_fd()]);
        let _other = peeks.then_some(other);
        assert_eq!(passed.is_ok(), peeks);
        drop(lingers);
        within(|| drop(ours));
    });
}

#[test]
fn descriptors_come_in_where_they_belong_in_order_and_close_on_exec() {
    on_both(|_| {
        let (mut ours, theirs) = pair();
        ours.admit_rights();
        let files = [memory_file(), memory_file()];
        rustix::fs::ftruncate(&files[1], 77).unwrap();
        pass(&theirs, b"hi", &[files[0].as_fd(), files[1].as_fd()]).unwrap();
        let mut buffer = [0; 8];
        let packet = ours.receive(&mut buffer, true).unwrap();
        assert_eq!((&buffer[..packet.len], packet.cut, packet.bad_descriptors), (&b"hi"[..], false, None));
        let sizes: Vec<_> = packet.descriptors.iter().map(|fd| rustix::fs::fstat(fd).unwrap().st_size).collect();
        assert_eq!(sizes, [0, 77]);
        for fd in &packet.descriptors {
            assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
        }
        assert!(ours.refuse_rights(), "nothing lies behind it");
        assert_eq!(ours.receive(&mut buffer, false).unwrap_err(), Errno::AGAIN, "the message was taken");
    });
}

#[test]
fn a_message_behind_the_expected_one_is_noticed() {
    on_both(|_| {
        let (mut ours, theirs) = pair();
        ours.admit_rights();
        let (lingers, _other) = lingering();
        pass(&theirs, b"hi", &[memory_file().as_fd()]).unwrap();
        pass(&theirs, b"more", &[lingers.as_fd()]).unwrap();
        drop(lingers);
        assert_eq!(ours.receive(&mut [0; 8], true).unwrap().descriptors.len(), 1);
        assert!(!ours.refuse_rights());
        within(|| drop(ours));
    });
}

#[test]
fn descriptors_of_other_kinds_are_closed_elsewhere() {
    on_both(|_| {
        let (mut ours, theirs) = pair();
        ours.admit_rights();
        let (reader, writer) = pipe();
        let (lingers, _other) = lingering();
        pass(&theirs, b"hi", &[memory_file().as_fd(), writer.as_fd(), lingers.as_fd()]).unwrap();
        drop((writer, lingers));
        let packet = within(|| ours.receive(&mut [0; 8], true).unwrap());
        assert_eq!((packet.bad_descriptors, packet.descriptors.len()), (Some(BadDescriptors::NotMemory), 1));
        within(|| drop((packet, ours)));
        assert_closes(&reader);
    });
}

#[test]
fn descriptors_that_were_not_asked_for_never_enter() {
    on_both(|peeks| {
        let (ours, theirs) = pair();
        let (reader, writer) = pipe();
        let passed = pass(&theirs, b"hi", &[writer.as_fd()]);
        drop(writer);
        if peeks {
            passed.unwrap();
            let packet = ours.receive(&mut [0; 8], false).unwrap();
            assert_eq!((packet.bad_descriptors, packet.descriptors.len()), (Some(BadDescriptors::Unexpected), 0));
        } else {
            assert_eq!(passed, Err(Errno::PERM));
        }
        drop(ours);
        assert_closes(&reader);
    });
}

#[test]
fn a_flood_of_descriptors_leaves_none_behind() {
    on_both(|_| {
        let (mut ours, theirs) = pair();
        ours.admit_rights();
        let (reader, writer) = pipe();
        pass(&theirs, b"x", &[writer.as_fd(); 200]).unwrap();
        drop(writer);
        let packet = ours.receive(&mut [0; 8], true).unwrap();
        assert_eq!((packet.bad_descriptors, packet.descriptors.len()), (Some(BadDescriptors::TooMany), 0));
        drop((packet, ours));
        assert_closes(&reader);
    });
}

#[test]
fn a_long_message_is_told_apart() {
    on_both(|_| {
        let (ours, theirs) = pair();
        pass(&theirs, &[7; 9], &[]).unwrap();
        let packet = ours.receive(&mut [0; 8], false).unwrap();
        assert!(packet.cut);
        assert_eq!(packet.len, 8);
    });
}

#[test]
fn too_many_descriptors_are_not_sent() {
    let (ours, _theirs) = pair();
    let many = [ours.as_fd(); 20];
    assert_eq!(ours.send(b"x", &many), Err(Errno::TOOBIG));
}

/// The peer does not read a message, so its end is a reset, which the system reports first and once.
#[test]
fn a_reset_hides_no_descriptor() {
    on_both(|peeks| {
        for drops in [true, false] {
            let (ours, theirs) = pair();
            let (lingers, other) = lingering();
            assert!(ours.ring(1));
            let passed = pass(&theirs, &[0; 8], &[lingers.as_fd()]);
            let _other = peeks.then_some(other);
            assert_eq!(passed.is_ok(), peeks);
            drop(lingers);
            drop(theirs);
            if !drops {
                assert!(within(|| ours.hear().unwrap()).gone);
            }
            within(|| drop(ours));
        }
    });
}

/// A message that comes between the peek and the take stays for the next peek.
#[test]
fn no_message_is_taken_without_a_peek() {
    use std::sync::atomic::{AtomicBool, Ordering};
    AS_BEFORE_6_16.set(true);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        let (ours, theirs) = pair();
        let begun = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let file = memory_file();
                while !begun.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                pass(&theirs, &[0; 8], &[file.as_fd()]).unwrap();
            });
            begun.store(true, Ordering::Release);
            loop {
                match ours.hear() {
                    Ok(heard) => assert!(!heard.rang, "a message with a descriptor was taken"),
                    Err(fault) => break assert_eq!(fault, Fault::Socket { len: 8, descriptors: true }),
                }
            }
        });
    }
    AS_BEFORE_6_16.set(false);
}
