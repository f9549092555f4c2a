//! One mistake, one error: a type that cannot travel is reported where it is asserted, and stands in for itself
//! everywhere else.
//!
//! `IsValue::<T>::YES` is an inherent constant where `T: Value`, and else the one of the trait [`NotValue`]: it picks
//! the `Select` by which generated code speaks of `T` without its bound.

use core::marker::PhantomData;

use crate::payload::{Argument, Value};

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
}

impl<T> Slot<T> for Select<false> {
    type Wire = u8;

    fn view(_value: &T) -> u8 {
        unreachable!("the type was refused when this was compiled")
    }

    fn own(_view: u8) -> T {
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

/// A type that travels: its own trait, because rustc would list all implementors of [`Value`] that a crate has.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel",
    label = "not a type that travels",
    note = "numbers, `bool`, `[T; N]`, `String`, `Vec<T>`, `Option<T>` and types marked with `#[tachyon::payload]` \
            travel"
)]
pub trait Travels {}

#[diagnostic::do_not_recommend]
impl<T: Value> Travels for T {}

/// The one place where a type that does not travel is an error: called in a constant, by its name.
pub const fn travels<T: Travels>() {}

/// The same of a parameter.
pub const fn can_be_parameter<P: Argument<'static>>() {}
