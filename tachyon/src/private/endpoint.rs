//! What generated handlers are made over.

use core::fmt::Display;
use core::marker::PhantomData;

use crate::dispatch::{
    Context, Entry, HandlerError, IntoReply, Pick, Replied, Reply, ReplySlot, Request, SlotOf, SlotResult,
    answer_in_slot,
};
use crate::schema::payload::{DeclaredError, Message, Scratch, Undeclared, Value, assert_by_value, with_scratch};

use super::select::Select;

/// Lends a request to `read`, with room for copies of its parts where `copies` says so.
///
/// # Errors
/// The request is not what the endpoint takes, or the handler's error.
#[inline]
pub fn handle(
    request: Request<'_>,
    copies: bool,
    read: impl for<'m> FnOnce(&'m [u8], &mut Scratch<'m>) -> Result<Replied, HandlerError>,
) -> Result<Replied, HandlerError> {
    with_scratch(copies, request.payload(), read)
}

/// The context of a request, for the endpoint `name`.
#[inline]
pub fn context<'a>(request: Request<'a>, name: &'a str) -> Context<'a> {
    request.context(name)
}

/// Sees that a request is empty.
///
/// # Errors
/// It is not.
#[inline]
pub fn empty(request: Request<'_>) -> Result<(), HandlerError> {
    Ok(<() as Message>::read(request.payload(), &mut Scratch::none(), "the request")?)
}

/// Answers with what a handler returned: `S` is its type, `H` how its error travels.
///
/// # Errors
/// The handler's error, or that the reply cannot be sent.
#[inline]
pub fn answer<H: Pick<S::Error>, S: ReplyOf<R>, R>(reply: Reply<'_>, value: R) -> Result<Replied, HandlerError> {
    match S::send(value, reply) {
        Ok(sent) => sent,
        Err(error) => Err(H::error(error)),
    }
}

/// Hands a handler its reply slot.
///
/// # Errors
/// As [`answer`], and when the slot was not answered.
#[inline]
pub fn answer_slot<W: ?Sized, H: Pick<R::Error>, R: SlotResult>(
    reply: Reply<'_>,
    handler: impl FnOnce(ReplySlot<'_, W>) -> R,
) -> Result<Replied, HandlerError> {
    answer_in_slot::<W, H, R>(reply, handler)
}

/// Asks whether a reply slot can hold `W`.
pub struct IsInSlot<W: ?Sized>(PhantomData<W>);

impl<W: SlotOf + ?Sized> IsInSlot<W> {
    /// It can.
    pub const YES: bool = true;
}

/// Answers for all types that it cannot hold.
pub trait NotInSlot {
    /// It cannot.
    const YES: bool = false;
}

impl<W: ?Sized> NotInSlot for IsInSlot<W> {}

/// What travels for a slot of `W`, or a stand-in.
pub trait InSlot<W: ?Sized> {
    /// It.
    type Message: Message;
}

impl<W: SlotOf + ?Sized> InSlot<W> for Select<true> {
    type Message = W::Message;
}

impl<W: ?Sized> InSlot<W> for Select<false> {
    type Message = ();
}

/// The table of an implementor of the service `S`.
pub trait Serves<S> {
    /// The implementor.
    type Implementor: 'static;
    /// The table.
    const ENTRIES: &'static [Entry<Self::Implementor>];
}

/// Asks whether an endpoint can return `R`.
pub struct IsReply<R>(PhantomData<R>);

impl<R: IntoReply> IsReply<R> {
    /// It can.
    pub const YES: bool = true;
}

/// Answers for all types that it cannot return.
pub trait NotReply {
    /// It cannot.
    const YES: bool = false;
}

impl<R> NotReply for IsReply<R> {}

/// What travels for a returned `R`, or stand-ins.
pub trait ReplyOf<R> {
    /// What the caller gets.
    type Message: Message;
    /// The error, of a `Result`.
    type Error;

    /// Writes the reply.
    ///
    /// # Errors
    /// As [`IntoReply::into_reply`].
    fn send(value: R, reply: Reply<'_>) -> Result<Result<Replied, HandlerError>, Self::Error>;
}

impl<R: IntoReply> ReplyOf<R> for Select<true> {
    type Message = R::Message;
    type Error = R::Error;

    #[inline]
    fn send(value: R, reply: Reply<'_>) -> Result<Result<Replied, HandlerError>, R::Error> {
        value.into_reply(reply)
    }
}

impl<R> ReplyOf<R> for Select<false> {
    type Message = ();
    type Error = Undeclared;

    fn send(_value: R, _reply: Reply<'_>) -> Result<Result<Replied, HandlerError>, Undeclared> {
        unreachable!("the type was refused when this was compiled")
    }
}

/// The reply of a client under the type that the endpoint's function spells.
#[diagnostic::on_unimplemented(
    message = "`{T}` is not what travels",
    label = "an alias of a `Result`, or of a borrowed type",
    note = "write the `Result<T, E>`, or the borrowed type, out"
)]
pub trait Spelled<T, M> {
    /// The same.
    fn spell(message: M) -> T;
}

impl<T> Spelled<T, T> for Select<true> {
    #[inline]
    fn spell(message: T) -> T {
        message
    }
}

impl<T, M> Spelled<T, M> for Select<false> {
    fn spell(_message: M) -> T {
        unreachable!("the type was refused when this was compiled")
    }
}

/// Asks whether an error is declared.
pub struct IsDeclared<E>(PhantomData<E>);

impl<E: DeclaredError> IsDeclared<E> {
    /// It is.
    pub const KIND: u8 = 1;
}

/// Answers for all errors that are not.
pub trait NotDeclared {
    /// It is not.
    const KIND: u8 = 0;
}

impl<E> NotDeclared for IsDeclared<E> {}

/// Asks whether an error has a text.
pub struct IsShown<E>(PhantomData<E>);

impl<E: Display> IsShown<E> {
    /// It has.
    pub const KIND: u8 = 1;
}

/// Answers for all errors that have none.
pub trait NotShown {
    /// It has none.
    const KIND: u8 = 0;
}

impl<E> NotShown for IsShown<E> {}

/// An error that can travel, at least as its text.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no error that can travel",
    label = "neither declared nor `Display`",
    note = "mark the enum with `#[tachyon::error]`, so that it arrives typed, or implement `Display`, so that its text \
            arrives"
)]
pub trait ErrorTravels {}

#[diagnostic::do_not_recommend]
impl<E: Display + ?Sized> ErrorTravels for E {}

/// The one place where a type that an endpoint cannot return is an error.
#[track_caller]
pub const fn can_be_reply<R: IntoReply>() {
    assert_by_value::<R>();
}

/// The same of a reply slot.
#[track_caller]
pub const fn can_be_in_slot<W: SlotOf + ?Sized>() {
    assert_by_value::<<W::Message as Value>::View<'static>>();
}

/// The same of its error.
pub const fn error_travels<E: ErrorTravels + ?Sized>() {}
