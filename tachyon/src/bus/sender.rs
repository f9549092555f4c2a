//! The sending end of a bus.

use core::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use super::error::SendError;
use crate::connection::{self, CommitError, Established, State, Tx, slice};
use crate::handshake::{ConnectError, Kind, ListenError, Role};
use crate::options::Options;
use crate::ring::{MessageHeader, Reservation};
use crate::shm::NumaError;
use crate::wait::{Deadline, Interrupt, PollingMode};

/// The sending end of a bus between two processes.
///
/// One thread at a time uses a sender, which `&mut self` ensures. Dropping the sender closes the bus in good order: the
/// receiver gets all sent messages, then [`RecvError::Closed`](crate::RecvError::Closed).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("demo.sock");
/// use tachyon::{Receiver, Sender};
/// # let listen_at = path.clone();
///
/// let receiver = std::thread::spawn(move || -> Result<Vec<u8>, tachyon::Error> {
///     let mut receiver = Receiver::listen(&listen_at, 1 << 16)?;
///     let first = receiver.recv()?;
///     Ok(first.to_vec())
/// });
/// let mut sender = Sender::connect(&path)?;
/// sender.send(b"hello tachyon", 1)?;
/// assert_eq!(receiver.join().unwrap()?, b"hello tachyon");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Threads cannot share a sender:
///
/// ```compile_fail,E0596
/// fn two_threads(sender: &tachyon::Sender) {
///     sender.send(b"x", 0);
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropping a sender closes its bus"]
pub struct Sender {
    tx: Tx,
}

impl Sender {
    /// Makes a bus of `capacity` bytes at `path`, and waits for the receiver to connect. A capacity is a power of two,
    /// and the longest message has this length.
    ///
    /// # Errors
    /// [`ListenError`]: a capacity that is not a power of two, an unusable path, or too little memory.
    pub fn listen(path: impl AsRef<Path>, capacity: usize) -> Result<Self, ListenError> {
        Self::listen_with(path, capacity, &Options::new())
    }

    /// As [`listen`](Self::listen), with [`Options`].
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and [`ListenError::TimedOut`] after the timeout of the options.
    pub fn listen_with(path: impl AsRef<Path>, capacity: usize, options: &Options) -> Result<Self, ListenError> {
        Ok(Self::over(&connection::listen(path.as_ref(), Kind::Bus, Role::Source, &[capacity], options)?))
    }

