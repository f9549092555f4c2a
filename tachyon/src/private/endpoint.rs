//! Building blocks of generated handlers.

use core::fmt::Display;
use core::marker::PhantomData;

use crate::dispatch::{
    AsyncReply, Context, ConvertError, Entry, EntryHandler, HandlerError, HandlerFuture, HandlerResult, IntoReply,
    OwnedContext, Replies, Reply, ReplySlot, Request, SlotOf, SlotResult, StartHandler, answer_in_slot, share_own,
};
use crate::schema::payload::{DeclaredError, Message, Scratch, Undeclared, Value, assert_by_value, with_scratch};

use super::select::Select;

/// Passes a request to `read`, with scratch memory for copies of its parts if `copies` says so.
///
/// # Errors
/// The request is not a value of the endpoint's type, or the handler's error.
#[inline]
pub fn handle<R>(
    request: Request<'_>,
    copies: bool,
    read: impl for<'m> FnOnce(&'m [u8], &mut Scratch<'m>) -> Result<R, HandlerError>,
) -> Result<R, HandlerError> {
    with_scratch(copies, request.payload(), read)
}

/// The context of a request, for the endpoint `name`.
#[inline]
pub fn context<'a>(request: Request<'a>, name: &'a str) -> Context<'a> {
    request.context(name)
}

/// Checks that a request is empty.
///
/// # Errors
/// The request is not empty.
#[inline]
pub fn empty(request: Request<'_>) -> Result<(), HandlerError> {
    Ok(<() as Message>::read(request.payload(), &mut Scratch::none(), "the request")?)
}

/// Replies with the value of a handler: `S` selects its type, `H` the form of its error.
///
/// # Errors
/// The handler's error, or the error of sending the reply.
#[inline]
pub fn answer<H: ConvertError<S::Error>, S: ReplyOf<R>, R>(reply: Reply<'_>, value: R) -> HandlerResult {
    match S::send(value, reply) {
        Ok(sent) => sent,
        Err(error) => Err(H::error(error)),
    }
}

/// The items of a returned iterator: `S` selects their type, `H` the form of their error.
///
/// # Errors
/// None: a handler's result.
pub fn replies<H, S, I>(items: I) -> Result<Replies, HandlerError>
where
    H: ConvertError<S::Error>,
    S: ReplyOf<I::Item>,
    I: Iterator<Item: 'static> + Send + 'static,
{
    Ok(Replies::sent_by(items, |item, reply| answer::<H, S, I::Item>(reply, item)))
}

/// As [`replies`], for a `Result` of an iterator.
///
/// # Errors
/// The handler's error, before the first item.
pub fn replies_or_error<H, S, I>(outcome: Result<I, S::Error>) -> Result<Replies, HandlerError>
where
    H: ConvertError<S::Error>,
    S: ReplyOf<I::Item>,
    I: Iterator<Item: 'static> + Send + 'static,
{
    replies::<H, S, I>(outcome.map_err(H::error)?)
}

/// The items of a `Result` of an iterator, as results: the type of the error stands for the whole stream.
///
/// # Errors
/// The error of the outcome.
pub fn fallible<I: Iterator, E>(outcome: Result<I, E>) -> Result<impl Iterator<Item = Result<I::Item, E>>, E> {
    outcome.map(|items| items.map(Ok))
}

/// The output of an async handler: [`answer`], later.
pub fn answer_later<H: ConvertError<S::Error>, S: ReplyOf<R>, R: Send + 'static>(value: R) -> AsyncReply {
    AsyncReply::new(|reply| answer::<H, S, R>(reply, value))
}

/// Sends the items of an iterator that a handler returned, on the handler's own thread. Ends with the first error.
pub fn send_all<H, S, I>(context: &OwnedContext, items: I) -> AsyncReply
where
    H: ConvertError<S::Error>,
    S: ReplyOf<I::Item>,
    I: Iterator,
{
    for item in items {
        let sent = S::encode(item).map_err(H::error).and_then(|item| Ok(context.send_encoded(item?)?));
        if let Err(error) = sent {
            return AsyncReply::new(|_| Err(error));
        }
    }
    AsyncReply::new(|reply| reply.bytes(&[]))
}

