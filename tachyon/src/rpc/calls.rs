//! The callers that generated code takes, and the settings of their calls.

use std::borrow::Cow;
use std::time::Duration;

use super::body::Body;
use super::caller::Caller;
use super::error::CallError;
use super::guard::{RpcRxGuard, RpcTxGuard};
use super::settings::CallSettings;
use super::typed::{Contract, Owned};

/// A caller for generated code: a [`Caller`], a [`Pool`](crate::Pool), a
/// [`PooledCaller`](crate::client::pool::PooledCaller), or one of these [`With`] settings. Only this crate implements
/// the trait.
///
/// | you have | you write | a client of a service owns |
/// |---|---|---|
/// | `caller: Caller` | `echo::call(&mut caller, ..)` | `Caller` or `&mut Caller` |
/// | `pool: Pool` that threads share | `echo::call(&mut &pool, ..)` | `Pool`, `&Pool` or `Arc<Pool>` |
/// | either, with settings | `echo::call(&mut pool.within(time), ..)` | `With<C>` |
///
/// A pool lends one of its callers to each call, and makes a call that has not begun again on another caller.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot make calls",
    label = "not a caller",
    note = "pass a `&mut Caller`, a `&mut PooledCaller`, a `&mut &Pool`, or what their `within` returns"
)]
pub trait Calls: sealed::Sealed {
    /// Calls an endpoint and gives its reply, owned.
    #[doc(hidden)]
    fn call_contract_with<C: Contract>(
        &mut self,
        settings: Option<&CallSettings>,
        body: &impl Body,
    ) -> Result<Owned<C>, CallError<C::Error>>;
}

