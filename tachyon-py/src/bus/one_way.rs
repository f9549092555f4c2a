//! `Bus`: one direction between two processes; the first operation decides the role of this side.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyType;
use tachyon::__binding::{bus_closer, bus_receiving, bus_sending};
use tachyon::PollingMode;

use crate::args::{self, Integer, Polling};
use crate::bus::guards::{RxBatchGuard, RxGuard, TxGuard};
use crate::bus::lifetime::{Lifetime, closed, connect_options, options};
use crate::bus::message::Message;
use crate::bus::ring_ends::{InUse, RxEnd, TxEnd, busy};
use crate::bus::try_lock::{DelayedRelease, Guard, Release, TryLock};
use crate::errors::{PeerClosedError, Raise, WrongDirectionError};
use crate::memory::buffer_export::copied_from;
use crate::memory::payload::Payload;
use crate::runtime::interrupt::detached;

/// The role of this side.
enum Role {
    Unassigned(tachyon::Bus),
    Receiving(RxEnd),
    Sending(TxEnd),
    Closed,
}

/// This side of the bus, as the holder of its lock sees it.
pub(crate) struct Direction {
    role: Role,
    polling: PollingMode,
    /// Whether this side closed the bus; open guards still keep the memory.
    closing: bool,
}

impl Direction {
    fn check_open(&self) -> PyResult<()> {
        if self.closing { Err(closed()) } else { Ok(()) }
    }

    /// The receiving end; a bus without a role takes this role.
    #[inline]
    fn rx_end(&mut self) -> PyResult<&mut RxEnd> {
        self.check_open()?;
        if let Role::Unassigned(bus) = &self.role {
            let mut ring = bus_receiving(bus).map_err(Raise::raise)?;
            ring.set_polling_mode(self.polling);
            self.role = Role::Receiving(RxEnd::new(ring));
        }
        match &mut self.role {
            Role::Receiving(rx_end) => Ok(rx_end),
            Role::Sending(_) => Err(WrongDirectionError::new_err(
                "this side sends, so it cannot receive; open a second bus for the way back",
            )),
            Role::Unassigned(_) | Role::Closed => Err(closed()),
        }
    }

    /// The sending end; a bus without a role takes this role.
    #[inline]
    fn tx_end(&mut self) -> PyResult<&mut TxEnd> {
        self.check_open()?;
        if let Role::Unassigned(bus) = &self.role {
            let mut ring = bus_sending(bus).map_err(Raise::raise)?;
            ring.set_polling_mode(self.polling);
            self.role = Role::Sending(TxEnd::new(ring));
        }
        match &mut self.role {
            Role::Sending(tx_end) => Ok(tx_end),
            Role::Receiving(_) => Err(WrongDirectionError::new_err(
                "this side receives, so it cannot send; open a second bus for the way back",
            )),
            Role::Unassigned(_) | Role::Closed => Err(closed()),
        }
    }

    fn in_use(&mut self) -> Option<&mut InUse> {
        match &mut self.role {
            Role::Receiving(rx_end) => Some(&mut rx_end.in_use),
            Role::Sending(tx_end) => Some(&mut tx_end.in_use),
            Role::Unassigned(_) | Role::Closed => None,
        }
    }

    /// Frees the memory of a closed bus once no guard is left.
    fn close_if_free(&mut self) {
        if self.closing && self.in_use().is_none_or(|in_use| *in_use == InUse::No) {
            self.role = Role::Closed;
        }
    }
}

impl Release for Direction {
    fn apply(&mut self, release: DelayedRelease) {
        match (release, &mut self.role) {
            (DelayedRelease::Message, Role::Receiving(rx_end)) => rx_end.give_back(),
            (DelayedRelease::Reservation, Role::Sending(tx_end)) => tx_end.roll_back(),
            (DelayedRelease::Connection, _) => self.closing = true,
            _ => {}
        }
        self.close_if_free();
    }
}

/// A one-way bus: one process sends, the other receives. The first operation decides which.
///
/// One thread may use it at a time; a second one gets `BusyError`. As an iterator it yields owned messages until the
/// peer closes.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct Bus {
    direction: TryLock<Direction>,
    lifetime: Lifetime,
}

impl Bus {
    fn over(bus: tachyon::Bus, path: PathBuf, polling: Polling) -> Self {
        let lifetime = Lifetime::new(path, bus_closer(&bus));
        let direction = Direction { role: Role::Unassigned(bus), polling: polling.0, closing: false };
        Self { direction: TryLock::new(direction), lifetime }
    }

