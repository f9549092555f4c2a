//! One mistake, one error: a type that cannot travel is reported where it is asserted, and stands in for itself
//! everywhere else.
//!
//! `IsValue::<T>::YES` is an inherent constant where `T: Value`, and else the one of the trait [`NotValue`]: it picks
//! the `Select` by which generated code speaks of `T` without its bound.

use core::marker::PhantomData;

use crate::dispatch::{HandlerError, Replied, Request};
use crate::rpc::{Body, Borrowed, SingleValue};
use crate::schema::payload::{Argument, Fixed, Value, assert_by_value, with_scratch};

/// Asks whether `T` travels.
pub struct IsValue<T>(PhantomData<T>);

impl<T: Value> IsValue<T> {
    /// It does.
    pub const YES: bool = true;
}

/// Answers for all types that do not.
pub trait NotValue {
    /// It does not.
    const YES: bool = false;
}

impl<T> NotValue for IsValue<T> {}

/// Asks whether `P` can be a parameter.
pub struct IsArgument<P>(PhantomData<P>);

impl<P: Argument<'static>> IsArgument<P> {
    /// It can.
    pub const YES: bool = true;
}

/// Answers for all types that cannot.
pub trait NotArgument {
    /// It cannot.
    const YES: bool = false;
}

impl<P> NotArgument for IsArgument<P> {}

/// A type by whether it is what it should be.
pub struct Select<const YES: bool>;

/// What travels for `T`: itself, or a stand-in.
pub trait Slot<T> {
    /// It.
    type Wire: Value;

    /// A value of `T`'s own, as the view to send.
    fn view(value: &T) -> <Self::Wire as Value>::View<'_>;

    /// The other way.
    fn own(view: <Self::Wire as Value>::View<'_>) -> T;

    /// A request of one.
    fn body(value: &T) -> impl Body;

    /// Lends a request that is one.
    ///
    /// # Errors
    /// It is not, or the handler's error.
    fn lend(
        request: Request<'_>,
        handler: impl FnOnce(&T) -> Result<Replied, HandlerError>,
    ) -> Result<Replied, HandlerError>;
}

impl<T: Value> Slot<T> for Select<true> {
    type Wire = T;

    #[inline]
    fn view(value: &T) -> T::View<'_> {
        value.view()
    }

    #[inline]
    fn own(view: T::View<'_>) -> T {
        T::own(view)
    }

    #[inline]
    fn body(value: &T) -> impl Body {
        Borrowed(value)
    }

    #[inline]
    fn lend(
        request: Request<'_>,
        handler: impl FnOnce(&T) -> Result<Replied, HandlerError>,
    ) -> Result<Replied, HandlerError> {
        with_scratch(T::LEND_COPIES, request.payload(), |message, scratch| {
            T::lend(message, scratch, "the request", handler)?
        })
    }
}

impl<T> Slot<T> for Select<false> {
    type Wire = u8;

    fn view(_value: &T) -> u8 {
        unreachable!("the type was refused when this was compiled")
    }

    fn own(_view: u8) -> T {
        unreachable!("the type was refused when this was compiled")
    }

    fn body(_value: &T) -> impl Body {
        SingleValue::<()>::new(())
    }

    fn lend(
        _request: Request<'_>,
        _handler: impl FnOnce(&T) -> Result<Replied, HandlerError>,
    ) -> Result<Replied, HandlerError> {
        unreachable!("the type was refused when this was compiled")
    }
}

/// What travels for a parameter of type `P`: what that says, or a stand-in.
pub trait Parameter<P> {
    /// It.
    type Wire: Value;
}

impl<P: Argument<'static>> Parameter<P> for Select<true> {
    type Wire = P::Wire;
}

impl<P> Parameter<P> for Select<false> {
    type Wire = u8;
}

/// What travels for the argument at place `AT`, where its spelling does not tell.
pub trait Travels<const AT: usize> {
    /// It.
    type Wire: Value;
}

/// Makes the parameter `P` of what travels for it.
pub trait Take<'a, P, W: Value> {
    /// Makes it.
    fn take(view: W::View<'a>) -> P;
}

impl<'a, W: Value, P: Argument<'a, Wire = W>> Take<'a, P, W> for Select<true> {
    #[inline]
    fn take(view: W::View<'a>) -> P {
        P::take(view)
    }
}

impl<'a, P, W: Value> Take<'a, P, W> for Select<false> {
    fn take(_view: W::View<'a>) -> P {
        unreachable!("the type was refused when this was compiled")
    }
}

/// The view of a slice that a caller passes for a parameter `&[T]` of which `W` travels.
pub trait PassSlice<'s, T, W: Value> {
    /// It.
    fn pass(values: &'s [T]) -> W::View<'s>;
}

impl<'s, T: Value> PassSlice<'s, T, Vec<T>> for Select<true> {
    #[inline]
    fn pass(values: &'s [T]) -> T::List<'s> {
        T::list(values)
    }
}

impl<'s, T, W: Value> PassSlice<'s, T, W> for Select<false> {
    fn pass(_values: &'s [T]) -> W::View<'s> {
        unreachable!("the type was refused when this was compiled")
    }
}

/// A value that a parameter `&T` takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel",
    label = "not a type that travels",
    note = "mark the dispatcher's state with `#[state]` and the context with `#[context]`; an argument is a number, \
            `bool`, `&str`, `&[T]`, or of a type marked with `#[tachyon::payload]`"
)]
pub trait Lendable {}

#[diagnostic::do_not_recommend]
impl<T: Value> Lendable for T {}

/// The one place where a type that a parameter `&T` cannot take is an error.
pub const fn can_be_lent<T: Lendable>() {}

/// A value of a slice that a parameter `&[T]` takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be in a slice",
    label = "not a fixed payload",
    note = "`&[T]` takes numbers, `bool`, arrays of these, and fixed payloads marked with `#[tachyon::payload]`; for \
            values without a fixed size write `List<'_, T>`"
)]
pub trait InSlice {}

#[diagnostic::do_not_recommend]
impl<T: Fixed> InSlice for T {}

/// The one place where a type that a slice cannot hold is an error.
pub const fn can_be_element<T: InSlice>() {}

/// A type that travels: its own trait, because rustc would list all implementors of [`Value`] that a crate has.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel",
    label = "not a type that travels",
    note = "numbers, `bool`, `[T; N]`, `String`, `Vec<T>`, `Option<T>` and types marked with `#[tachyon::payload]` \
            travel"
)]
pub trait ValueTravels {}

#[diagnostic::do_not_recommend]
impl<T: Value> ValueTravels for T {}

/// The one place where a type that does not travel is an error: called in a constant, by its name.
pub const fn travels<T: ValueTravels>() {}

/// The same of a parameter.
#[track_caller]
pub const fn can_be_parameter<P: Argument<'static>>() {
    assert_by_value::<P>();
}
