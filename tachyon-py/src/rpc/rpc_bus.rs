//! `RpcBus`: requests one way, replies the other; the first operation decides the role of this side. `BusView`: a bus
//! with settings for each call.

use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use tachyon::__binding::{
    CallerSteps, Driven, METADATA, ReplyTaken, Taking, answer_own, rpc_callee, rpc_closer, rpc_driven,
};
use tachyon::describe::CalleeLimits;
use tachyon::{CallError, Caller, ServeError};

use crate::args::{self, Integer, Polling};
use crate::bus::lifetime::{Lifetime, calling_options, closed, options};
use crate::bus::ring_ends::{InUse, RemainingTimeout, RxEnd, TxEnd, busy};
use crate::bus::try_lock::{DelayedRelease, Guard, Release, TryLock};
use crate::errors::{InvalidArgumentError, Raise, TachyonError, WrongDirectionError};
use crate::memory::buffer_export::type_name;
use crate::memory::payload::Payload;
use crate::rpc::caller_end::{CallOptions, CallerEnd};
use crate::rpc::directions::{AbandonedStreams, ForwardDirection, ForwardRole, ReverseDirection, Special};
use crate::rpc::guards::{RpcRxGuard, RpcTxGuard};
use crate::rpc::layers::{Layers, Shown, ShownCall};
use crate::rpc::metadata::Metadata;
use crate::rpc::stream::{Opening, Stream};
use crate::runtime::interrupt::detached;
use crate::runtime::package::imported;
use crate::serve::endpoint_table::RpcDispatcher;

/// A bus for calls: requests on the forward ring, replies on the reverse ring.
///
/// The first operation decides whether this side calls or serves. A caller belongs to one thread at a time; a callee
/// may serve in one thread and reply in another. A second thread on the same direction gets `BusyError`.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RpcBus {
    forward: TryLock<ForwardDirection>,
    reverse: TryLock<ReverseDirection>,
    lifetime: Lifetime,
    abandoned: AbandonedStreams,
    /// The event loop's part of this bus, a `LoopConnection` of `tachyon._calls`. A table of connections would hide the
    /// cycle of bus, connection and waiting tasks from the garbage collector.
    loop_connection: Mutex<Option<Py<PyAny>>>,
    layers: Mutex<Layers>,
}

impl RpcBus {
    pub(crate) fn over(bus: tachyon::RpcBus, path: PathBuf, polling: Polling) -> Self {
        let lifetime = Lifetime::new(path, rpc_closer(&bus));
        Self::from_role(ForwardRole::Unassigned(bus), lifetime, polling)
    }

    /// A bus in the role of the caller.
    pub(crate) fn over_caller(caller: Caller, path: PathBuf, polling: Polling) -> Self {
        let lifetime = Lifetime::new(path, caller.closer());
        let mut calling = CallerEnd::new(caller, lifetime.shared_closer());
        calling.set_polling_mode(polling.0);
        Self::from_role(ForwardRole::Calling(calling), lifetime, polling)
    }

    fn from_role(role: ForwardRole, lifetime: Lifetime, Polling(polling): Polling) -> Self {
        let (special, closer) = (Special::default(), lifetime.shared_closer());
        let abandoned = AbandonedStreams::default();
        let forward = ForwardDirection {
            role,
            polling,
            first_polling: polling,
            closing: false,
            special,
            closer,
            abandoned: abandoned.clone(),
        };
        let reverse = ReverseDirection { tx_end: None, closing: false };
        Self {
            forward: TryLock::new(forward),
            reverse: TryLock::new(reverse),
            lifetime,
            abandoned,
            loop_connection: Mutex::default(),
            layers: Mutex::default(),
        }
    }

