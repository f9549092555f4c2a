//! The endpoints that can be in one table: endpoints without state in any, endpoints with state in tables of that
//! state.
//!
//! A table's state follows from its endpoints alone, so that `endpoints![..]` has a type without annotation. The types
//! here are that inference.

use core::marker::PhantomData;

use super::endpoint::{Endpoint, Entry};

/// The [`Scope`] of an endpoint without state.
#[derive(Debug)]
pub struct Stateless;

/// The [`Scope`] of an endpoint with the state `S`.
#[derive(Debug)]
pub struct Requires<S: ?Sized>(PhantomData<fn(&S)>);

/// The state that an endpoint requires of its table: [`Stateless`] or [`Requires`].
pub trait Scope {
    /// The state of the handler.
    type State: ?Sized;
}

impl Scope for Stateless {
    type State = ();
}

impl<S: ?Sized> Scope for Requires<S> {
    type State = S;
}

/// The scope of a table with endpoints of both scopes.
#[diagnostic::on_unimplemented(
    message = "the endpoints of one table share one state",
    label = "the state of this endpoint differs from the state of those before it",
    note = "a dispatcher has one state: write two tables, or one type that holds both states"
)]
pub trait Join<Other: Scope>: Scope {
    /// The scope of a table with endpoints of both scopes.
    type Joined: Scope;
}

impl<Other: Scope> Join<Other> for Stateless {
    type Joined = Other;
}

impl<S: ?Sized> Join<Stateless> for Requires<S> {
    type Joined = Self;
}

impl<S: ?Sized> Join<Self> for Requires<S> {
    type Joined = Self;
}

/// An endpoint's entry for a table of the state `S`.
pub trait EntryIn<S: ?Sized, E: ?Sized> {
    /// The entry.
    const ENTRY: Entry<S>;
}

impl<S: ?Sized, E: Endpoint<Scope = Self, State = ()> + ?Sized> EntryIn<S, E> for Stateless {
    const ENTRY: Entry<S> = E::ENTRY.lift();
}

impl<S: ?Sized, E: Endpoint<Scope = Self, State = S> + ?Sized> EntryIn<S, E> for Requires<S> {
    const ENTRY: Entry<S> = E::ENTRY;
}
