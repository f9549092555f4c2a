//! Types of an endpoint's parameters, and types that a caller may pass for them.

use super::fixed::Fixed;
use super::list::List;
use super::value::Value;

/// A parameter of an endpoint: a value, or its borrowed form.
///
/// `&str` and `String` travel as `String`; `&[T]`, [`List`] and `Vec<T>` as `Vec<T>`;
/// [`TensorRef`](super::TensorRef) and [`Tensor`](super::Tensor) as `Tensor`; a variable payload and its `Ref` type as
/// the payload. `&T` takes any value.
///
/// ```
/// use tachyon::payload::Argument;
///
/// fn name_on_the_wire<'a, A: Argument<'a>>() -> &'static str {
///     std::any::type_name::<A::Wire>()
/// }
///
/// assert_eq!(name_on_the_wire::<&str>(), name_on_the_wire::<String>());
/// assert_eq!(name_on_the_wire::<&[f64]>(), name_on_the_wire::<Vec<f64>>());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of an endpoint",
    label = "not a type that travels",
    note = "numbers, `bool`, `&str`, `&[T]`, `List<'_, T>`, `TensorRef<'_, T, N>`, `Option` of these, types marked \
            with `#[tachyon::payload]`, and owned `String`, `Vec<T>` and `Tensor<T, N>` can"
)]
pub trait Argument<'a>: Sized {
    /// The value that travels.
    type Wire: Value;

    /// Makes the parameter from the view of a received value.
    #[doc(hidden)]
    fn take(view: <Self::Wire as Value>::View<'a>) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Fixed> Argument<'_> for T {
    type Wire = T;

    #[inline]
    fn take(view: T) -> T {
        view
    }
}

#[diagnostic::do_not_recommend]
impl Argument<'_> for String {
    type Wire = Self;

    fn take(view: &str) -> Self {
        view.to_owned()
    }
}

#[diagnostic::do_not_recommend]
impl<'a> Argument<'a> for &'a str {
    type Wire = String;

    #[inline]
    fn take(view: &'a str) -> Self {
        view
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: Value> Argument<'a> for Vec<T> {
    type Wire = Self;

    fn take(view: T::List<'a>) -> Self {
        T::own_list(view)
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: Fixed> Argument<'a> for &'a [T] {
    type Wire = Vec<T>;

    #[inline]
    fn take(view: &'a [T]) -> Self {
        view
    }
}

#[diagnostic::do_not_recommend]
impl<'a, T: Value<List<'a> = Self>> Argument<'a> for List<'a, T> {
    type Wire = Vec<T>;

    #[inline]
    fn take(view: Self) -> Self {
        view
    }
}

#[diagnostic::do_not_recommend]
impl<'a, P: Argument<'a>> Argument<'a> for Option<P> {
    type Wire = Option<P::Wire>;

    #[inline]
    fn take(view: Option<<P::Wire as Value>::View<'a>>) -> Self {
        view.map(P::take)
    }
}

/// A value that a caller may pass where a `W` travels: a fixed `W`, a reference to any `W`, or the borrowed form of a
/// `W`.
///
/// Several borrowed forms are accepted for one `W`: for a `Vec<String>` also `&[&str]` and `&[&str; N]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed where a `{W}` travels",
    label = "another type travels here",
    note = "pass a `&{W}`, or the borrowed form that a handler receives"
)]
pub trait IntoView<'s, W> {
    /// The view to send.
    #[doc(hidden)]
    fn into_view(self) -> W::View<'s>
    where
        W: Value;

    /// The bytes of the item.
    ///
    /// # Errors
    /// The text of the codec.
    #[doc(hidden)]
    fn encode_item(self, encoding: ItemEncoding<W>) -> Result<Vec<u8>, String>;
}

/// How the items of a stream of `T` travel.
#[derive(Debug)]
pub enum ItemEncoding<T> {
    /// As a `Value`: the function writes a whole message.
    Value(fn(&T) -> Vec<u8>),
    /// By the codec msgpack.
    Msgpack(fn(&T) -> Result<Vec<u8>, String>),
}

// Not derived: a derive would require `T: Clone`.
impl<T> Clone for ItemEncoding<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ItemEncoding<T> {}

impl<T: Value> ItemEncoding<T> {
    /// The encoding of a `Value`.
    pub const VALUE: Self = Self::Value(|value| message_of::<T>(value.view()));