/// A [`Calls`] with a [`Caller`] of its own: all but pools. `call_in_place` and `start` need one, because a reply in
/// place and a call in flight belong to one connection.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no connection of its own",
    label = "not one caller",
    note = "a reply in place and a call in flight belong to one connection: pass a `&mut Caller`, or take one of the \
            pool's callers with `pool.get()?`"
)]
pub trait HasCaller: Calls {
    /// The caller, and the settings of its calls.
    #[doc(hidden)]
    fn parts(&mut self) -> (&mut Caller, Option<Cow<'_, CallSettings>>);
}

pub(crate) mod sealed {
    /// Keeps [`Calls`](super::Calls) to this crate.
    pub trait Sealed {}
}

impl sealed::Sealed for Caller {}

impl Calls for Caller {
    #[inline]
    fn call_contract_with<C: Contract>(
        &mut self,
        settings: Option<&CallSettings>,
        body: &impl Body,
    ) -> Result<Owned<C>, CallError<C::Error>> {
        self.call_contract::<C>(settings, body)
    }
}

impl HasCaller for Caller {
    #[inline]
    fn parts(&mut self) -> (&mut Caller, Option<Cow<'_, CallSettings>>) {
        (self, None)
    }
}

impl<C: sealed::Sealed + ?Sized> sealed::Sealed for &mut C {}

#[diagnostic::do_not_recommend]
impl<T: Calls + ?Sized> Calls for &mut T {
    #[inline]
    fn call_contract_with<C: Contract>(
        &mut self,
        settings: Option<&CallSettings>,
        body: &impl Body,
    ) -> Result<Owned<C>, CallError<C::Error>> {
        (**self).call_contract_with::<C>(settings, body)
    }
}

#[diagnostic::do_not_recommend]
impl<T: HasCaller + ?Sized> HasCaller for &mut T {
    #[inline]
    fn parts(&mut self) -> (&mut Caller, Option<Cow<'_, CallSettings>>) {
        (**self).parts()
    }
}

/// A caller with settings for its calls. [`Caller::within`], [`Caller::metadata`], [`Caller::idempotent`] and their
/// namesakes of [`Pool`](crate::Pool) make one; its own methods add settings. The caller itself keeps none of them.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// use std::time::Duration;
/// use tachyon::{Callee, Caller, Dispatcher, endpoints, tachyon_rpc};
/// # let listen_at = path.clone();
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn add(a: u64, b: u64) -> u64 {
///     a + b
/// }
///
/// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
/// # let mut callee = Callee::listen(&listen_at, 1 << 16, 1 << 16)?;
/// # Dispatcher::new(endpoints![add]).serve_forever(&mut callee)?;
/// # Ok(()) });
/// let mut caller = Caller::connect(&path)?;
/// let mut patient = caller.within(Duration::from_secs(5)).idempotent();
/// assert_eq!(add::call(&mut patient, 1, 2)?, 3);
/// assert_eq!(add::call(&mut patient, 3, 4)?, 7);
/// # drop(caller);
/// # callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "settings apply to the calls that are made through them"]
pub struct With<C> {
    pub(crate) calls: C,
    pub(crate) settings: CallSettings,
}

impl<C> With<C> {
    /// A caller without settings.
    #[doc(hidden)]
    pub fn new(calls: C) -> Self {
        Self { calls, settings: CallSettings::default() }
    }

    /// Limits each call to `timeout`, the wait for room included. The last limit counts.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.settings.set_timeout(timeout);
        self
    }

    /// Sends a text with each request. The callee reads it from the context of the call. The last text of a key counts.
    ///
    /// The call ends with [`CallError::Metadata`] if the key has another character than `a-z0-9._-`, or if all entries
    /// are longer than [`Metadata`](crate::Metadata) allows.
    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key, value);
        self
    }

    /// Lets the callee of a stream send at most so many items ahead of the one that this side takes; at least 1. The
    /// default is an eighth of the ring's slots, at most 32. All windows of a connection share half of the ring's
    /// slots.
    pub fn window(mut self, items: u32) -> Self {
        self.settings.set_window(items);
        self
    }

    /// Says that the callee may run each call twice without harm: a request that is lost with its callee is sent again
    /// to the next callee, at most twice. Pools send again, and callers that
    /// [reconnect](crate::Options::reconnect). A started call is not sent again.
    pub fn idempotent(mut self) -> Self {
        self.settings.set_idempotent();
        self
    }

    /// The caller, without the settings.
    pub fn get_mut(&mut self) -> &mut C {
        &mut self.calls
    }

    /// The caller, without the settings, for good.
    pub fn into_inner(self) -> C {
        self.calls
    }
}

impl<'c> With<&'c mut Caller> {
    /// As [`Caller::call`], with the settings.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use std::time::Duration;
    /// use tachyon::{Callee, Caller, Dispatcher, Options};
    /// # let listen_at = path.clone();
    ///
    /// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
    /// # let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
    /// # let mut dispatcher = Dispatcher::default();
    /// # dispatcher.register(1, "echo", <[u8]>::to_vec)?;
    /// # dispatcher.serve_forever(&mut callee)?;
    /// # Ok(()) });
    /// let mut caller = Caller::connect_with(&path, &Options::new().reconnect(true))?;
    /// let reply = caller.within(Duration::from_secs(5)).idempotent().call(1, b"read")?;
    /// assert_eq!(&*reply, b"read");
    /// # drop(reply);
    /// # drop(caller);
    /// # callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Caller::call_timeout`], and [`CallError::Metadata`]; [`CallError::Closed`] or [`CallError::PeerDead`] when
    /// one callee after the other was lost with an idempotent call.
    pub fn call(self, msg_type: u16, payload: &[u8]) -> Result<RpcRxGuard<'c>, CallError> {
        self.calls.call_with(msg_type, payload, &self.settings)
    }

    /// As [`Caller::start`], with the settings. The time limits the wait for room, and travels with the request.
    ///
    /// # Errors
    /// As [`Caller::start_timeout`], and [`CallError::Metadata`].
    pub fn start(self, msg_type: u16, payload: &[u8]) -> Result<u64, CallError> {
        self.calls.start_with(msg_type, payload, &self.settings)
    }

    /// As [`Caller::open`], with the settings. The time limits the whole stream.
    ///
    /// # Errors
    /// As [`Caller::open`], [`CallError::TimedOut`], and [`CallError::Metadata`].
    pub fn open(self, msg_type: u16, payload: &[u8]) -> Result<u64, CallError> {
        self.calls.open_with(msg_type, payload, &self.settings)
    }

    /// As [`Caller::reserve_call`], with the settings. The time limits the wait for room, and travels with the request.
    /// The metadata goes behind the bytes that are committed.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn reserve_call(self, msg_type: u16, size: usize) -> Result<RpcTxGuard<'c>, CallError> {
        self.calls.reserve_with(msg_type, size, &self.settings)
    }
}