    fn loop_connection(&self) -> MutexGuard<'_, Option<Py<PyAny>>> {
        self.loop_connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn forward(&self) -> PyResult<Guard<'_, ForwardDirection>> {
        self.forward.try_lock().ok_or_else(busy)
    }

    #[inline]
    pub(crate) fn reverse(&self) -> PyResult<Guard<'_, ReverseDirection>> {
        self.reverse.try_lock().ok_or_else(busy)
    }

    /// The forward direction of a side that serves; a bus without a role takes this role.
    #[inline]
    pub(crate) fn to_serve(&self) -> PyResult<Guard<'_, ForwardDirection>> {
        let mut forward = self.forward()?;
        forward.check_free()?;
        if let ForwardRole::Unassigned(bus) = &forward.role {
            let mut reverse = self.reverse()?;
            let (mut requests, mut replies) = rpc_callee(bus).map_err(Raise::raise)?;
            requests.set_polling_mode(forward.polling);
            replies.set_polling_mode(forward.polling);
            reverse.tx_end = Some(TxEnd::new(replies));
            forward.role = ForwardRole::Serving(RxEnd::new(requests));
        }
        Ok(forward)
    }

    /// Takes the answering end for an event loop that serves it.
    pub(crate) fn drive(&self) -> PyResult<Driven> {
        let mut forward = self.forward()?;
        forward.check_free()?;
        let ForwardRole::Unassigned(bus) = &forward.role else {
            return Err(WrongDirectionError::new_err(
                "this side was used already, and an event loop can only serve an unused bus; open another one",
            ));
        };
        let driven = rpc_driven(bus).map_err(Raise::raise)?.map_err(|error| ServeError::Io(error).raise())?;
        forward.special.set(Special::LOOP, true);
        Ok(driven)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lifetime.is_closed()
    }

    /// Makes a caller fit for its next user: forgets its calls, restores the default settings. Returns false for a
    /// caller without a peer, with an open guard or in an event loop, and for a callee.
    pub(crate) fn recycle(&self) -> bool {
        let Some(mut forward) = self.forward.try_lock() else { return false };
        let is_free = !forward.closing && !forward.owned_by_loop();
        let ForwardDirection { role, polling, first_polling, .. } = &mut *forward;
        match role {
            ForwardRole::Unassigned(bus) if is_free => {
                *polling = *first_polling;
                matches!(bus.state(), tachyon::State::Open)
            }
            ForwardRole::Calling(calling) if is_free && calling.is_idle() => {
                *polling = *first_polling;
                calling.caller.swap_polling_mode(*first_polling);
                calling.caller.recycle()
            }
            _ => false,
        }
    }

    pub(crate) fn layers(&self) -> MutexGuard<'_, Layers> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the layers of a bus that its user gives back. They see that its calls in flight were given up.
    pub(crate) fn without_layers(&self, py: Python<'_>) -> PyResult<()> {
        let before = self.layers().set(None);
        if before.is_none() {
            return Ok(());
        }
        if let Some(mut forward) = self.forward.try_lock() {
            forward.special.set(Special::LAYERS, false);
        }
        self.show_given_up(py)
    }

    /// Sends a request with metadata, which layers see if the bus has some.
    #[cold]
    pub(crate) fn start_with(
        &self,
        py: Python<'_>,
        payload: &Payload<'_, '_>,
        options: CallOptions<'_>,
        timeout: Option<f64>,
        metadata: Option<Bound<'_, Metadata>>,
    ) -> PyResult<u64> {
        self.send_shown(py, "", payload, options, timeout, metadata, |calling, payload, options| {
            calling.call(py, payload, options)
        })
    }

    /// Sends the request of a call or a stream by `send`, with metadata. Layers see the request if the bus has some.
    #[allow(clippy::too_many_arguments, reason = "the parts of one request")]
    pub(crate) fn send_shown(
        &self,
        py: Python<'_>,
        name: &str,
        payload: &Payload<'_, '_>,
        options: CallOptions<'_>,
        timeout: Option<f64>,
        metadata: Option<Bound<'_, Metadata>>,
        send: impl FnOnce(&mut CallerEnd, &Payload<'_, '_>, &CallOptions<'_>) -> PyResult<u64>,
    ) -> PyResult<u64> {
        let msg_type = tachyon::type_id::msg_type(options.type_id);
        let size = payload.as_slice().len();
        let seen = self.show(py, &Shown { msg_type, name, size, timeout, metadata: metadata.as_ref() })?;
        let metadata = match &seen {
            Some(seen) => seen.metadata(py)?,
            None => metadata,
        };
        let sent = with_metadata(payload, options, metadata.as_ref(), |payload, options| {
            send(self.forward()?.calling_beside_layers()?, payload, options)
        });
        if let Some(seen) = seen {
            match &sent {
                Ok(correlation_id) => {
                    let stale = self.layers().sent(*correlation_id, seen);
                    stale.map_or(Ok(()), |stale| stale.given_up(py))?;
                }
                Err(error) => seen.failed(py, error)?,
            }
        }
        sent
    }

    /// Shows a call to the layers, if there are some.
    pub(crate) fn show(&self, py: Python<'_>, shown: &Shown<'_, '_>) -> PyResult<Option<ShownCall>> {
        let layers = self.layers().get(py);
        layers.map(|layers| ShownCall::new(py, &layers, shown)).transpose()
    }

    /// Shows the layers the outcome of a wait for the reply to a call by `start`.
    #[cold]
    fn show_outcome(&self, py: Python<'_>, correlation_id: u64, outcome: &PyResult<RpcRxGuard>) -> PyResult<()> {
        if let Err(error) = outcome
            && !error.is_instance_of::<TachyonError>(py)
        {
            // An interrupted call stays in flight.
            return Ok(());
        }
        let shown = self.layers().take(correlation_id);
        let Some(shown) = shown else { return Ok(()) };
        match outcome {
            Err(error) => shown.failed(py, error),
            Ok(guard) => match guard.error(py, None)? {
                Some(error) => shown.failed(py, &error),
                None => shown.replied(py, guard.len()),
            },
        }
    }

    /// Shows the layers that all calls in flight by `start` were given up.
    fn show_given_up(&self, py: Python<'_>) -> PyResult<()> {
        let given_up = self.layers().take_all();
        given_up.into_values().try_for_each(|shown| shown.given_up(py))
    }

    /// Closes the bus. Closing twice is fine.
    pub(crate) fn close(&self) {
        self.lifetime.close();
        self.forward.delay(DelayedRelease::Connection);
        self.reverse.delay(DelayedRelease::Connection);
    }

    /// Closes a bus that an event loop served.
    pub(crate) fn undrive(&self) {
        self.close();
        // The loop was the only user.
        if let Some(mut forward) = self.forward.try_lock() {
            forward.release_from_loop();
        }
    }

    /// Releases the slot of a guard on the forward ring, or on a caller's replies, at once or when the direction is
    /// free.
    pub(crate) fn delay_forward(&self, release: DelayedRelease) {
        self.forward.delay(release);
    }

    /// Releases the slot of a guard on a callee's replies, at once or when the direction is free.
    pub(crate) fn delay_reverse(&self, release: DelayedRelease) {
        self.reverse.delay(release);
    }

    /// Cancels a stream, at once or when the direction is free.
    pub(crate) fn abandon_stream(&self, id: u64) {
        self.abandoned.push(id);
        self.forward.delay(DelayedRelease::Streams);
    }

    /// Marks the direction of a received message as in use by views that outlive their guard.
    pub(crate) fn received_outlived_by_views(&self) {
        if let Some(mut forward) = self.forward.try_lock() {
            match &mut forward.role {
                ForwardRole::Calling(calling) => calling.replies = InUse::ByViews,
                ForwardRole::Serving(rx_end) => rx_end.in_use = InUse::ByViews,
                ForwardRole::Unassigned(_) | ForwardRole::Closed => {}
            }
        }
    }

    /// Marks the direction of a reserved request, or reply, as in use by views that outlive their guard.
    pub(crate) fn reserved_outlived_by_views(&self, is_reply: bool) {
        if is_reply {
            if let Some(mut reverse) = self.reverse.try_lock()
                && let Some(tx_end) = &mut reverse.tx_end
            {
                tx_end.in_use = InUse::ByViews;
            }
        } else if let Some(mut forward) = self.forward.try_lock()
            && let ForwardRole::Calling(calling) = &mut forward.role
        {
            calling.requests = InUse::ByViews;
        }
    }

    /// Sends the request that a guard wrote, and returns its correlation id.
    pub(crate) fn publish_call(&self, size: usize, msg_type: u16) -> PyResult<u64> {
        let Some(mut forward) = self.forward.try_lock() else {
            self.forward.delay(DelayedRelease::Reservation);
            return Err(busy());
        };
        if forward.closing {
            forward.apply(DelayedRelease::Reservation);
            return Err(closed());
        }
        forward.calling()?.publish(size, msg_type)
    }

    /// Sends the reply that a guard wrote.
    pub(crate) fn publish_reply(&self, size: usize, msg_type: u16, correlation_id: u64) -> PyResult<()> {
        let Some(mut reverse) = self.reverse.try_lock() else {
            self.reverse.delay(DelayedRelease::Reservation);
            return Err(busy());
        };
        if reverse.closing {
            reverse.apply(DelayedRelease::Reservation);
            return Err(closed());
        }
        reverse.replying()?.publish(size, tachyon::type_id::make_type_id(0, msg_type), correlation_id)
    }
}

