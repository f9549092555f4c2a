//! Calls of typed endpoints: generated clients are thin layers over these.

use core::marker::PhantomData;
use core::ptr;
use std::time::Duration;

use super::caller::Caller;
use super::guard::RpcRxGuard;
use super::in_place::InPlace;
use crate::connection::slice;
use crate::engine::RpcError;
use crate::rpc::CallError;
use crate::schema::describe::Signature;
use crate::schema::payload::{BoxedMalformed, DeclaredError, Message, SHORT, Scratch, Value, on_stack};
use crate::type_id::{MSG_TYPE_ERROR, make_type_id, msg_type};
use crate::wait::Deadline;

/// The transport of a generated client: a [`Caller`], a [`PooledCaller`](crate::client::pool::PooledCaller), or one of
/// these [`within`](Caller::within) a time. Only this crate implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot make calls",
    label = "not a caller",
    note = "pass a `&mut Caller`, a `&mut PooledCaller`, or what their `within` returns"
)]
pub trait Calls: sealed::Sealed {
    /// The caller, and how long a call may take.
    #[doc(hidden)]
    fn parts(&mut self) -> (&mut Caller, Option<Duration>);
}

pub(crate) mod sealed {
    /// Keeps [`Calls`](super::Calls) to this crate.
    pub trait Sealed {}
}

impl sealed::Sealed for Caller {}

impl Calls for Caller {
    #[inline]
    fn parts(&mut self) -> (&mut Caller, Option<Duration>) {
        (self, None)
    }
}

/// A caller whose calls take a limited time each: see [`Caller::within`].
#[derive(Debug)]
pub struct Within<'c, C = Caller> {
    calls: &'c mut C,
    timeout: Option<Duration>,
}

impl<'c, C> Within<'c, C> {
    /// A caller whose calls take at most `timeout` each, or any time.
    #[doc(hidden)]
    pub fn new(calls: &'c mut C, timeout: Option<Duration>) -> Self {
        Self { calls, timeout }
    }
}

impl<C: Calls> sealed::Sealed for Within<'_, C> {}

impl<C: Calls> Calls for Within<'_, C> {
    #[inline]
    fn parts(&mut self) -> (&mut Caller, Option<Duration>) {
        (self.calls.parts().0, self.timeout)
    }
}

/// The types that an endpoint, or a method of a service, exchanges.
pub trait Contract {
    /// The reply.
    type Reply: Message;
    /// The declared error.
    type Error: DeclaredError;
    /// The description of all three.
    const SIGNATURE: &'static Signature;
}

/// The contents of a request.
pub trait Body {
    /// The bytes, if they lie in memory already.
    fn bytes(&self) -> Option<&[u8]>;

    /// Length in bytes.
    fn size(&self) -> usize;

    /// Writes the bytes to `out`, which has [`size`](Self::size) bytes.
    fn write(&self, out: &mut [u8]);
}

/// A request of one value, or of none.
pub struct SingleValue<'v, M: Message>(M::View<'v>);

impl<'v, M: Message> SingleValue<'v, M> {
    /// The request of a view.
    #[inline]
    pub fn new(view: M::View<'v>) -> Self {
        Self(view)
    }
}

impl<M: Message> Body for SingleValue<'_, M> {
    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        M::bytes(M::shrink(self.0))
    }

    #[inline]
    fn size(&self) -> usize {
        M::len(self.0)
    }

    #[inline]
    fn write(&self, out: &mut [u8]) {
        M::write(self.0, out);
    }
}

/// A request of one value by reference.
pub struct Borrowed<'v, T>(pub &'v T);

impl<T: Value> Body for Borrowed<'_, T> {
    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        self.0.bytes()
    }

    #[inline]
    fn size(&self) -> usize {
        T::message_len(self.0.view())
    }

    #[inline]
    fn write(&self, out: &mut [u8]) {
        T::write_message(self.0.view(), out);
    }
}

/// A request of fields.
pub struct Fields<F> {
    size: usize,
    write: F,
}

impl<F: Fn(&mut [u8])> Fields<F> {
    /// A request of `size` bytes, which `write` fills.
    #[inline]
    pub fn new(size: usize, write: F) -> Self {
        Self { size, write }
    }
}

impl<F: Fn(&mut [u8])> Body for Fields<F> {
    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        None
    }

    #[inline]
    fn size(&self) -> usize {
        self.size
    }

    #[inline]
    fn write(&self, out: &mut [u8]) {
        (self.write)(out);
    }
}

/// A request that is encoded already.
pub struct Encoded(pub Vec<u8>);

impl Body for Encoded {
    fn bytes(&self) -> Option<&[u8]> {
        Some(&self.0)
    }

    fn size(&self) -> usize {
        self.0.len()
    }

    fn write(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.0);
    }
}

