//! Replies: one value, or nothing.

use super::fixed::Fixed;
use super::form::Form;
use super::list::List;
use super::malformed::{BoxedMalformed, Malformed};
use super::scratch::Scratch;
use super::tensor::{Number, Tensor};
use super::value::Value;

/// The content of a whole message: a [`Value`], or nothing, `()`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a whole message",
    label = "not a type that travels",
    note = "numbers, `bool`, `[T; N]`, `String`, `Vec<T>`, `Option<T>`, `Tensor<T, N>`, `()` and types marked with \
            `#[tachyon::payload]` travel"
)]
pub trait Message: Sized + 'static {
    /// The borrowed form, as [`Value::View`].
    type View<'a>: Copy;
    /// The owned form: a [`Value`] itself, or the decoded value of a [`Msgpack`](super::Msgpack).
    type Owned;
    /// The form of the message.
    const FORM: Form;

    /// Whether reading copies a part.
    #[doc(hidden)]
    const COPIES: bool;

    /// Reads the value of a message.
    #[doc(hidden)]
    fn read<'a>(
        message: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<Self::View<'a>, BoxedMalformed>;

    /// Length of the message in bytes.
    #[doc(hidden)]
    fn len(view: Self::View<'_>) -> usize;

    /// Writes the message to `out`, which has the length `len`.
    #[doc(hidden)]
    fn write(view: Self::View<'_>, out: &mut [u8]);

    /// The bytes of the message, if they lie in memory as they travel.
    #[doc(hidden)]
    fn bytes(view: Self::View<'_>) -> Option<&[u8]>;

    /// An owned value of a view.
    fn own(view: Self::View<'_>) -> Self::Owned;

    /// Reads the value of a message, owned.
    #[doc(hidden)]
    #[inline]
    fn read_owned<'a>(
        message: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<Self::Owned, BoxedMalformed> {
        Self::read(message, scratch, place).map(Self::own)
    }

    /// The same view for a shorter time.
    #[doc(hidden)]
    fn shrink<'s, 'l: 's>(view: Self::View<'l>) -> Self::View<'s>;
}

#[diagnostic::do_not_recommend]
impl<T: Value> Message for T {
    type View<'a> = <T as Value>::View<'a>;
    type Owned = T;
    const FORM: Form = <T as Value>::FORM;
    const COPIES: bool = <T as Value>::COPIES;

    #[inline]
    fn read<'a>(
        message: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<Self::View<'a>, BoxedMalformed> {
        T::read_message(message, scratch, place)
    }

    #[inline]
    fn len(view: Self::View<'_>) -> usize {
        T::message_len(view)
    }

    #[inline]
    fn write(view: Self::View<'_>, out: &mut [u8]) {
        T::write_message(view, out);
    }

    #[inline]
    fn bytes(view: Self::View<'_>) -> Option<&[u8]> {
        T::message_bytes(view)
    }

    #[inline]
    fn own(view: Self::View<'_>) -> T {
        <T as Value>::own(view)
    }

    #[inline]
    fn shrink<'s, 'l: 's>(view: Self::View<'l>) -> Self::View<'s> {
        <T as Value>::shrink(view)
    }
}

impl Message for () {
    type View<'a> = ();
    type Owned = ();
    const FORM: Form = Form::Empty;
    const COPIES: bool = false;

    #[inline]
    fn read<'a>(message: &'a [u8], _scratch: &mut Scratch<'a>, _place: &'static str) -> Result<(), BoxedMalformed> {
        if message.is_empty() { Ok(()) } else { Err(Malformed::NotEmpty { found: message.len() }.into()) }
    }

    #[inline]
    fn len((): ()) -> usize {
        0
    }

    #[inline]
    fn write((): (), _out: &mut [u8]) {}

    #[inline]
    fn bytes((): Self::View<'_>) -> Option<&[u8]> {
        Some(&[])
    }

    #[inline]
    fn own((): ()) {}

    #[inline]
    fn shrink<'s, 'l: 's>((): Self::View<'l>) -> Self::View<'s> {}
}

