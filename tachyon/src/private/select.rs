//! One mistake, one error: an assertion reports a type that cannot travel, and stand-ins replace it everywhere else.
//!
//! `IsValue::<T>::YES` is an inherent constant if `T: Value`, and otherwise the constant of the trait [`NotValue`]. It
//! picks the `Select` through which generated code uses `T` without a bound.

use core::marker::PhantomData;

use crate::dispatch::{HandlerError, Items, OwnedContext, Request, StreamSender};
use crate::rpc::{Body, Borrowed, SingleValue};
use crate::schema::payload::{Argument, Fixed, ItemEncoding, Number, Value, assert_by_value, with_scratch};

/// Tests whether `T` travels: [`YES`](Self::YES).
pub struct IsValue<T>(PhantomData<T>);

impl<T: Value> IsValue<T> {
    /// The test passes.
    pub const YES: bool = true;
}

/// The answer for all other types.
pub trait NotValue {
    /// The test fails.
    const YES: bool = false;
}

impl<T> NotValue for IsValue<T> {}

/// Tests whether `P` can be a parameter: [`YES`](Self::YES).
pub struct IsArgument<P>(PhantomData<P>);

impl<P: Argument<'static>> IsArgument<P> {
    /// The test passes.
    pub const YES: bool = true;
}

/// The answer for all other types.
pub trait NotArgument {
    /// The test fails.
    const YES: bool = false;
}

impl<P> NotArgument for IsArgument<P> {}

/// Selects an implementation for a type: its own if the test passed, otherwise a stand-in.
pub struct Select<const YES: bool>;

/// The type that travels for `T`: `T` itself, or a stand-in.
pub trait Slot<T> {
    /// The type.
    type Wire: Value;

    /// The view of a value, to send.
    fn view(value: &T) -> <Self::Wire as Value>::View<'_>;

    /// The value of a view, received.
    fn own(view: <Self::Wire as Value>::View<'_>) -> T;

    /// A request with the value.
    fn body(value: &T) -> impl Body;

    /// Passes the value of a request to `handler`.
    ///
    /// # Errors
    /// The request is no `T`, or the handler's error.
    fn lend<R>(request: Request<'_>, handler: impl FnOnce(&T) -> Result<R, HandlerError>) -> Result<R, HandlerError>;
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
    fn lend<R>(request: Request<'_>, handler: impl FnOnce(&T) -> Result<R, HandlerError>) -> Result<R, HandlerError> {
        with_scratch(T::LEND_COPIES, request.payload(), |message, scratch| {
            T::lend(message, scratch, "the request", handler)?
        })
    }
}

impl<T> Slot<T> for Select<false> {
    type Wire = u8;

    fn view(_value: &T) -> u8 {
        unreachable!("the compiler refuses the type")
    }

    fn own(_view: u8) -> T {
        unreachable!("the compiler refuses the type")
    }

    fn body(_value: &T) -> impl Body {
        SingleValue::<()>::new(())
    }

    fn lend<R>(_request: Request<'_>, _handler: impl FnOnce(&T) -> Result<R, HandlerError>) -> Result<R, HandlerError> {
        unreachable!("the compiler refuses the type")
    }
}

/// The items of type `T` that a caller or a handler sends.
pub trait HasItems<T> {
    /// The items of the caller.
    fn items(context: &OwnedContext) -> Items<T>;

    /// The sender of the handler's items.
    fn sender(context: &OwnedContext) -> StreamSender<T>;
}

impl<T: Value> HasItems<T> for Select<true> {
    fn items(context: &OwnedContext) -> Items<T> {
        context.items::<T>()
    }

    fn sender(context: &OwnedContext) -> StreamSender<T> {
        context.sender(ItemEncoding::VALUE)
    }
}

impl<T> HasItems<T> for Select<false> {
    fn items(_context: &OwnedContext) -> Items<T> {
        unreachable!("the compiler refuses the type")
    }

    fn sender(_context: &OwnedContext) -> StreamSender<T> {
        unreachable!("the compiler refuses the type")
    }
}

/// The type that travels for a parameter of type `P`, or a stand-in.
pub trait Parameter<P> {
    /// The type.
    type Wire: Value;
}

impl<P: Argument<'static>> Parameter<P> for Select<true> {
    type Wire = P::Wire;
}

impl<P> Parameter<P> for Select<false> {
    type Wire = u8;
}

/// The type that travels for argument `AT`, where the macro cannot tell it from the tokens.
pub trait Travels<const AT: usize> {
    /// The type.
    type Wire: Value;
}

/// Makes the parameter `P` of the view that travels for it.
pub trait Take<'a, P, W: Value> {
    /// Makes the parameter.
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
        unreachable!("the compiler refuses the type")
    }
}

/// The view of a slice that a caller passes for a parameter `&[T]`, which travels as `W`.
pub trait PassSlice<'s, T, W: Value> {
    /// The view.
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
        unreachable!("the compiler refuses the type")
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

/// The only place that reports a type that a parameter `&T` cannot take.
pub const fn can_be_lent<T: Lendable>() {}

/// A type `T` whose slice a parameter `&[T]` takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be in a slice",
    label = "not a fixed payload",
    note = "`&[T]` takes numbers, `bool`, arrays of these, and fixed payloads marked with `#[tachyon::payload]`; for \
            values without a fixed size write `List<'_, T>`"
)]
pub trait InSlice {}

#[diagnostic::do_not_recommend]
impl<T: Fixed> InSlice for T {}

/// The only place that reports a type that a slice cannot hold.
pub const fn can_be_element<T: InSlice>() {}

/// The only place that reports a type that a tensor cannot hold.
pub const fn can_be_in_tensor<T: Number>() {}

/// A type that travels. A trait of its own, because rustc would list all implementors of [`Value`] in a crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel",
    label = "not a type that travels",
    note = "numbers, `bool`, `[T; N]`, `String`, `Vec<T>`, `Option<T>`, `Tensor<T, N>` and types marked with \
            `#[tachyon::payload]` travel"
)]
pub trait ValueTravels {}

#[diagnostic::do_not_recommend]
impl<T: Value> ValueTravels for T {}

/// The only place that reports a type that does not travel. The macro calls it in a constant, by its name.
pub const fn travels<T: ValueTravels>() {}

/// The only place that reports a type that cannot be a parameter.
#[track_caller]
pub const fn can_be_parameter<P: Argument<'static>>() {
    assert_by_value::<P>();
}