impl Caller {
    /// This caller with `timeout` for each call, the wait for room included. The request carries the
    /// deadline, so that the callee does not begin work whose result comes too late.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use std::time::Duration;
    /// use tachyon::{CallError, Callee, Caller, tachyon_rpc};
    /// # let listen_at = path.clone();
    ///
    /// #[tachyon_rpc(msg_type = 1)]
    /// fn add(a: u64, b: u64) -> u64 {
    ///     a + b
    /// }
    ///
    /// let callee = std::thread::spawn(move || Callee::listen(&listen_at, 1 << 16, 1 << 16)); // serves nothing
    /// let mut caller = Caller::connect(&path)?;
    /// let late = add::call(&mut caller.within(Duration::from_millis(20)), 1, 2);
    /// assert!(matches!(late, Err(CallError::TimedOut { .. })));
    /// # drop(callee);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn within(&mut self, timeout: Duration) -> Within<'_> {
        Within::new(self, Some(timeout))
    }

    /// Sends a request to the endpoint of a signature. The first one of a typed endpoint on a connection compares the
    /// two sides' descriptions.
    #[inline]
    fn start_typed(
        &mut self,
        signature: &'static Signature,
        body: &impl Body,
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        if let Some(bytes) = body.bytes() {
            return self.start_typed_bytes(signature, bytes, deadline);
        }
        let len = body.size();
        if len <= SHORT {
            return on_stack(len, |bytes| {
                body.write(bytes);
                self.start_typed_bytes(signature, bytes, deadline)
            });
        }
        self.start_typed_slow(signature, deadline, &mut |caller: &mut Self| {
            let mut reservation = caller.take_room(len, deadline)?;
            body.write(slice::reserved_mut(&mut reservation, &caller.core.tx));
            let header = caller.header(signature.msg_type(), deadline);
            Ok(caller.core.commit(reservation, len, header, ()))
        })
    }

    #[inline]
    fn start_typed_bytes(
        &mut self,
        signature: &'static Signature,
        request: &[u8],
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        // The macros refuse the reserved msg_type, so no signature has it.
        debug_assert_ne!(signature.msg_type(), MSG_TYPE_ERROR);
        if (!signature.is_typed() || self.core.verified.contains(key(signature)))
            && self.reconnect.is_none()
            && let Some(call) = self.core.send_fast(make_type_id(0, signature.msg_type()), request, deadline, ())
        {
            return Ok(call);
        }
        self.start_typed_slow(signature, deadline, &mut |caller: &mut Self| {
            caller.send(signature.msg_type(), request, deadline)
        })
    }

    #[inline(never)]
    fn start_typed_slow(
        &mut self,
        signature: &'static Signature,
        deadline: Deadline,
        send: &mut dyn FnMut(&mut Self) -> Result<u64, CallError>,
    ) -> Result<u64, CallError> {
        self.connected(deadline, |caller| {
            // The next callee may declare the endpoint differently.
            if signature.is_typed() {
                caller.verify(|| signature.into(), key(signature), deadline)?;
            }
            send(caller)
        })
    }

    /// Calls, and takes the reply as the current frame of the reverse ring, unless it is an error.
    #[inline]
    fn exchange_typed<E: DeclaredError>(
        &mut self,
        signature: &'static Signature,
        body: &impl Body,
        deadline: Deadline,
    ) -> Result<(), CallError<E>> {
        let exchange = |caller: &mut Self| {
            let call = caller.start_typed(signature, body, deadline).map_err(CallError::widen)?;
            caller.take_typed::<E>(signature, call, deadline)
        };
        match exchange(self) {
            Ok(()) => Ok(()),
            outcome => self.try_again(outcome, deadline, false, exchange),
        }
    }

    /// The reply that was taken, owned.
    #[inline]
    fn own_reply<C: Contract>(&mut self) -> Result<C::Reply, CallError<C::Error>> {
        let Self { core, words, .. } = self;
        let guard = RpcRxGuard::over(&mut core.rx);
        let owned = if C::Reply::COPIES {
            let owned = C::Reply::read_owned(&guard, &mut words.room(guard.len()), "the reply");
            words.shrink();
            owned
        } else {
            C::Reply::read_owned(&guard, &mut Scratch::none(), "the reply")
        };
        owned.map_err(|problem| unreadable(C::SIGNATURE, problem))
    }

    /// The reply that was taken, lent.
    #[inline]
    fn lend_reply<C: Contract>(&mut self) -> Result<InPlace<'_, C::Reply>, CallError<C::Error>> {
        let Self { core, words, .. } = self;
        let guard = RpcRxGuard::over(&mut core.rx);
        let read = if C::Reply::COPIES {
            words.shrink();
            let mut scratch = words.room(guard.len());
            InPlace::read(guard, &mut scratch)
        } else {
            InPlace::read(guard, &mut Scratch::none())
        };
        read.map_err(|problem| unreadable(C::SIGNATURE, problem))
    }

    /// Takes the reply to a call as the current frame of the reverse ring, unless it is an error.
    #[inline]
    fn take_typed<E: DeclaredError>(
        &mut self,
        signature: &'static Signature,
        call: u64,
        deadline: Deadline,
    ) -> Result<(), CallError<E>> {
        if !self.core.take_reply_fast(call) {
            self.complete_slow(call, deadline).map_err(CallError::widen)?;
        }
        if msg_type(self.core.rx.current.type_id) == MSG_TYPE_ERROR {
            return Err(self.refused_typed(signature));
        }
        Ok(())
    }

    /// The declared error that an error reply names.
    #[cold]
    fn refused_typed<E: DeclaredError>(&mut self, signature: &'static Signature) -> CallError<E> {
        match self.refused() {
            CallError::Remote(error) => typed_error(error, signature),
            other => other.widen(),
        }
    }
}