/// A value that an endpoint may return: a [`Value`], a reference to one, its borrowed form, or `()`.
///
/// ```
/// use tachyon::payload::{ReplyValue, Value};
///
/// fn name_on_the_wire<R: ReplyValue<Message: Value>>(_reply: R) -> &'static str {
///     std::any::type_name::<R::Message>()
/// }
///
/// assert_eq!(name_on_the_wire("text"), name_on_the_wire(String::new()));
/// assert_eq!(name_on_the_wire(&[1.5][..]), name_on_the_wire(vec![1.5]));
/// ```
#[diagnostic::on_unimplemented(
    message = "an endpoint cannot reply with `{Self}`",
    label = "not a reply",
    note = "an endpoint returns a number, `bool`, `[T; N]`, `String`, `Vec<T>`, `Option<T>`, `Tensor<T, N>`, a type \
            marked with `#[tachyon::payload]`, a borrowed one of these, nothing, or a `Result` of one of these"
)]
pub trait ReplyValue {
    /// The type that the caller receives.
    type Message: Message;

    /// The view to send.
    #[doc(hidden)]
    fn view(&self) -> <Self::Message as Message>::View<'_>;

    /// The bytes of the message, if they lie in memory as they travel.
    #[doc(hidden)]
    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        <Self::Message as Message>::bytes(self.view())
    }
}

/// A [`Value`] that is no `Option`. An `Option` is a reply if its value is one, owned or borrowed.
pub trait NoOption: Value {}

impl<T: Fixed> NoOption for T {}

impl NoOption for String {}

impl<T: Value> NoOption for Vec<T> {}

#[diagnostic::do_not_recommend]
impl<V> ReplyValue for Option<V>
where
    V: ReplyValue,
    V::Message: Value + for<'a> Message<View<'a> = <V::Message as Value>::View<'a>>,
{
    type Message = Option<V::Message>;

    #[inline]
    fn view(&self) -> Option<<V::Message as Value>::View<'_>> {
        self.as_ref().map(V::view)
    }
}

#[diagnostic::do_not_recommend]
impl<T: NoOption> ReplyValue for T {
    type Message = T;

    #[inline]
    fn view(&self) -> <T as Value>::View<'_> {
        Value::view(self)
    }

    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        Value::bytes(self)
    }
}

/// Implements the trait for references, one by one: for all `&T` at once it would collide with the other borrowed
/// forms.
macro_rules! references {
    ($([$($generics:tt)*] $ty:ty),* $(,)?) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> ReplyValue for &$ty {
            type Message = $ty;

            #[inline]
            fn view(&self) -> <$ty as Value>::View<'_> {
                Value::view(*self)
            }

            #[inline]
            fn bytes(&self) -> Option<&[u8]> {
                Value::bytes(*self)
            }
        }
    )*};
}

references! {
    [] u8, [] u16, [] u32, [] u64, [] i8, [] i16, [] i32, [] i64, [] f32, [] f64, [] bool, [] String,
    [T: Value] Vec<T>, [T: Value] Option<T>, [T: Fixed, const N: usize] [T; N],
    [T: Number, const N: usize] Tensor<T, N>,
}

#[diagnostic::do_not_recommend]
impl ReplyValue for () {
    type Message = ();

    #[inline]
    fn view(&self) {}
}

/// Implements the trait for types that hold a slice, and travel as a `Vec`.
macro_rules! slices {
    ($([$($generics:tt)*] $ty:ty => $element:ty),* $(,)?) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> ReplyValue for $ty {
            type Message = Vec<$element>;

            #[inline]
            fn view(&self) -> <$element as Value>::List<'_> {
                <$element as Value>::list(AsRef::<[$element]>::as_ref(self))
            }
        }
    )*};
}

slices! {
    [T: Value] &[T] => T,
    [T: Value] Box<[T]> => T,
    [T: Value] std::sync::Arc<[T]> => T,
    [T: Value + Clone] std::borrow::Cow<'_, [T]> => T,
}

/// Implements the trait for borrowed text.
macro_rules! texts {
    ($($ty:ty),* $(,)?) => {$(
        #[diagnostic::do_not_recommend]
        impl ReplyValue for $ty {
            type Message = String;

            #[inline]
            fn view(&self) -> &str {
                self
            }
        }
    )*};
}

texts!(&str, Box<str>, std::sync::Arc<str>, std::borrow::Cow<'_, str>);

impl<T: Value> ReplyValue for List<'_, T>
where
    T: for<'a> Value<List<'a> = List<'a, T>>,
{
    type Message = Vec<T>;

    fn view(&self) -> List<'_, T> {
        *self
    }
}