    /// Connects to the receiver that listens at `path`, and waits up to 5 seconds for the receiver to listen.
    ///
    /// # Errors
    /// [`ConnectError`]: no process listens, or the listener has another kind, version or user.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_with(path, &Options::new())
    }

    /// As [`connect`](Self::connect), with [`Options`].
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, ConnectError> {
        Ok(Self::over(&connection::connect(path.as_ref(), Kind::Bus, Role::Source, options)?))
    }

    pub(crate) fn over(established: &Established) -> Self {
        Self { tx: established.tx(0) }
    }

    /// Sends a copy of `data`, waiting for room.
    ///
    /// # Errors
    /// [`SendError`]; the message was not sent.
    #[inline]
    pub fn send(&mut self, data: &[u8], type_id: u32) -> Result<(), SendError> {
        Ok(self.tx.send(data, MessageHeader::new(type_id, 0), Deadline::never())?)
    }

    /// As [`send`](Self::send), waiting at most `timeout`.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`SendError::TimedOut`].
    pub fn send_timeout(&mut self, data: &[u8], type_id: u32, timeout: Duration) -> Result<(), SendError> {
        Ok(self.tx.send(data, MessageHeader::new(type_id, 0), Deadline::after(timeout))?)
    }

    /// Sends a copy of `data` if there is room now.
    ///
    /// # Errors
    /// [`SendError::Full`] when there is no room; otherwise as [`send`](Self::send).
    pub fn try_send(&mut self, data: &[u8], type_id: u32) -> Result<(), SendError> {
        if self.tx.try_send(data, MessageHeader::new(type_id, 0))? { Ok(()) } else { Err(SendError::Full) }
    }

    /// Reserves `size` bytes of the bus to write a message in place, waiting for room. The message is sent by
    /// [`TxGuard::commit`].
    ///
    /// ```
    /// # fn demo(sender: &mut tachyon::Sender) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut slot = sender.reserve(64, 7)?;
    /// slot[..5].copy_from_slice(b"hello");
    /// slot.commit(5)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn reserve(&mut self, size: usize, type_id: u32) -> Result<TxGuard<'_>, SendError> {
        let reservation = self.tx.reserve(size, Deadline::never())?;
        Ok(TxGuard { tx: &mut self.tx, reservation, type_id })
    }

    /// As [`reserve`](Self::reserve), waiting at most `timeout`.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), and [`SendError::TimedOut`].
    pub fn reserve_timeout(&mut self, size: usize, type_id: u32, timeout: Duration) -> Result<TxGuard<'_>, SendError> {
        let reservation = self.tx.reserve(size, Deadline::after(timeout))?;
        Ok(TxGuard { tx: &mut self.tx, reservation, type_id })
    }

    /// Reserves `size` bytes of the bus if there is room now.
    ///
    /// # Errors
    /// [`SendError::Full`] when there is no room; otherwise as [`reserve`](Self::reserve).
    pub fn try_reserve(&mut self, size: usize, type_id: u32) -> Result<TxGuard<'_>, SendError> {
        let reservation = self.tx.try_reserve(size)?.ok_or(SendError::Full)?;
        Ok(TxGuard { tx: &mut self.tx, reservation, type_id })
    }

    /// Longest message that this bus can carry, in bytes: the capacity.
    pub fn max_len(&self) -> usize {
        self.tx.max_len()
    }

    /// The state of the connection. Costs a system call.
    pub fn state(&self) -> State {
        self.tx.connection.state()
    }

    /// Sets how this sender waits for room: it spins, parks, or both.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.tx.waiter.budget.set_mode(mode);
    }

    /// Sets the function that a wait asks at least every 50 ms; `true` ends the wait as interrupted.
    pub fn set_interrupt(&mut self, interrupt: Option<Interrupt>) {
        self.tx.waiter.interrupt = interrupt;
    }

    /// Moves the memory of the bus to NUMA node `node` (0 to 63). Pages that the peer has touched stay, so call this
    /// right after connecting.
    ///
    /// # Errors
    /// [`NumaError`]: no such node, or no NUMA support. The bus stays usable.
    pub fn set_numa_node(&self, node: u32) -> Result<(), NumaError> {
        self.tx.ring().segment().bind_to_node(node)
    }

    /// Closes the bus in good order, as dropping it does.
    pub fn close(self) {}
}

/// Reserved room for one message, to be written in place. Dereferences to its bytes, which hold bytes of earlier
/// messages.
///
/// Dropping the guard sends nothing and gives the room back.
#[derive(Debug)]
#[must_use = "a guard that is not committed sends nothing"]
pub struct TxGuard<'a> {
    tx: &'a mut Tx,
    reservation: Reservation,
    type_id: u32,
}

impl TxGuard<'_> {
    /// Changes the message's type id.
    pub fn set_type_id(&mut self, type_id: u32) {
        self.type_id = type_id;
    }

    /// Sends the first `actual` bytes as the message.
    ///
    /// # Errors
    /// [`CommitError`] when `actual` is more than was reserved, or in a forked child; the message is not sent.
    pub fn commit(self, actual: usize) -> Result<(), CommitError> {
        let reserved = self.reservation.len();
        if actual > reserved {
            return Err(CommitError::TooLong { actual, reserved });
        }
        self.tx.connection.check_process().map_err(|_| CommitError::Forked)?;
        self.tx.publish(self.reservation, actual, MessageHeader::new(self.type_id, 0));
        Ok(())
    }
}

impl Deref for TxGuard<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        slice::reserved(&self.reservation, self.tx)
    }
}

impl DerefMut for TxGuard<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        slice::reserved_mut(&mut self.reservation, self.tx)
    }
}