/// The key of a signature: its address, which is unique since signatures are statics.
#[inline]
fn key(signature: &'static Signature) -> usize {
    ptr::from_ref(signature).addr()
}

/// The declared error that a callee named.
#[cold]
fn typed_error<E: DeclaredError>(error: RpcError, signature: &'static Signature) -> CallError<E> {
    match E::decode(&error.name, &error.fields) {
        Some(Ok(declared)) => CallError::Failed(declared),
        // Its fields were too long to travel.
        Some(Err(_)) if error.fields.is_empty() => CallError::Remote(error),
        Some(Err(problem)) => unreadable(signature, problem),
        None => CallError::Remote(error),
    }
}

/// Calls an endpoint and gives its reply, owned.
///
/// # Errors
/// As the generated function says.
#[inline]
pub fn call<C: Contract>(calls: &mut impl Calls, body: &impl Body) -> Result<C::Reply, CallError<C::Error>> {
    let (caller, timeout) = calls.parts();
    let deadline = Deadline::from(timeout);
    caller.exchange_typed(C::SIGNATURE, body, deadline)?;
    caller.own_reply::<C>()
}

/// As [`call`], with the reply where it lies.
///
/// # Errors
/// As [`call`].
#[inline]
pub fn call_in_place<'c, C: Contract>(
    calls: &'c mut impl Calls,
    body: &impl Body,
) -> Result<InPlace<'c, C::Reply>, CallError<C::Error>> {
    let (caller, timeout) = calls.parts();
    let deadline = Deadline::from(timeout);
    caller.exchange_typed(C::SIGNATURE, body, deadline)?;
    caller.lend_reply::<C>()
}

/// Sends a request.
///
/// # Errors
/// As [`call`].
#[inline]
pub fn start<C: Contract>(calls: &mut impl Calls, body: &impl Body) -> Result<Started<C>, CallError<C::Error>> {
    let (caller, timeout) = calls.parts();
    let deadline = Deadline::from(timeout);
    let call = caller.start_typed(C::SIGNATURE, body, deadline).map_err(CallError::widen)?;
    Ok(Started { caller: caller.identity, call, deadline, contract: PhantomData })
}

/// A call that was sent. Dropping it leaves the call outstanding: [`Caller::forget`] gives it up.
#[derive(Debug)]
#[must_use = "a call that is not finished stays outstanding"]
pub struct Started<C> {
    /// The identity of the caller that made it.
    caller: u64,
    call: u64,
    deadline: Deadline,
    contract: PhantomData<fn() -> C>,
}

impl<C: Contract> Started<C> {
    /// The number of the call.
    pub fn correlation_id(&self) -> u64 {
        self.call
    }

    /// Waits for the reply, for as long as the call may take.
    ///
    /// # Errors
    /// As the generated `call`; [`CallError::UnknownCorrelation`] when another caller has made the call.
    #[inline]
    pub fn finish(self, caller: &mut Caller) -> Result<C::Reply, CallError<C::Error>> {
        self.check(caller)?;
        caller.take_typed(C::SIGNATURE, self.call, self.deadline)?;
        caller.own_reply::<C>()
    }

    /// As [`finish`](Self::finish), with the reply where it lies.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    #[inline]
    pub fn finish_in_place(self, caller: &mut Caller) -> Result<InPlace<'_, C::Reply>, CallError<C::Error>> {
        self.check(caller)?;
        caller.take_typed(C::SIGNATURE, self.call, self.deadline)?;
        caller.lend_reply::<C>()
    }

    /// Correlation ids are unique within one caller only.
    #[inline]
    fn check(&self, caller: &Caller) -> Result<(), CallError<C::Error>> {
        if self.caller == caller.identity { Ok(()) } else { Err(CallError::UnknownCorrelation(self.call)) }
    }
}

#[cold]
#[allow(clippy::boxed_local, reason = "as readers return it")]
fn unreadable<E>(signature: &'static Signature, problem: BoxedMalformed) -> CallError<E> {
    CallError::BadReply { endpoint: signature.name().to_owned(), problem: *problem }
}