/// Refuses a payload longer than the `max_payload_size` of the call.
fn check_most(payload: &Payload<'_, '_>, most: Option<Integer>) -> PyResult<()> {
    let Some(most) = most else { return Ok(()) };
    let most = args::size("max_payload_size", most)?;
    let size = payload.as_slice().len();
    if size <= most {
        return Ok(());
    }
    Err(InvalidArgumentError::new_err(format!("a payload of {size} bytes is more than max_payload_size={most}")))
}

#[pymethods]
impl RpcBus {
    /// Make an RPC bus and wait for one peer to connect.
    ///
    /// `cap_fwd` and `cap_rev` are the payload bytes (powers of two) of the rings for requests and for replies;
    /// `timeout` is in seconds, None waits for ever. Peers of other users are refused unless `any_uid` is set. Probes,
    /// such as `tachyon describe`, do not take the peer's place; they get the description of the endpoints that
    /// `dispatcher` has. `polling` says how this side waits for its peer: `"adaptive"` spins for as long as a park
    /// costs and then parks, `"spin"` never parks and takes a core, `"park"` parks at once.
    #[classmethod]
    #[pyo3(
        signature = (
            socket_path, cap_fwd, cap_rev, *, timeout=None, any_uid=false, dispatcher=None, polling=Polling::ADAPTIVE
        ),
        text_signature = "($cls, socket_path, cap_fwd, cap_rev, *, timeout=None, any_uid=False, dispatcher=None, \
                          polling='adaptive')"
    )]
    #[allow(clippy::too_many_arguments, reason = "Python's are named")]
    fn listen(
        cls: &Bound<'_, PyType>,
        py: Python<'_>,
        socket_path: PathBuf,
        cap_fwd: Integer,
        cap_rev: Integer,
        timeout: Option<f64>,
        any_uid: bool,
        dispatcher: Option<&Bound<'_, RpcDispatcher>>,
        polling: Polling,
    ) -> PyResult<Self> {
        let _ = cls;
        let mut options = options(timeout, any_uid)?;
        if let Some(dispatcher) = dispatcher {
            options = options.description(dispatcher.get().table()?.describe().to_json());
        }
        let forward = args::size("cap_fwd", cap_fwd)?;
        let reverse = args::size("cap_rev", cap_rev)?;
        let bus = detached(py, || tachyon::RpcBus::listen_with(&socket_path, forward, reverse, &options))?;
        Ok(Self::over(bus, socket_path, polling))
    }

    /// Connect to a listener, waiting up to `timeout` seconds for it to appear (None: for ever).
    ///
    /// `ring_sizes` requests rings of so many payload bytes, for requests and for replies, from a server; without it
    /// the server decides. With `reconnect` this side calls, and the next call after the peer has closed or died
    /// connects again. A request that was sent is sent again only if its endpoint is `idempotent`. A `probe` leaves a
    /// listener for one peer its place: it raises `OnePeerError`, while a server takes it as any other caller.
    /// `polling` is as in `listen`.
    #[classmethod]
    #[pyo3(
        signature = (
            socket_path, *, timeout=5.0, any_uid=false, ring_sizes=None, reconnect=false, probe=false,
            polling=Polling::ADAPTIVE
        ),
        text_signature = "($cls, socket_path, *, timeout=5.0, any_uid=False, ring_sizes=None, reconnect=False, \
                          probe=False, polling='adaptive')"
    )]
    #[allow(clippy::too_many_arguments, reason = "Python's are named")]
    fn connect(
        cls: &Bound<'_, PyType>,
        py: Python<'_>,
        socket_path: PathBuf,
        timeout: Option<f64>,
        any_uid: bool,
        ring_sizes: Option<(Integer, Integer)>,
        reconnect: bool,
        probe: bool,
        polling: Polling,
    ) -> PyResult<Self> {
        let _ = cls;
        let options = calling_options(timeout, any_uid, ring_sizes)?.probe(probe);
        if reconnect {
            let options = options.reconnect(true);
            let caller = detached(py, || Caller::connect_with(&socket_path, &options))?;
            return Ok(Self::over_caller(caller, socket_path, polling));
        }
        let bus = detached(py, || tachyon::RpcBus::connect_with(&socket_path, &options))?;
        Ok(Self::over(bus, socket_path, polling))
    }

    /// Do what `connect` does, from a coroutine: `await RpcBus.aconnect(path)`, or
    /// `async with RpcBus.aconnect(path) as bus`, which closes the bus at the end of the block.
    #[classmethod]
    #[pyo3(
        signature = (socket_path, **options),
        text_signature = "($cls, socket_path, *, timeout=5.0, any_uid=False, ring_sizes=None, reconnect=False, \
                          probe=False, polling='adaptive')"
    )]
    fn aconnect<'py>(
        cls: &Bound<'py, PyType>,
        socket_path: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        imported!(cls.py(), "tachyon._connecting", "aconnect")?.call((socket_path,), options)
    }

    /// The event loop's part of this bus.
    #[getter]
    fn __tachyon_loop_connection__(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.loop_connection().as_ref().map(|connection| connection.clone_ref(py))
    }

    #[setter(__tachyon_loop_connection__)]
    fn set_loop_connection(&self, connection: Py<PyAny>) {
        // The old connection is dropped without the lock: its destructor may run any code.
        let before = self.loop_connection().replace(connection);
        drop(before);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // The collector visits next time an object that another thread has locked.
        if let Ok(connection) = self.loop_connection.try_lock() {
            visit.call(&*connection)?;
        }
        match self.layers.try_lock() {
            Ok(layers) => layers.traverse(&visit),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let connection = self.loop_connection().take();
        drop(connection);
        let layers = core::mem::take(&mut *self.layers());
        drop(layers);
    }

    /// Do what `listen` does, under its older name.
    #[classmethod]
    #[pyo3(signature = (socket_path, cap_fwd, cap_rev, *, timeout=None, any_uid=false))]
    fn rpc_listen(
        cls: &Bound<'_, PyType>,
        py: Python<'_>,
        socket_path: PathBuf,
        cap_fwd: Integer,
        cap_rev: Integer,
        timeout: Option<f64>,
        any_uid: bool,
    ) -> PyResult<Self> {
        Self::listen(cls, py, socket_path, cap_fwd, cap_rev, timeout, any_uid, None, Polling::ADAPTIVE)
    }

    /// Do what `connect` does, under its older name.
    #[classmethod]
    #[pyo3(signature = (socket_path, *, timeout=5.0, any_uid=false))]
    fn rpc_connect(
        cls: &Bound<'_, PyType>,
        py: Python<'_>,
        socket_path: PathBuf,
        timeout: Option<f64>,
        any_uid: bool,
    ) -> PyResult<Self> {
        Self::connect(cls, py, socket_path, timeout, any_uid, None, false, false, Polling::ADAPTIVE)
    }

    /// Close the connection and release its resources. Closing twice is fine; views stay readable.
    #[pyo3(name = "close")]
    fn close_and_show(&self, py: Python<'_>) -> PyResult<()> {
        self.close();
        self.show_given_up(py)
    }

    /// Whether `close` has been called.
    #[getter]
    fn closed(&self) -> bool {
        self.lifetime.is_closed()
    }

    /// Ask the peer which endpoints it offers.
    ///
    /// Raises `NoHandlerError` if no dispatcher serves there.
    #[pyo3(signature = (*, timeout=None))]
    fn describe<'py>(slf: &Bound<'py, Self>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let json = describe(slf, args::timeout(timeout)?)?;
        imported!(slf.py(), "tachyon._description", "from_json")?.call1((json,))
    }

    /// Ask the peer for its longest messages, and for the version of its description.
    ///
    /// Raises `NoHandlerError` if no dispatcher serves there.
    #[pyo3(signature = (*, timeout=None))]
    fn limits<'py>(slf: &Bound<'py, Self>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let CalleeLimits { max_request, max_reply, version, .. } = limits(slf, args::timeout(timeout)?)?;
        imported!(slf.py(), "tachyon._description", "CalleeLimits")?.call1((max_request, max_reply, version))
    }

    /// Time a round trip to the peer, in seconds.
    #[pyo3(signature = (*, timeout=None))]
    fn ping(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<f64> {
        ping(slf, args::timeout(timeout)?)
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
        let mut forward = self.forward()?;
        forward.check_open()?;
        forward.polling = mode;
        match &mut forward.role {
            ForwardRole::Calling(calling) => calling.set_polling_mode(mode),
            ForwardRole::Serving(rx_end) => {
                rx_end.ring.set_polling_mode(mode);
                self.reverse()?.replying()?.ring.set_polling_mode(mode);
            }
            ForwardRole::Unassigned(_) | ForwardRole::Closed => {}
        }
        Ok(())
    }

    /// Return the bus with a timeout for each call: `endpoint.call(bus.within(0.5), scan, radius)`.
    ///
    /// The timeout covers a whole call, and travels with its request as a deadline. Each call has the full time.
    #[pyo3(text_signature = "($self, seconds)")]
    fn within(slf: Bound<'_, Self>, seconds: &Bound<'_, PyAny>) -> PyResult<BusView> {
        Ok(BusView::new(slf.unbind(), Some(args::within(seconds)?), None))
    }

    /// Return the bus with one entry of metadata for each call, a text that travels beside the request.
    ///
    /// The handler sees the entry in `current_call().metadata`. A key consists of `a-z`, `0-9`, `.`, `_` and `-`; all
    /// keys and texts of a call take at most 1 KiB. Views add up: `bus.within(0.5).metadata("tenant", "acme")`.
    #[pyo3(text_signature = "($self, key, value)")]
    fn metadata(slf: Bound<'_, Self>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<BusView> {
        Ok(BusView::new(slf.unbind(), None, Some(Metadata::with_entry(None, key, value)?)))
    }

    /// Return the bus with settings, for a pool.
    #[pyo3(signature = (seconds, metadata))]
    fn __tachyon_view__(slf: Bound<'_, Self>, seconds: Option<f64>, metadata: Option<Py<Metadata>>) -> BusView {
        BusView::new(slf.unbind(), seconds, metadata)
    }

    /// Add a layer, which sees each later call of this side before it is sent, and its outcome; return the bus.
    ///
    /// `tachyon.layers.CallerLayer` has the methods of a layer. It sees the calls of endpoints and `start`, but not
    /// `describe` and `ping`. A request that is written in place passes no layer, and is refused.
    fn layer<'py>(slf: Bound<'py, Self>, layer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let before = slf.get().layers().get(py);
        let all = imported!(py, "tachyon.layers", "caller_layers")?.call1((before, layer))?;
        slf.get().set_layers(all.cast_into()?.unbind())?;
        Ok(slf)
    }

    /// The layers of this side.
    #[getter]
    fn __tachyon_layers__(&self, py: Python<'_>) -> Option<Py<PyTuple>> {
        self.layers().get(py)
    }

    #[setter(__tachyon_layers__)]
    fn set_layers(&self, all: Py<PyTuple>) -> PyResult<()> {
        let mut forward = self.forward()?;
        // A guard writes a request that no layer sees.
        forward.as_calling()?.requests.check()?;
        forward.special.set(Special::LAYERS, true);
        drop(forward);
        let before = self.layers().set(Some(all));
        drop(before);
        Ok(())
    }

    /// Send a request and return its correlation id, to be passed to `finish`.
    ///
    /// A `timeout` in seconds travels with the request as a deadline, and the callee need not begin a request after it.
    #[pyo3(signature = (payload, msg_type, *, timeout=None))]
    fn start(
        &self,
        py: Python<'_>,
        payload: &Bound<'_, PyAny>,
        msg_type: Integer,
        timeout: Option<f64>,
    ) -> PyResult<u64> {
        self.call(py, payload, msg_type, None, None, timeout)
    }

    /// Do what `start` does, under its older name. A payload longer than `max_payload_size` is refused.
    #[pyo3(signature = (payload, msg_type, max_payload_size=None, spin_threshold=None, *, timeout=None))]
    fn call(
        &self,
        py: Python<'_>,
        payload: &Bound<'_, PyAny>,
        msg_type: Integer,
        max_payload_size: Option<Integer>,
        spin_threshold: Option<Integer>,
        timeout: Option<f64>,
    ) -> PyResult<u64> {
        let payload = Payload::of(payload)?;
        let msg_type = args::msg_type(msg_type)?;
        check_most(&payload, max_payload_size)?;
        let spins = args::spins(spin_threshold)?;
        let type_id = u32::from(msg_type);
        let options = CallOptions { type_id, spins, limit: args::limit(timeout)?, idempotent: false, contract: None };
        let mut forward = self.forward()?;
        match forward.calling() {
            Ok(calling) => calling.call(py, &payload, &options),
            Err(refused) => {
                let is_layered = forward.is_layered();
                drop(forward);
                if is_layered { self.start_with(py, &payload, options, timeout, None) } else { Err(refused) }
            }
        }
    }

    /// Reserve room for a request to write in place; its `out_cid` is set once the guard is left.
    #[pyo3(signature = (max_payload_size, msg_type, *, timeout=None))]
    fn call_zero_copy(
        slf: &Bound<'_, Self>,
        max_payload_size: Integer,
        msg_type: Integer,
        timeout: Option<f64>,
    ) -> PyResult<RpcTxGuard> {
        let size = args::size("max_payload_size", max_payload_size)?;
        let msg_type = args::msg_type(msg_type)?;
        let timeout = args::timeout(timeout)?;
        let room = slf.get().forward()?.calling()?.reserve(slf.py(), msg_type, size, timeout)?;
        Ok(RpcTxGuard::request(slf.clone().unbind(), room, msg_type))
    }

    /// Wait for the reply to a call and read it in place. Replies may be taken in any order.
    ///
    /// A call whose wait timed out is forgotten, and a late reply is dropped. `timeout` is in seconds.
    #[pyo3(signature = (correlation_id, *, timeout=None))]
    fn finish(slf: &Bound<'_, Self>, correlation_id: Integer, timeout: Option<f64>) -> PyResult<RpcRxGuard> {
        Self::wait(slf, correlation_id, None, timeout)
    }

    /// Do what `finish` does, under its older name.
    #[pyo3(signature = (correlation_id, spin_threshold=None, *, timeout=None))]
    fn wait(
        slf: &Bound<'_, Self>,
        correlation_id: Integer,
        spin_threshold: Option<Integer>,
        timeout: Option<f64>,
    ) -> PyResult<RpcRxGuard> {
        let correlation_id = args::correlation_id(correlation_id)?;
        let spins = args::spins(spin_threshold)?;
        let limit = args::limit(timeout)?;
        let mut forward = slf.get().forward()?;
        let is_layered = forward.is_layered();
        let calling = forward.calling_beside_layers()?;
        let reply = calling.take(slf.py(), correlation_id, spins, limit);
        let guard = reply.map(|reply| reply_guard(slf, calling, correlation_id, reply));
        drop(forward);
        if is_layered {
            slf.get().show_outcome(slf.py(), correlation_id, &guard)?;
        }
        guard
    }

    /// Give a call up: its handler is cancelled, a late reply dropped. False when no such call is in flight.
    #[pyo3(text_signature = "($self, correlation_id)")]
    fn forget(&self, py: Python<'_>, correlation_id: Integer) -> PyResult<bool> {
        let correlation_id = args::correlation_id(correlation_id)?;
        let forgotten = self.forward()?.calling_beside_layers()?.caller.forget(correlation_id);
        let shown = self.layers().take(correlation_id);
        shown.map_or(Ok(()), |shown| shown.given_up(py))?;
        Ok(forgotten)
    }

    /// Open a stream of an endpoint, by number: an iterator of the callee's items as bytes.
    ///
    /// `timeout`, in seconds, is for the whole stream and travels with the request as a deadline; `item_timeout` is for
    /// each wait, after which the stream stays open. The callee may send `window` items ahead. Use the stream in a
    /// `with` block, which closes it. At most 32 streams are open on a bus: one more raises `BusyError`.
    #[pyo3(
        signature = (msg_type, payload=None, *, timeout=None, item_timeout=None, window=None),
        text_signature = "($self, msg_type, payload=b'', *, timeout=None, item_timeout=None, window=None)"
    )]
    fn stream(
        slf: &Bound<'_, Self>,
        msg_type: Integer,
        payload: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
        item_timeout: Option<f64>,
        window: Option<Integer>,
    ) -> PyResult<Stream> {
        let msg_type = args::msg_type(msg_type)?;
        let payload = payload.map_or(Ok(Payload::Written(&[])), Payload::of)?;
        let opening = Opening { msg_type, name: "", timeout, item_timeout, window, metadata: None, contract: None };
        Stream::open(slf, &payload, &opening)
    }

    /// Open a stream from a coroutine: `async with bus.astream(msg_type, payload) as stream`.
    ///
    /// Parameters are those of `stream`. The stream opens when the block is entered, or with its first operation. The
    /// bus belongs to the running event loop, as `acall` says.
    #[pyo3(
        signature = (msg_type, payload=None, *, timeout=None, item_timeout=None, window=None),
        text_signature = "($self, msg_type, payload=b'', *, timeout=None, item_timeout=None, window=None)"
    )]
    fn astream<'py>(
        slf: &Bound<'py, Self>,
        msg_type: Integer,
        payload: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
        item_timeout: Option<f64>,
        window: Option<Integer>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let msg_type = args::msg_type(msg_type)?;
        let payload = payload.map_or(Ok(Payload::Written(&[])), Payload::of)?;
        let opening = Opening { msg_type, name: "", timeout, item_timeout, window, metadata: None, contract: None };
        opening.awaited(slf.as_any(), &payload)
    }

    /// Wait for a request and read it in place.
    #[pyo3(signature = (spin_threshold=None, *, timeout=None))]
    fn serve(slf: &Bound<'_, Self>, spin_threshold: Option<Integer>, timeout: Option<f64>) -> PyResult<RpcRxGuard> {
        let spins = args::spins(spin_threshold)?;
        let timeout = args::timeout(timeout)?;
        let mut forward = slf.get().to_serve()?;
        let rx_end = forward.serving()?;
        let remaining = RemainingTimeout::new(timeout);
        let mut taking = rx_end.take(slf.py(), spins, timeout)?;
        while !taking.is_plain() {
            taking = rx_end.ring.open_metadata(taking);
            if taking.is_users() {
                break;
            }
            answer(slf.py(), slf.get(), rx_end, taking)?;
            taking = rx_end.take(slf.py(), spins, remaining.left(slf.py())?)?;
        }
        let taking = rx_end.ring.open_request(taking).map_err(Raise::raise)?;
        rx_end.mark_in_use(taking);
        let metadata = rx_end.ring.metadata(&taking);
        Ok(RpcRxGuard::in_place(slf.clone().unbind(), taking).with_metadata(metadata))
    }

    /// Answer the request that `serve` returned with this correlation id.
    #[pyo3(signature = (correlation_id, payload, msg_type, max_payload_size=None, *, timeout=None))]
    fn reply(
        &self,
        py: Python<'_>,
        correlation_id: Integer,
        payload: &Bound<'_, PyAny>,
        msg_type: Integer,
        max_payload_size: Option<Integer>,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let payload = Payload::of(payload)?;
        let correlation_id = args::correlation_id(correlation_id)?;
        let type_id = tachyon::type_id::make_type_id(0, args::sixteen_bits("msg_type", msg_type)?);
        check_most(&payload, max_payload_size)?;
        let timeout = args::timeout(timeout)?;
        self.reverse()?.replying_to(correlation_id)?.send(py, &payload, type_id, correlation_id, timeout)
    }

    /// Reserve room for a reply to write in place; leaving the guard sends it.
    #[pyo3(signature = (correlation_id, max_payload_size, msg_type, *, timeout=None))]
    fn reply_zero_copy(
        slf: &Bound<'_, Self>,
        correlation_id: Integer,
        max_payload_size: Integer,
        msg_type: Integer,
        timeout: Option<f64>,
    ) -> PyResult<RpcTxGuard> {
        let correlation_id = args::correlation_id(correlation_id)?;
        let size = args::size("max_payload_size", max_payload_size)?;
        let msg_type = args::sixteen_bits("msg_type", msg_type)?;
        let timeout = args::timeout(timeout)?;
        let room = slf.get().reverse()?.replying_to(correlation_id)?.reserve(slf.py(), size, timeout)?;
        Ok(RpcTxGuard::reply(slf.clone().unbind(), room, msg_type, correlation_id))
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().lifetime.open()?;
        Ok(slf)
    }

    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __exit__(
        &self,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (exc_value, traceback);
        self.close_and_show(exc_type.py())
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().lifetime.open()?;
        imported!(slf.py(), "tachyon._connecting", "enter")?.call1((slf,))
    }

    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __aexit__<'py>(
        slf: &Bound<'py, Self>,
        exc_type: &Bound<'py, PyAny>,
        exc_value: &Bound<'py, PyAny>,
        traceback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = (exc_type, exc_value, traceback);
        imported!(slf.py(), "tachyon._connecting", "leave")?.call1((slf,))
    }

    fn __repr__(&self) -> String {
        self.lifetime.describe("RpcBus")
    }
}