    #[inline]
    fn direction(&self) -> PyResult<Guard<'_, Direction>> {
        self.direction.try_lock().ok_or_else(busy)
    }

    /// Releases the slot of a guard that has ended, at once or when the lock of the direction is free.
    pub(crate) fn delay(&self, release: DelayedRelease) {
        self.direction.delay(release);
    }

    /// Marks the direction as in use by views that outlive their guard.
    pub(crate) fn outlived_by_views(&self) {
        if let Some(mut direction) = self.direction.try_lock()
            && let Some(in_use) = direction.in_use()
        {
            *in_use = InUse::ByViews;
        }
    }

    /// Publishes the bytes that a guard wrote.
    pub(crate) fn publish(&self, size: usize, type_id: u32) -> PyResult<()> {
        let Some(mut direction) = self.direction.try_lock() else {
            self.direction.delay(DelayedRelease::Reservation);
            return Err(busy());
        };
        if direction.closing {
            direction.apply(DelayedRelease::Reservation);
            return Err(closed());
        }
        direction.tx_end()?.publish(size, type_id, 0)
    }

    fn next_message(&self, py: Python<'_>, spins: Option<PollingMode>, timeout: Option<f64>) -> PyResult<Message> {
        let timeout = args::timeout(timeout)?;
        let mut direction = self.direction()?;
        let rx_end = direction.rx_end()?;
        let taking = rx_end.take(py, spins, timeout)?;
        let data = copied_from(py, taking);
        rx_end.ring.release(taking.position());
        Ok(Message::new(taking.type_id(), taking.len(), data?.into_any().unbind()))
    }
}