/// As [`send_all`], for a `Result` of an iterator.
pub fn send_all_or_error<H, S, I>(context: &OwnedContext, outcome: Result<I, S::Error>) -> AsyncReply
where
    H: ConvertError<S::Error>,
    S: ReplyOf<I::Item>,
    I: Iterator,
{
    match outcome.map_err(H::error) {
        Ok(items) => send_all::<H, S, I>(context, items),
        Err(error) => AsyncReply::new(|_| Err(error)),
    }
}

/// The handler of a stream without state that runs on a thread of its own.
pub const fn thread_stateless<S: ?Sized>(start: StartHandler<()>) -> EntryHandler<S> {
    EntryHandler::ThreadStateless(start)
}

/// The handler of a stream with the state `S` that runs on a thread of its own.
pub const fn thread_shared<S: Send + Sync + ?Sized + 'static>(start: StartHandler<S>) -> EntryHandler<S> {
    EntryHandler::Thread(start, share_own)
}

/// The future of an async handler. The only place that reports a future that cannot be a task.
pub fn task(future: impl Future<Output = AsyncReply> + Send + 'static) -> HandlerFuture {
    HandlerFuture::new(future)
}

/// The handler of an async endpoint without state.
pub const fn start_stateless<S: ?Sized>(start: StartHandler<()>) -> EntryHandler<S> {
    EntryHandler::AsyncStateless(start)
}

/// The handler of an async endpoint with the state `S`.
pub const fn start_shared<S: Send + Sync + ?Sized + 'static>(start: StartHandler<S>) -> EntryHandler<S> {
    EntryHandler::Async(start, share_own)
}

/// Passes a handler its reply slot.
///
/// # Errors
/// As [`answer`], and the slot without an answer.
#[inline]
pub fn answer_slot<W: ?Sized, H: ConvertError<R::Error>, R: SlotResult>(
    reply: Reply<'_>,
    handler: impl FnOnce(ReplySlot<'_, W>) -> R,
) -> HandlerResult {
    answer_in_slot::<W, H, R>(reply, handler)
}

/// A caller that calls the stream `E` as if it had one reply. No type is one.
#[diagnostic::on_unimplemented(
    message = "`{E}` is a stream, and has no `call`",
    label = "a stream is opened",
    note = "write `open` instead of `call`, and take the items of the open stream"
)]
pub trait CallsStream<E> {}

/// Tests whether a reply slot can hold `W`: [`YES`](Self::YES).
pub struct IsInSlot<W: ?Sized>(PhantomData<W>);

impl<W: SlotOf + ?Sized> IsInSlot<W> {
    /// The test passes.
    pub const YES: bool = true;
}

/// The answer for all types that a slot cannot hold.
pub trait NotInSlot {
    /// The test fails.
    const YES: bool = false;
}

impl<W: ?Sized> NotInSlot for IsInSlot<W> {}

/// The type that travels for a slot of `W`, or a stand-in.
pub trait InSlot<W: ?Sized> {
    /// The type.
    type Message: Message;
}

impl<W: SlotOf + ?Sized> InSlot<W> for Select<true> {
    type Message = W::Message;
}

impl<W: ?Sized> InSlot<W> for Select<false> {
    type Message = ();
}

/// An implementor that no method of its service changes. No type is one: a service that changes its implementor asks
/// for it.
#[diagnostic::on_unimplemented(
    message = "this service changes its implementor, so others cannot share the implementor",
    label = "a method takes `&mut self`",
    note = "take `&self` in every method, with a lock in the implementor, or serve it by `dispatcher`"
)]
pub trait NeverChanged: Send + Sync {}

/// The table of an implementor of the service `S`.
pub trait Serves<S> {
    /// The implementor.
    type Implementor: 'static;
    /// The table.
    const ENTRIES: &'static [Entry<Self::Implementor>];
}

/// Tests whether an endpoint can return `R`: [`YES`](Self::YES).
pub struct IsReply<R>(PhantomData<R>);

impl<R: IntoReply> IsReply<R> {
    /// The test passes.
    pub const YES: bool = true;
}

/// The answer for all types that an endpoint cannot return.
pub trait NotReply {
    /// The test fails.
    const YES: bool = false;
}

impl<R> NotReply for IsReply<R> {}

/// The types that travel for a returned `R`, or stand-ins.
pub trait ReplyOf<R> {
    /// The type that the caller receives.
    type Message: Message;
    /// The error of a `Result`.
    type Error;