/// A bus from `RpcBus.within` or `RpcBus.metadata`, with settings for each call.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct BusView {
    bus: Py<RpcBus>,
    seconds: Option<f64>,
    metadata: Option<Py<Metadata>>,
}

/// The bus of a call.
pub(crate) enum Target<'py> {
    /// A bus, and a timeout in seconds.
    Bus(Bound<'py, RpcBus>, Option<f64>),
    /// A view with metadata.
    View(Bound<'py, BusView>),
}

impl<'py> Target<'py> {
    /// # Errors
    /// `TypeError` for any other object.
    #[inline]
    pub(crate) fn of(bus: &Bound<'py, PyAny>) -> PyResult<Self> {
        match bus.cast::<RpcBus>() {
            Ok(bus) => Ok(Self::Bus(bus.clone(), None)),
            Err(_) => Self::of_view(bus),
        }
    }

    fn of_view(bus: &Bound<'py, PyAny>) -> PyResult<Self> {
        let Ok(view) = bus.cast::<BusView>() else {
            return Err(PyTypeError::new_err(format!("calls are made on an RpcBus, not on {}", type_name(bus)?)));
        };
        let BusView { bus, seconds, metadata } = view.get();
        match metadata {
            None => Ok(Self::Bus(bus.bind(view.py()).clone(), *seconds)),
            Some(_) => Ok(Self::View(view.clone())),
        }
    }

    /// The bus, its timeout in seconds, and its metadata.
    pub(crate) fn parts(&self) -> (Bound<'py, RpcBus>, Option<f64>, Option<Bound<'py, Metadata>>) {
        match self {
            Self::Bus(bus, seconds) => (bus.clone(), *seconds, None),
            Self::View(view) => {
                let BusView { bus, seconds, metadata } = view.get();
                let py = view.py();
                (bus.bind(py).clone(), *seconds, metadata.as_ref().map(|metadata| metadata.bind(py).clone()))
            }
        }
    }
}

impl BusView {
    pub(crate) fn new(bus: Py<RpcBus>, seconds: Option<f64>, metadata: Option<Py<Metadata>>) -> Self {
        Self { bus, seconds, metadata }
    }
}

#[pymethods]
impl BusView {
    /// Return the bus with these settings, and with a timeout for each call in place of the view's.
    #[pyo3(text_signature = "($self, seconds)")]
    fn within(&self, seconds: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = seconds.py();
        let metadata = self.metadata.as_ref().map(|metadata| metadata.clone_ref(py));
        Ok(Self::new(self.bus.clone_ref(py), Some(args::within(seconds)?), metadata))
    }

    /// Return the bus with these settings, and with one entry of metadata more for each call.
    #[pyo3(text_signature = "($self, key, value)")]
    fn metadata(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let metadata = Metadata::with_entry(self.metadata.as_ref().map(Py::get), key, value)?;
        Ok(Self::new(self.bus.clone_ref(key.py()), self.seconds, Some(metadata)))
    }

    /// Send a request with these settings, as `RpcBus.start` does, and return its correlation id.
    fn start(&self, py: Python<'_>, payload: &Bound<'_, PyAny>, msg_type: Integer) -> PyResult<u64> {
        let payload = Payload::of(payload)?;
        let options = CallOptions {
            type_id: u32::from(args::msg_type(msg_type)?),
            spins: None,
            limit: args::limit(self.seconds)?,
            idempotent: false,
            contract: None,
        };
        let metadata = self.metadata.as_ref().map(|metadata| metadata.bind(py).clone());
        self.bus.get().start_with(py, &payload, options, self.seconds, metadata)
    }

    /// Open a stream with these settings, as `RpcBus.stream` does. A `timeout` beside the view's: the shorter one
    /// counts.
    #[pyo3(
        signature = (msg_type, payload=None, *, timeout=None, item_timeout=None, window=None),
        text_signature = "($self, msg_type, payload=b'', *, timeout=None, item_timeout=None, window=None)"
    )]
    fn stream(
        &self,
        py: Python<'_>,
        msg_type: Integer,
        payload: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
        item_timeout: Option<f64>,
        window: Option<Integer>,
    ) -> PyResult<Stream> {
        let msg_type = args::msg_type(msg_type)?;
        let payload = payload.map_or(Ok(Payload::Written(&[])), Payload::of)?;
        let timeout = args::sooner(timeout, self.seconds);
        let metadata = self.metadata.as_ref().map(|metadata| metadata.bind(py).clone());
        let opening = Opening { msg_type, name: "", timeout, item_timeout, window, metadata, contract: None };
        Stream::open(self.bus.bind(py), &payload, &opening)
    }

    /// Open a stream from a coroutine with these settings, as `RpcBus.astream` does.
    #[pyo3(
        signature = (msg_type, payload=None, *, timeout=None, item_timeout=None, window=None),
        text_signature = "($self, msg_type, payload=b'', *, timeout=None, item_timeout=None, window=None)"
    )]
    fn astream<'py>(
        &self,
        py: Python<'py>,
        msg_type: Integer,
        payload: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
        item_timeout: Option<f64>,
        window: Option<Integer>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let msg_type = args::msg_type(msg_type)?;
        let payload = payload.map_or(Ok(Payload::Written(&[])), Payload::of)?;
        let timeout = args::sooner(timeout, self.seconds);
        let metadata = self.metadata.as_ref().map(|metadata| metadata.bind(py).clone());
        let opening = Opening { msg_type, name: "", timeout, item_timeout, window, metadata, contract: None };
        opening.awaited(self.bus.bind(py).as_any(), &payload)
    }

    fn __repr__(&self) -> String {
        let within = self.seconds.map(|seconds| format!(" within {seconds} seconds")).unwrap_or_default();
        // Without the values, which may be secrets.
        let keys = self.metadata.as_ref().map(|metadata| metadata.get().keys().collect::<Vec<_>>().join(", "));
        let with = keys.map(|keys| format!(" with metadata {keys}")).unwrap_or_default();
        format!("<tachyon.RpcBus{within}{with}>")
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.bus)?;
        visit.call(&self.metadata)
    }
}