#[pymethods]
impl Bus {
    /// Make a bus of `capacity` payload bytes (a power of two) and wait for one peer to connect.
    ///
    /// `timeout` is in seconds, None waits for ever. Peers of other users are refused unless `any_uid` is set.
    /// `polling` says how this side waits for its peer: `"adaptive"` spins for as long as a park costs and then parks,
    /// `"spin"` never parks and takes a core, `"park"` parks at once.
    #[classmethod]
    #[pyo3(
        signature = (socket_path, capacity, *, timeout=None, any_uid=false, polling=Polling::ADAPTIVE),
        text_signature = "($cls, socket_path, capacity, *, timeout=None, any_uid=False, polling='adaptive')"
    )]
    fn listen(
        cls: &Bound<'_, PyType>,
        py: Python<'_>,
        socket_path: PathBuf,
        capacity: Integer,
        timeout: Option<f64>,
        any_uid: bool,
        polling: Polling,
    ) -> PyResult<Self> {
        let _ = cls;
        let options = options(timeout, any_uid)?;
        let capacity = args::size("capacity", capacity)?;
        let bus = detached(py, || tachyon::Bus::listen_with(&socket_path, capacity, &options))?;
        Ok(Self::over(bus, socket_path, polling))
    }

    /// Connect to a listener, waiting up to `timeout` seconds for it to appear (None: for ever). `polling` is as in
    /// `listen`.
    #[classmethod]
    #[pyo3(
        signature = (socket_path, *, timeout=5.0, any_uid=false, polling=Polling::ADAPTIVE),
        text_signature = "($cls, socket_path, *, timeout=5.0, any_uid=False, polling='adaptive')"
    )]
    fn connect(
        cls: &Bound<'_, PyType>,
        py: Python<'_>,
        socket_path: PathBuf,
        timeout: Option<f64>,
        any_uid: bool,
        polling: Polling,
    ) -> PyResult<Self> {
        let _ = cls;
        let options = connect_options(timeout, any_uid)?;
        let bus = detached(py, || tachyon::Bus::connect_with(&socket_path, &options))?;
        Ok(Self::over(bus, socket_path, polling))
    }

    /// Close the connection and release its resources. Closing twice is fine; views stay readable.
    fn close(&self) {
        self.lifetime.close();
        self.direction.delay(DelayedRelease::Connection);
    }

    /// Whether `close` has been called.
    #[getter]
    fn closed(&self) -> bool {
        self.lifetime.is_closed()
    }

    /// Prefer a NUMA node (0 to 63) for the bus's memory and move it there. Call before the first message.
    #[pyo3(text_signature = "($self, node_id)")]
    fn set_numa_node(&self, node_id: Integer) -> PyResult<()> {
        let node = args::node(node_id)?;
        self.lifetime.open()?.set_numa_node(node).map_err(Raise::raise)
    }

    /// Set how this side waits, by a word of `polling`. The switches 1 (`"spin"`) and 0 (`"adaptive"`) work, too.
    #[pyo3(text_signature = "($self, pure_spin)")]
    fn set_polling_mode(&self, pure_spin: &Bound<'_, PyAny>) -> PyResult<()> {
        let mode = args::polling_mode(pure_spin)?;
        let mut direction = self.direction()?;
        direction.check_open()?;
        direction.polling = mode;
        match &mut direction.role {
            Role::Receiving(rx_end) => rx_end.ring.set_polling_mode(mode),
            Role::Sending(tx_end) => tx_end.ring.set_polling_mode(mode),
            Role::Unassigned(_) | Role::Closed => {}
        }
        Ok(())
    }

    /// Copy any C-contiguous buffer into the ring and publish it; wait for room if the ring is full.
    #[pyo3(
        signature = (data, type_id=Integer::Fits(0), *, timeout=None),
        text_signature = "($self, data, type_id=0, *, timeout=None)"
    )]
    fn send(&self, py: Python<'_>, data: &Bound<'_, PyAny>, type_id: Integer, timeout: Option<f64>) -> PyResult<()> {
        let payload = Payload::of(data)?;
        let type_id = args::type_id(type_id)?;
        let timeout = args::timeout(timeout)?;
        self.direction()?.tx_end()?.send(py, &payload, type_id, 0, timeout)
    }

    /// Wait for a message and return a copy of it.
    #[pyo3(signature = (*, timeout=None, spin_threshold=None))]
    fn recv(&self, py: Python<'_>, timeout: Option<f64>, spin_threshold: Option<Integer>) -> PyResult<Message> {
        self.next_message(py, args::spins(spin_threshold)?, timeout)
    }

    /// Reserve `size` bytes in the ring to write in place; leaving the guard publishes them.
    #[pyo3(
        signature = (size, type_id=Integer::Fits(0), *, timeout=None),
        text_signature = "($self, size, type_id=0, *, timeout=None)"
    )]
    fn send_zero_copy(
        slf: &Bound<'_, Self>,
        size: Integer,
        type_id: Integer,
        timeout: Option<f64>,
    ) -> PyResult<TxGuard> {
        let size = args::size("size", size)?;
        let type_id = args::type_id(type_id)?;
        let timeout = args::timeout(timeout)?;
        let room = slf.get().direction()?.tx_end()?.reserve(slf.py(), size, timeout)?;
        Ok(TxGuard::new(slf.clone().unbind(), room, type_id))
    }

    /// Wait for a message and read it in place; leaving the guard gives its slot back to the sender.
    #[pyo3(signature = (*, timeout=None, spin_threshold=None))]
    fn recv_zero_copy(
        slf: &Bound<'_, Self>,
        timeout: Option<f64>,
        spin_threshold: Option<Integer>,
    ) -> PyResult<RxGuard> {
        let spins = args::spins(spin_threshold)?;
        let timeout = args::timeout(timeout)?;
        let mut direction = slf.get().direction()?;
        let rx_end = direction.rx_end()?;
        let taking = rx_end.take(slf.py(), spins, timeout)?;
        rx_end.mark_in_use(taking);
        Ok(RxGuard::new(slf.clone().unbind(), taking))
    }

    /// Wait for one message, then read it and up to `max_msgs` - 1 messages behind it in place, in one call.
    #[pyo3(
        signature = (max_msgs=Integer::Fits(1024), spin_threshold=None, *, timeout=None),
        text_signature = "($self, max_msgs=1024, spin_threshold=None, *, timeout=None)"
    )]
    fn drain_batch(
        slf: &Bound<'_, Self>,
        max_msgs: Integer,
        spin_threshold: Option<Integer>,
        timeout: Option<f64>,
    ) -> PyResult<RxBatchGuard> {
        let max = args::count("max_msgs", max_msgs)?;
        let spins = args::spins(spin_threshold)?;
        let timeout = args::timeout(timeout)?;
        let batch = slf.get().direction()?.rx_end()?.take_batch(slf.py(), max, spins, timeout)?;
        Ok(RxBatchGuard::new(slf.clone().unbind(), batch))
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Message>> {
        match self.next_message(py, None, None) {
            Err(end) if end.is_instance_of::<PeerClosedError>(py) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().lifetime.open()?;
        Ok(slf)
    }

    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __exit__(&self, exc_type: &Bound<'_, PyAny>, exc_value: &Bound<'_, PyAny>, traceback: &Bound<'_, PyAny>) {
        let _ = (exc_type, exc_value, traceback);
        self.close();
    }

    fn __repr__(&self) -> String {
        self.lifetime.describe("Bus")
    }
}
