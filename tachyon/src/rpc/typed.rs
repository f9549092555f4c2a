//! Calls of typed endpoints: generated clients are thin layers over these.

use core::marker::PhantomData;

use super::body::{Body, Contents};
use super::caller::{Caller, Target, key};
use super::calls::{Calls, HasCaller};
use super::error::CallError;
use super::guard::RpcRxGuard;
use super::in_place::InPlace;
use super::settings::{CallSettings, deadline, metadata};
use crate::engine::RpcError;
use crate::metadata::Metadata;
use crate::schema::describe::Signature;
use crate::schema::payload::{BoxedMalformed, DeclaredError, Message, SHORT, Scratch, on_stack};
use crate::type_id::{MSG_TYPE_ERROR, make_type_id, msg_type};
use crate::wait::Deadline;

/// The types that an endpoint, or a method of a service, exchanges.
pub trait Contract {
    /// The reply.
    type Reply: Message;
    /// The declared error.
    type Error: DeclaredError;
    /// The description of all three.
    const SIGNATURE: &'static Signature;
}

/// The owned form of the reply of `C`.
pub type Owned<C> = <<C as Contract>::Reply as Message>::Owned;

impl Caller {
    /// Calls, and gives the reply, owned.
    #[inline]
    pub(super) fn call_contract<C: Contract>(
        &mut self,
        settings: Option<&CallSettings>,
        body: &impl Body,
    ) -> Result<Owned<C>, CallError<C::Error>> {
        self.exchange_typed(C::SIGNATURE, settings, body)?;
        self.own_reply::<C>()
    }

    /// As [`call_contract`](Self::call_contract), without another attempt after the request was sent.
    pub(crate) fn attempt_contract<C: Contract>(
        &mut self,
        body: &impl Body,
        metadata: Option<&Metadata>,
        deadline: Deadline,
    ) -> Result<Owned<C>, CallError<C::Error>> {
        let call = self.start_typed(C::SIGNATURE, body, metadata, deadline).map_err(CallError::widen)?;
        self.take_typed(C::SIGNATURE, call, deadline)?;
        self.own_reply::<C>()
    }

    /// Sends a request to the endpoint of a signature. The first one of a typed endpoint on a connection compares the
    /// two sides' descriptions.
    #[inline]
    pub(super) fn start_typed(
        &mut self,
        signature: &'static Signature,
        body: &impl Body,
        metadata: Option<&Metadata>,
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        if let Some(bytes) = body.bytes() {
            return self.start_typed_bytes(signature, bytes, metadata, deadline);
        }
        let len = body.size();
        if len <= SHORT {
            return on_stack(len, |bytes| {
                body.write(bytes);
                self.start_typed_bytes(signature, bytes, metadata, deadline)
            });
        }
        let write = |out: &mut [u8]| body.write(out);
        self.start_slow(Target::typed(signature), Contents::Written(len, &write), metadata, deadline)
    }

    #[inline]
    fn start_typed_bytes(
        &mut self,
        signature: &'static Signature,
        request: &[u8],
        metadata: Option<&Metadata>,
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        // The macros refuse the reserved msg_type, so no signature has it.
        debug_assert_ne!(signature.msg_type(), MSG_TYPE_ERROR);
        if metadata.is_none()
            && (!signature.is_typed() || self.core.verified.contains(key(signature)))
            && self.sends_at_once
            && let Some(call) = self.core.send_fast(make_type_id(0, signature.msg_type()), request, deadline, ())
        {
            return Ok(call);
        }
        self.start_slow(Target::typed(signature), Contents::Bytes(request), metadata, deadline)
    }

    /// Calls, and takes the reply as the current frame of the reverse ring, unless it is an error.
    #[inline]
    fn exchange_typed<E: DeclaredError>(
        &mut self,
        signature: &'static Signature,
        settings: Option<&CallSettings>,
        body: &impl Body,
    ) -> Result<(), CallError<E>> {
        let deadline = deadline(settings);
        let metadata = metadata(settings).map_err(CallError::widen)?;
        let exchange = |caller: &mut Self| {
            let call = caller.start_typed(signature, body, metadata, deadline).map_err(CallError::widen)?;
            caller.take_typed::<E>(signature, call, deadline)
        };
        match exchange(self) {
            Ok(()) => Ok(()),
            outcome => {
                let idempotent = settings.is_some_and(CallSettings::is_idempotent);
                self.try_again(outcome, deadline, idempotent, exchange)
            }
        }
    }

