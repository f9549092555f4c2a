//! Which endpoints can stand in one table: those without state in any, those with state among their like.
//!
//! What a table's state is follows from its endpoints alone, so that `endpoints![..]` has a type wherever it is
//! written. The types here stand for that reasoning.

use core::marker::PhantomData;

use super::endpoint::{Endpoint, Entry};

/// Says that an endpoint takes no state.
#[derive(Debug)]
pub struct NoState;

/// Says that an endpoint takes the state `S`.
#[derive(Debug)]
pub struct Needs<S: ?Sized>(PhantomData<fn(&S)>);

/// What an endpoint says about its state: [`NoState`] or [`Needs`].
pub trait Scope {
    /// The state its handler gets.
    type State: ?Sized;
}

impl Scope for NoState {
    type State = ();
}

impl<S: ?Sized> Scope for Needs<S> {
    type State = S;
}

/// The scope of a table that holds endpoints of both.
#[diagnostic::on_unimplemented(
    message = "the endpoints of one table share one state",
    label = "this one's state differs from those before it",
    note = "a dispatcher has one state: write two tables, or one type that holds both states"
)]
pub trait Join<Other: Scope>: Scope {
    /// That scope.
    type Joined: Scope;
}

impl<Other: Scope> Join<Other> for NoState {
    type Joined = Other;
}

impl<S: ?Sized> Join<NoState> for Needs<S> {
    type Joined = Self;
}

impl<S: ?Sized> Join<Self> for Needs<S> {
    type Joined = Self;
}

/// An endpoint's entry for a table of the state `S`.
pub trait EntryIn<S: ?Sized, E: ?Sized> {
    /// That entry.
    const ENTRY: Entry<S>;
}

impl<S: ?Sized, E: Endpoint<Scope = Self, State = ()> + ?Sized> EntryIn<S, E> for NoState {
    const ENTRY: Entry<S> = E::ENTRY.lift();
}

impl<S: ?Sized, E: Endpoint<Scope = Self, State = S> + ?Sized> EntryIn<S, E> for Needs<S> {
    const ENTRY: Entry<S> = E::ENTRY;
}