    /// Sends the reply.
    ///
    /// # Errors
    /// As [`IntoReply::into_reply`].
    fn send(value: R, reply: Reply<'_>) -> Result<HandlerResult, Self::Error>;

    /// The bytes of the reply, or the error of the codec.
    ///
    /// # Errors
    /// As [`IntoReply::into_reply`].
    fn encode(value: R) -> Result<Result<Vec<u8>, HandlerError>, Self::Error>;
}

impl<R: IntoReply> ReplyOf<R> for Select<true> {
    type Message = R::Message;
    type Error = R::Error;

    #[inline]
    fn send(value: R, reply: Reply<'_>) -> Result<HandlerResult, R::Error> {
        value.into_reply(reply)
    }

    fn encode(value: R) -> Result<Result<Vec<u8>, HandlerError>, R::Error> {
        value.encode().map(Ok)
    }
}

impl<R> ReplyOf<R> for Select<false> {
    type Message = ();
    type Error = Undeclared;

    fn send(_value: R, _reply: Reply<'_>) -> Result<HandlerResult, Undeclared> {
        unreachable!("the compiler refuses the type")
    }

    fn encode(_value: R) -> Result<Result<Vec<u8>, HandlerError>, Undeclared> {
        unreachable!("the compiler refuses the type")
    }
}

/// Converts the reply that a caller received into the return type of the endpoint's function.
#[diagnostic::on_unimplemented(
    message = "`{T}` is not what travels",
    label = "an alias of a `Result`, or of a borrowed type",
    note = "write the `Result<T, E>`, or the borrowed type, out"
)]
pub trait Spelled<T, M> {
    /// Converts.
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
        unreachable!("the compiler refuses the type")
    }
}

/// Tests whether an error is declared: [`YES`](Self::YES).
pub struct IsDeclared<E>(PhantomData<E>);

impl<E: DeclaredError> IsDeclared<E> {
    /// The test passes.
    pub const YES: bool = true;
}

/// The answer for all errors that are not declared.
pub trait NotDeclared {
    /// The test fails.
    const YES: bool = false;
}

impl<E> NotDeclared for IsDeclared<E> {}

/// Tests whether an error becomes a [`HandlerError`], with a kind: [`YES`](Self::YES).
pub struct IsInto<E>(PhantomData<E>);

impl<E: Into<HandlerError>> IsInto<E> {
    /// The test passes.
    pub const YES: bool = true;
}

/// The answer for all other errors.
pub trait NotInto {
    /// The test fails.
    const YES: bool = false;
}

impl<E> NotInto for IsInto<E> {}

/// Tests whether an error has a text: [`YES`](Self::YES).
pub struct IsShown<E>(PhantomData<E>);

impl<E: Display> IsShown<E> {
    /// The test passes.
    pub const YES: bool = true;
}

/// The answer for all errors without a text.
pub trait NotShown {
    /// The test fails.
    const YES: bool = false;
}

impl<E> NotShown for IsShown<E> {}

/// The form of an error that passes these tests, for [`ErrorForm`](crate::dispatch::ErrorForm).
pub const fn error_form(is_declared: bool, is_into: bool, is_shown: bool) -> u8 {
    if is_declared {
        3
    } else if is_into {
        2
    } else {
        is_shown as u8
    }
}

/// An error that can travel, in its form.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no error that can travel",
    label = "neither declared nor `Display`",
    note = "mark the enum with `#[tachyon::error]`, so that it arrives typed, or implement `Display`, so that its text \
            arrives"
)]
pub trait ErrorTravels<const FORM: u8> {}

#[diagnostic::do_not_recommend]
impl<E> ErrorTravels<1> for E {}

#[diagnostic::do_not_recommend]
impl<E> ErrorTravels<2> for E {}

#[diagnostic::do_not_recommend]
impl<E> ErrorTravels<3> for E {}

/// The only place that reports a type that an endpoint cannot return.
#[track_caller]
pub const fn can_be_reply<R: IntoReply>() {
    assert_by_value::<R>();
}

/// The only place that reports a type that a reply slot cannot hold.
#[track_caller]
pub const fn can_be_in_slot<W: SlotOf + ?Sized>() {
    assert_by_value::<<W::Message as Value>::View<'static>>();
}

/// The only place that reports an error type that cannot travel.
pub const fn error_travels<E: ErrorTravels<FORM>, const FORM: u8>() {}