impl<C: Calls> sealed::Sealed for With<C> {}

impl<T: Calls> Calls for With<T> {
    #[inline]
    fn call_contract_with<C: Contract>(
        &mut self,
        settings: Option<&CallSettings>,
        body: &impl Body,
    ) -> Result<Owned<C>, CallError<C::Error>> {
        match settings {
            None => self.calls.call_contract_with::<C>(Some(&self.settings), body),
            Some(over) => {
                let both = self.settings.clone().with(over);
                self.calls.call_contract_with::<C>(Some(&both), body)
            }
        }
    }
}

impl<T: HasCaller> HasCaller for With<T> {
    #[inline]
    fn parts(&mut self) -> (&mut Caller, Option<Cow<'_, CallSettings>>) {
        let (caller, inner) = self.calls.parts();
        let settings = match inner {
            None => Cow::Borrowed(&self.settings),
            Some(inner) => Cow::Owned(inner.into_owned().with(&self.settings)),
        };
        (caller, Some(settings))
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
    pub fn within(&mut self, timeout: Duration) -> With<&mut Self> {
        With::new(self).within(timeout)
    }

    /// This caller with a text that travels with each request, such as a token or the identity of a trace. See
    /// [`With::metadata`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use tachyon::{CallError, Callee, Caller};
    /// # let listen_at = path.clone();
    ///
    /// # let callee = std::thread::spawn(move || Callee::listen(&listen_at, 4096, 4096));
    /// let mut caller = Caller::connect(&path)?;
    /// let call = caller.metadata("token", "of acme").start(1, b"hello")?;
    /// assert!(caller.forget(call));
    /// let refused = caller.metadata("Token", "of acme").start(1, b"hello");
    /// assert!(matches!(refused, Err(CallError::Metadata(_))));
    /// # drop(callee);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn metadata(&mut self, key: &str, value: &str) -> With<&mut Self> {
        With::new(self).metadata(key, value)
    }

    /// This caller for calls that may run twice. See [`With::idempotent`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use tachyon::{Callee, Caller, Dispatcher, Options, endpoints, tachyon_rpc};
    /// # let listen_at = path.clone();
    ///
    /// #[tachyon_rpc(msg_type = 1)]
    /// fn double(number: u64) -> u64 {
    ///     number * 2
    /// }
    ///
    /// let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
    ///     // This one takes a request and is gone.
    ///     let mut callee = Callee::listen(&listen_at, 1 << 16, 1 << 16)?;
    ///     drop(callee.serve()?);
    ///     drop(callee);
    ///     // This one answers.
    ///     let mut callee = Callee::listen(&listen_at, 1 << 16, 1 << 16)?;
    ///     Dispatcher::new(endpoints![double]).serve_forever(&mut callee)?;
    ///     Ok(())
    /// });
    /// let mut caller = Caller::connect_with(&path, &Options::new().reconnect(true))?;
    /// assert_eq!(double::call(&mut caller.idempotent(), 4)?, 8);
    /// # drop(caller);
    /// # callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn idempotent(&mut self) -> With<&mut Self> {
        With::new(self).idempotent()
    }
}