/// The callee's endpoints, as a description in JSON.
fn describe(bus: &Bound<'_, RpcBus>, timeout: Option<Duration>) -> PyResult<String> {
    let description = ask_callee(bus, |caller| match timeout {
        Some(timeout) => caller.describe_timeout(timeout),
        None => caller.describe(),
    })?;
    Ok(description.to_json())
}

/// The lengths and the version that the callee tells.
fn limits(bus: &Bound<'_, RpcBus>, timeout: Option<Duration>) -> PyResult<CalleeLimits> {
    ask_callee(bus, |caller| caller.limits(timeout.unwrap_or(Duration::MAX)))
}

/// The seconds of a round trip to the callee.
fn ping(bus: &Bound<'_, RpcBus>, timeout: Option<Duration>) -> PyResult<f64> {
    let took = ask_callee(bus, |caller| caller.ping(timeout.unwrap_or(Duration::MAX)))?;
    Ok(took.as_secs_f64())
}

/// Runs a control request without the GIL.
fn ask_callee<T: Send>(
    bus: &Bound<'_, RpcBus>,
    ask: impl FnOnce(&mut Caller) -> Result<T, CallError> + Send,
) -> PyResult<T> {
    let mut forward = bus.get().forward()?;
    let calling = forward.calling_beside_layers()?;
    calling.replies.check()?;
    calling.requests.check()?;
    calling.wait_detached(bus.py(), None, ask).map_err(Raise::raise)
}