    /// The reply that was taken, owned.
    #[inline]
    pub(super) fn own_reply<C: Contract>(&mut self) -> Result<Owned<C>, CallError<C::Error>> {
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
    pub(super) fn lend_reply<C: Contract>(&mut self) -> Result<InPlace<'_, C::Reply>, CallError<C::Error>> {
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
    pub(super) fn take_typed<E: DeclaredError>(
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
    pub(super) fn refused_typed<E: DeclaredError>(&mut self, signature: &'static Signature) -> CallError<E> {
        match self.refused() {
            CallError::Remote(error) => typed_error(error, signature),
            other => other.widen(),
        }
    }
}

/// The declared error that a callee named.
#[cold]
pub(crate) fn typed_error<E: DeclaredError>(error: RpcError, signature: &'static Signature) -> CallError<E> {
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
pub fn call<C: Contract>(calls: &mut impl Calls, body: &impl Body) -> Result<Owned<C>, CallError<C::Error>> {
    calls.call_contract_with::<C>(None, body)
}

/// As [`call`], with the reply where it lies.
///
/// # Errors
/// As [`call`].
#[inline]
pub fn call_in_place<'c, C: Contract>(
    calls: &'c mut impl HasCaller,
    body: &impl Body,
) -> Result<InPlace<'c, C::Reply>, CallError<C::Error>> {
    let (caller, settings) = calls.parts();
    caller.exchange_typed(C::SIGNATURE, settings.as_deref(), body)?;
    caller.lend_reply::<C>()
}

/// Sends a request.
///
/// # Errors
/// As [`call`].
#[inline]
pub fn start<C: Contract>(calls: &mut impl HasCaller, body: &impl Body) -> Result<Started<C>, CallError<C::Error>> {
    let (caller, settings) = calls.parts();
    let deadline = deadline(settings.as_deref());
    let metadata = metadata(settings.as_deref()).map_err(CallError::widen)?;
    let call = caller.start_typed(C::SIGNATURE, body, metadata, deadline).map_err(CallError::widen)?;
    Ok(Started { caller: caller.identity, call, deadline, contract: PhantomData })
}

/// A call that was sent. Dropping it leaves the call outstanding; [`cancel`](Self::cancel) gives the call up.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// use tachyon::{Callee, Caller, Dispatcher, endpoints, tachyon_rpc};
/// # let listen_at = path.clone();
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn add(a: u64, b: u64) -> u64 {
///     a + b
/// }
///
/// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
/// # let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
/// # Dispatcher::new(endpoints![add]).serve_forever(&mut callee)?;
/// # Ok(()) });
/// let mut caller = Caller::connect(&path)?;
/// let first = add::start(&mut caller, 1, 2)?;
/// let second = add::start(&mut caller, 3, 4)?;
/// let third = add::start(&mut caller, 5, 6)?;
/// assert_eq!(second.finish(&mut caller)?, 7);
/// assert_eq!(first.finish(&mut caller)?, 3);
/// assert!(third.cancel(&mut caller));
/// # drop(caller);
/// # callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    pub fn finish(self, caller: &mut impl HasCaller) -> Result<Owned<C>, CallError<C::Error>> {
        let (caller, _) = caller.parts();
        self.check(caller)?;
        caller.take_typed(C::SIGNATURE, self.call, self.deadline)?;
        caller.own_reply::<C>()
    }

    /// As [`finish`](Self::finish), with the reply where it lies.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    #[inline]
    pub fn finish_in_place(self, caller: &mut impl HasCaller) -> Result<InPlace<'_, C::Reply>, CallError<C::Error>> {
        let (caller, _) = caller.parts();
        self.check(caller)?;
        caller.take_typed(C::SIGNATURE, self.call, self.deadline)?;
        caller.lend_reply::<C>()
    }

    /// Gives the call up: its handler is told, and a late reply is dropped. False when the caller has no such call
    /// outstanding.
    pub fn cancel(self, caller: &mut impl HasCaller) -> bool {
        let (caller, _) = caller.parts();
        self.caller == caller.identity && caller.forget(self.call)
    }

    /// Correlation ids are unique within one caller only.
    #[inline]
    fn check(&self, caller: &Caller) -> Result<(), CallError<C::Error>> {
        if self.caller == caller.identity { Ok(()) } else { Err(CallError::UnknownCorrelation(self.call)) }
    }
}

#[cold]
#[allow(clippy::boxed_local, reason = "as readers return it")]
pub(crate) fn unreadable<E>(signature: &'static Signature, problem: BoxedMalformed) -> CallError<E> {
    CallError::BadReply { endpoint: signature.name().to_owned(), problem: *problem }
}