    /// The bytes of an item by its view.
    ///
    /// # Errors
    /// The text of the codec.
    pub fn encode_view(self, view: T::View<'_>) -> Result<Vec<u8>, String> {
        match self {
            Self::Value(_) => Ok(message_of::<T>(view)),
            Self::Msgpack(pack) => pack(&T::own(view)),
        }
    }
}

fn message_of<T: Value>(view: T::View<'_>) -> Vec<u8> {
    if let Some(bytes) = T::message_bytes(view) {
        return bytes.to_vec();
    }
    let mut bytes = vec![0; T::message_len(view)];
    T::write_message(view, &mut bytes);
    bytes
}

#[diagnostic::do_not_recommend]
impl<'s, T: Fixed> IntoView<'s, T> for T {
    #[inline]
    fn into_view(self) -> <T as Value>::View<'s> {
        self
    }

    fn encode_item(self, encoding: ItemEncoding<T>) -> Result<Vec<u8>, String> {
        encoding.encode_view(self.into_view())
    }
}

#[diagnostic::do_not_recommend]
impl<'s, T> IntoView<'s, T> for &'s T {
    #[inline]
    fn into_view(self) -> T::View<'s>
    where
        T: Value,
    {
        self.view()
    }

    fn encode_item(self, encoding: ItemEncoding<T>) -> Result<Vec<u8>, String> {
        match encoding {
            ItemEncoding::Value(write) => Ok(write(self)),
            ItemEncoding::Msgpack(pack) => pack(self),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<'s> IntoView<'s, String> for &'s str {
    #[inline]
    fn into_view(self) -> &'s str {
        self
    }

    fn encode_item(self, encoding: ItemEncoding<String>) -> Result<Vec<u8>, String> {
        encoding.encode_view(self.into_view())
    }
}

#[diagnostic::do_not_recommend]
impl<'s, T: Value> IntoView<'s, Vec<T>> for &'s [T] {
    #[inline]
    fn into_view(self) -> <Vec<T> as Value>::View<'s> {
        T::list(self)
    }

    fn encode_item(self, encoding: ItemEncoding<Vec<T>>) -> Result<Vec<u8>, String> {
        encoding.encode_view(self.into_view())
    }
}

#[diagnostic::do_not_recommend]
impl<'s, T: Value, const N: usize> IntoView<'s, Vec<T>> for &'s [T; N] {
    #[inline]
    fn into_view(self) -> <Vec<T> as Value>::View<'s> {
        T::list(self)
    }

    fn encode_item(self, encoding: ItemEncoding<Vec<T>>) -> Result<Vec<u8>, String> {
        encoding.encode_view(T::list(self))
    }
}

#[diagnostic::do_not_recommend]
impl<'s, T: Value<List<'s> = Self>> IntoView<'s, Vec<T>> for List<'s, T> {
    #[inline]
    fn into_view(self) -> <Vec<T> as Value>::View<'s> {
        self
    }

    fn encode_item(self, encoding: ItemEncoding<Vec<T>>) -> Result<Vec<u8>, String> {
        encoding.encode_view(self.into_view())
    }
}

#[diagnostic::do_not_recommend]
impl<'s> IntoView<'s, Vec<String>> for &'s [&'s str] {
    fn into_view(self) -> List<'s, String> {
        self.into()
    }

    fn encode_item(self, encoding: ItemEncoding<Vec<String>>) -> Result<Vec<u8>, String> {
        encoding.encode_view(self.into_view())
    }
}

#[diagnostic::do_not_recommend]
impl<'s, const N: usize> IntoView<'s, Vec<String>> for &'s [&'s str; N] {
    fn into_view(self) -> List<'s, String> {
        self.as_slice().into()
    }

    fn encode_item(self, encoding: ItemEncoding<Vec<String>>) -> Result<Vec<u8>, String> {
        encoding.encode_view(self.as_slice().into())
    }
}

#[diagnostic::do_not_recommend]
impl<'s, W: Value, P: IntoView<'s, W>> IntoView<'s, Option<W>> for Option<P> {
    #[inline]
    fn into_view(self) -> <Option<W> as Value>::View<'s> {
        self.map(P::into_view)
    }

    fn encode_item(self, encoding: ItemEncoding<Option<W>>) -> Result<Vec<u8>, String> {
        encoding.encode_view(self.into_view())
    }
}