/// A guard over a taken reply.
pub(crate) fn reply_guard(
    bus: &Bound<'_, RpcBus>,
    calling: &mut CallerEnd,
    correlation_id: u64,
    reply: ReplyTaken,
) -> RpcRxGuard {
    match reply {
        ReplyTaken::InPlace(taking) => {
            calling.mark_in_use(taking.position());
            RpcRxGuard::in_place(bus.clone().unbind(), taking)
        }
        ReplyTaken::Kept(type_id, payload) => RpcRxGuard::kept(bus.clone().unbind(), correlation_id, type_id, payload),
    }
}

/// Makes the message of a request with metadata, if there is any, and sends it.
pub(crate) fn with_metadata<T>(
    payload: &Payload<'_, '_>,
    mut options: CallOptions<'_>,
    metadata: Option<&Bound<'_, Metadata>>,
    send: impl FnOnce(&Payload<'_, '_>, &CallOptions<'_>) -> PyResult<T>,
) -> PyResult<T> {
    let Some(metadata) = metadata else { return send(payload, &options) };
    let message = metadata.get().behind(payload.as_slice());
    options.type_id |= METADATA;
    send(&Payload::Written(&message), &options)
}

/// Attempts to get the reply ring, and the pause between them, while another thread uses it.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_micros(500);

/// Answers a request for the callee itself on a bus that a loop in Python serves, and releases the request.
///
/// Another thread may use the reply ring for a moment, or a guard for longer. A request that finds no free reply ring
/// is dropped: the caller of a control request asks again, and no correct caller sends malformed metadata.
#[cold]
pub(crate) fn answer(py: Python<'_>, bus: &RpcBus, rx_end: &mut RxEnd, taking: Taking) -> PyResult<()> {
    for _ in 0..if taking.is_cancel() { 0 } else { TRIES } {
        if let Ok(mut reverse) = bus.reverse()
            && let Ok(tx_end) = reverse.replying()
            && tx_end.in_use == InUse::No
        {
            return answer_own(&mut rx_end.ring, &mut tx_end.ring, taking).map_err(Raise::raise);
        }
        py.detach(|| std::thread::sleep(PAUSE));
    }
    rx_end.ring.release(taking.position());
    Ok(())
}
