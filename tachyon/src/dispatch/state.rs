//! The state of a dispatcher's handlers: the dispatcher's own, or shared with others.

use std::sync::Arc;

/// The dispatcher's state, with the access that a request may have.
#[derive(Debug)]
pub(crate) enum StateRef<'a, S: ?Sized> {
    /// Other requests use the state at the same time.
    Shared(&'a S),
    Exclusive(&'a mut S),
}

impl<'a, S: ?Sized> StateRef<'a, S> {
    #[inline]
    pub(crate) fn reborrow(&mut self) -> StateRef<'_, S> {
        match self {
            Self::Shared(state) => StateRef::Shared(state),
            Self::Exclusive(state) => StateRef::Exclusive(state),
        }
    }

    #[inline]
    pub(super) fn shared(self) -> &'a S {
        match self {
            Self::Shared(state) => state,
            Self::Exclusive(state) => state,
        }
    }
}

/// A shared state. A trait object, so that a dispatcher with a state of its own is `Send` whenever that state is: an
/// `Arc` in its place would require `Sync`.
pub type SharedState<S> = Box<dyn Share<S> + Send + Sync>;

/// Lends the `Arc` of a shared state.
pub trait Share<S: ?Sized> {
    /// The state.
    fn arc(&self) -> &Arc<S>;
}

impl<S: Send + Sync + ?Sized> Share<S> for Arc<S> {
    fn arc(&self) -> &Self {
        self
    }
}

/// Makes a dispatcher's own state a shared one.
pub type ShareOwn<S> = fn(Box<S>) -> SharedState<S>;

/// As a [`ShareOwn`].
pub(crate) fn share_own<S: Send + Sync + ?Sized + 'static>(state: Box<S>) -> SharedState<S> {
    Box::new(Arc::<S>::from(state))
}

pub(super) enum State<S: ?Sized> {
    /// The dispatcher's own, and no endpoint of the table is async.
    Own(Box<S>),
    /// The dispatcher's own, and the async endpoints of the table take no state.
    OwnAsync(Box<S>),
    /// Shared with other owners, or with the tasks of async endpoints.
    Shared(SharedState<S>),
    /// Between two of the others.
    Moving,
}

const MOVING: &str = "a state is moved within one function";

impl<S: ?Sized> State<S> {
    pub(super) fn get(&self) -> &S {
        match self {
            Self::Own(state) | Self::OwnAsync(state) => state,
            Self::Shared(shared) => shared.arc(),
            Self::Moving => unreachable!("{MOVING}"),
        }
    }

    /// The state with the most access that this dispatcher can give.
    #[inline]
    pub(super) fn get_ref(&mut self) -> StateRef<'_, S> {
        match self {
            Self::Own(state) => StateRef::Exclusive(state),
            other => other.get_ref_slow(),
        }
    }

    #[cold]
    fn get_ref_slow(&mut self) -> StateRef<'_, S> {
        match self {
            Self::Own(state) | Self::OwnAsync(state) => StateRef::Exclusive(state),
            Self::Shared(shared) => StateRef::Shared(shared.arc()),
            Self::Moving => unreachable!("{MOVING}"),
        }
    }

    /// The state, if it is shared.
    pub(super) fn shared(&self) -> Option<&SharedState<S>> {
        match self {
            Self::Shared(shared) => Some(shared),
            _ => None,
        }
    }

    /// As [`get_ref`](Self::get_ref) and [`shared`](Self::shared).
    pub(super) fn get_both(&mut self) -> (StateRef<'_, S>, Option<&SharedState<S>>) {
        match self {
            Self::Shared(shared) => (StateRef::Shared(shared.arc()), Some(shared)),
            other => (other.get_ref(), None),
        }
    }

    /// Notes that the table has an async endpoint. `share` shares the state, if the endpoint takes it.
    pub(super) fn note_async(&mut self, share: Option<ShareOwn<S>>) {
        *self = match (core::mem::replace(self, Self::Moving), share) {
            (Self::Own(state) | Self::OwnAsync(state), Some(share)) => Self::Shared(share(state)),
            (Self::Own(state), None) => Self::OwnAsync(state),
            (other, _) => other,
        };
    }

    /// Shares the state with the threads of handlers.
    pub(super) fn share(&mut self, share: ShareOwn<S>) {
        *self = match core::mem::replace(self, Self::Moving) {
            Self::Own(state) | Self::OwnAsync(state) => Self::Shared(share(state)),
            other => other,
        };
    }
}

impl<S> State<S> {
    pub(super) fn get_mut(&mut self) -> Option<&mut S> {
        match self.get_ref() {
            StateRef::Exclusive(state) => Some(state),
            StateRef::Shared(_) => None,
        }
    }

    /// Moves the state out, unless others share it.
    pub(super) fn into_inner(self) -> Option<S> {
        match self {
            Self::Own(state) | Self::OwnAsync(state) => Some(*state),
            Self::Shared(shared) => {
                let state = Arc::clone(shared.arc());
                drop(shared);
                Arc::into_inner(state)
            }
            Self::Moving => unreachable!("{MOVING}"),
        }
    }
}
