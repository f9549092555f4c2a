//! Values that travel: in a head, as a part, in a list, and as a whole message.

use super::fixed::{self, Fixed, bytes_of};
use super::form::Form;
use super::head::{Head, PAIR, Writer, align8, offsets};
use super::layout::{HeadField, HeadLayout, Layout, Primitive, ValueType};
use super::list::{List, list_of_variable, own_list, read_list};
use super::malformed::{BoxedMalformed, Malformed};
use super::scratch::{Scratch, Words};

/// Deepest nesting of variable types.
pub(super) const MAX_DEPTH: usize = 16;

/// A type that travels: numbers, `bool`, arrays of fixed length, `String`, `Vec`, `Option`, [`Tensor`](super::Tensor),
/// and types marked with [`#[tachyon::payload]`](macro@crate::payload).
///
/// Only this crate and the macro implement the trait. A handler receives a value as its [`View`](Self::View), and a
/// caller can send any view without an owned value.
///
/// ```
/// use tachyon::payload::Value;
///
/// #[tachyon::payload]
/// #[derive(Debug, PartialEq)]
/// struct Scan { taken_at: u64, frame: String, points: Vec<[f32; 2]> }
///
/// let scan = Scan { taken_at: 7, frame: "base".into(), points: vec![[0.0, 1.0]] };
/// let view: ScanRef<'_> = scan.view();
/// assert_eq!((view.frame, view.points), ("base", &[[0.0, 1.0]][..]));
/// assert_eq!(Scan::own(view), scan);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel",
    label = "not a type that travels",
    note = "numbers, `bool`, `[T; N]`, `String`, `Vec<T>`, `Option<T>`, `Tensor<T, N>` and types marked with \
            `#[tachyon::payload]` travel"
)]
pub trait Value: Sized + 'static {
    /// The borrowed form: the value itself for a fixed payload, `&str`, `&[T]`, [`List`],
    /// [`TensorRef`](super::TensorRef), an `Option` of these, or the `Ref` type of a variable payload.
    type View<'a>: Copy;
    /// The borrowed form of several values: `&[T]` for fixed payloads, [`List`] for others.
    type List<'a>: Copy;
    /// The type as data.
    const TYPE: &'static ValueType;

    /// The form of a message that is one value.
    #[doc(hidden)]
    const FORM: Form = Form::Value(Self::TYPE);
    /// The form of a message that is several values.
    #[doc(hidden)]
    const LIST_FORM: Form;
    /// Whether reading one value copies a part.
    #[doc(hidden)]
    const COPIES: bool;
    /// Whether reading several values copies a part.
    #[doc(hidden)]
    const LIST_COPIES: bool;
    /// Whether lending one value by reference copies a part.
    #[doc(hidden)]
    const LEND_COPIES: bool = Self::COPIES;
    /// The depth to which variable types nest in this one, itself included.
    #[doc(hidden)]
    const DEPTH: usize;
    /// Size and alignment in a head, in bytes: of the value if it is fixed, of a pair otherwise.
    #[doc(hidden)]
    const HEAD: (usize, usize) = PAIR;

    /// Reads the field at `at`.
    #[doc(hidden)]
    #[inline]
    fn get<'a, B: AsRef<[u8]>>(
        head: &mut Head<'a, B>,
        at: usize,
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<Self::View<'a>, BoxedMalformed> {
        match head.part(at, place)? {
            Some(part) => Self::read(part, scratch, place),
            None => Err(Malformed::missing(place)),
        }
    }

    /// The end of the message if the part of `view` is added at `end`.
    #[doc(hidden)]
    #[inline]
    fn grow(end: usize, view: Self::View<'_>) -> usize {
        end + align8(Self::len(view))
    }

    /// Writes the field at `at`.
    #[doc(hidden)]
    #[inline]
    fn put(writer: &mut Writer<'_>, at: usize, view: Self::View<'_>) {
        writer.part(at, Self::len(view), |out| Self::write(view, out));
    }

    /// Reads the value of a part.
    #[doc(hidden)]
    fn read<'a>(
        part: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<Self::View<'a>, BoxedMalformed>;

    /// Length of the part in bytes.
    #[doc(hidden)]
    fn len(view: Self::View<'_>) -> usize;

    /// Writes the part to `out`, which has the length `len`.
    #[doc(hidden)]
    fn write(view: Self::View<'_>, out: &mut [u8]);

    /// Reads the value of a whole message.
    #[doc(hidden)]
    #[inline]
    fn read_message<'a>(
        message: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<Self::View<'a>, BoxedMalformed> {
        Self::read(message, scratch, place)
    }

    /// Length of the message in bytes.
    #[doc(hidden)]
    #[inline]
    fn message_len(view: Self::View<'_>) -> usize {
        Self::len(view)
    }

    /// Writes the message.
    #[doc(hidden)]
    #[inline]
    fn write_message(view: Self::View<'_>, out: &mut [u8]) {
        Self::write(view, out);
    }

    /// The bytes of the message, if they lie in memory as they travel.
    #[doc(hidden)]
    #[inline]
    fn message_bytes(_view: Self::View<'_>) -> Option<&[u8]> {
        None
    }

    /// Lends the value of a whole message by reference.
    #[doc(hidden)]
    #[inline]
    fn lend<'a, R>(
        message: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
        take: impl FnOnce(&Self) -> R,
    ) -> Result<R, BoxedMalformed> {
        Ok(take(&Self::own(Self::read_message(message, scratch, place)?)))
    }

    /// The same as [`message_bytes`](Self::message_bytes), without a copy of a fixed value.
    #[doc(hidden)]
    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        Self::message_bytes(self.view())
    }

    /// Reads the value of a whole message, such as a message of a [`Bus`](crate::Bus).
    ///
    /// ```
    /// use tachyon::payload::Value;
    ///
    /// #[tachyon::payload]
    /// #[derive(Debug, PartialEq)]
    /// struct Note { at: u64, text: String }
    ///
    /// let note = Note { at: 7, text: "ready".into() };
    /// assert_eq!(Note::from_bytes(&note.to_bytes()), Ok(note));
    /// ```
    ///
    /// # Errors
    /// [`Malformed`]: the bytes are no message of the type.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        Ok(Self::own(Self::read_message(bytes, &mut Words::default().room(bytes.len()), "the message")?))
    }

    /// Writes the value as a whole message.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; Self::message_len(self.view())];
        Self::write_message(self.view(), &mut bytes);
        bytes
    }

    /// Borrows the value as a view.
    fn view(&self) -> Self::View<'_>;

    /// Makes an owned value of a view.
    fn own(view: Self::View<'_>) -> Self;

    /// The same view for a shorter time.
    #[doc(hidden)]
    fn shrink<'s, 'l: 's>(view: Self::View<'l>) -> Self::View<'s>;

    #[doc(hidden)]
    fn read_list<'a>(
        part: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<Self::List<'a>, BoxedMalformed>;

    #[doc(hidden)]
    fn list_len(list: Self::List<'_>) -> usize;

    #[doc(hidden)]
    fn write_list(list: Self::List<'_>, out: &mut [u8]);

    #[doc(hidden)]
    #[inline]
    fn list_bytes(_list: Self::List<'_>) -> Option<&[u8]> {
        None
    }

    #[doc(hidden)]
    fn list(values: &[Self]) -> Self::List<'_>;

    #[doc(hidden)]
    fn own_list(list: Self::List<'_>) -> Vec<Self>;

    #[doc(hidden)]
    fn shrink_list<'s, 'l: 's>(list: Self::List<'l>) -> Self::List<'s>;

    /// A view of borrowed text; only `String` has one.
    #[doc(hidden)]
    fn of_text(_text: &str) -> Option<Self::View<'_>> {
        None
    }
}

/// The depth of a type that holds a type of depth `inner`.
///
/// # Panics
/// When the type is too deep. Constants call this function, so the panic is a compile error.
#[track_caller]
pub const fn outer_depth(inner: usize) -> usize {
    assert!(inner < MAX_DEPTH, "types nest at most 16 deep in one another");
    inner + 1
}

/// Largest value, in bytes, that is passed by value: it lies in several stack frames of the thread that serves.
pub(crate) const LONGEST_BY_VALUE: usize = 64 * 1024;

/// Refuses a type that is too large for a stack.
///
/// # Panics
/// When the type is larger than `LONGEST_BY_VALUE`. Constants call this function, so the panic is a compile error.
#[track_caller]
pub const fn assert_by_value<T>() {
    assert!(
        size_of::<T>() <= LONGEST_BY_VALUE,
        "more than 64 KiB by value may overflow the stack of a thread that serves: take `&T` as the only argument, \
         reply with a `Vec` or through a `ReplySlot<'_, [T]>`, and have a `Vec` for an `Option`"
    );
}

/// The maximum of `depths`.
pub const fn max_depth(depths: &[usize]) -> usize {
    let (mut most, mut at) = (0, 0);
    while at < depths.len() {
        if depths[at] > most {
            most = depths[at];
        }
        at += 1;
    }
    most
}

#[diagnostic::do_not_recommend]
impl<T: Fixed> Value for T {
    type View<'a> = T;
    type List<'a> = &'a [T];
    const TYPE: &'static ValueType = &ValueType::Fixed(T::LAYOUT);
    const LIST_FORM: Form = match T::LAYOUT {
        Layout::Primitive(Primitive::U8) => Form::Bytes,
        _ => Form::Value(&ValueType::List(&ValueType::Fixed(T::LAYOUT))),
    };
    const COPIES: bool = false;
    const LIST_COPIES: bool = !T::LAYOUT.accepts_any_bytes();
    const LEND_COPIES: bool = Self::LIST_COPIES;
    const DEPTH: usize = 1;
    const HEAD: (usize, usize) = (size_of::<T>(), align_of::<T>());

    #[inline]
    fn get<'a, B: AsRef<[u8]>>(
        head: &mut Head<'a, B>,
        at: usize,
        _scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<T, BoxedMalformed> {
        head.fixed(at, place)
    }

    #[inline]
    fn grow(end: usize, _view: T) -> usize {
        end
    }

    #[inline]
    fn put(writer: &mut Writer<'_>, at: usize, view: T) {
        writer.fixed(at, &view);
    }

    #[inline]
    fn read<'a>(part: &'a [u8], _scratch: &mut Scratch<'a>, place: &'static str) -> Result<T, BoxedMalformed> {
        fixed::read(part).map_err(|problem| problem.at(place))
    }

    #[inline]
    fn len(_view: T) -> usize {
        size_of::<T>()
    }

    #[inline]
    fn write(view: T, out: &mut [u8]) {
        out.copy_from_slice(bytes_of(&[view]));
    }

    #[inline]
    fn read_message<'a>(
        message: &'a [u8],
        _scratch: &mut Scratch<'a>,
        _place: &'static str,
    ) -> Result<T, BoxedMalformed> {
        fixed::read(message)
    }

    #[inline]
    fn lend<'a, R>(
        message: &'a [u8],
        scratch: &mut Scratch<'a>,
        _place: &'static str,
        take: impl FnOnce(&Self) -> R,
    ) -> Result<R, BoxedMalformed> {
        match fixed::cast_ref(message) {
            Some(value) => Ok(take(value)),
            None => copied_value(message, scratch).map(|value| take(&value)),
        }
    }

    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        Some(bytes_of(core::slice::from_ref(self)))
    }

    #[inline]
    fn view(&self) -> T {
        *self
    }

    #[inline]
    fn own(view: T) -> T {
        view
    }

    #[inline]
    fn shrink<'s, 'l: 's>(view: Self::View<'l>) -> Self::View<'s> {
        view
    }

    #[inline]
    fn read_list<'a>(
        part: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<&'a [T], BoxedMalformed> {
        match fixed::cast_slice(part) {
            Some(values) => Ok(values),
            None => copied_list(part, scratch, place),
        }
    }

    #[inline]
    fn list_len(list: &[T]) -> usize {
        size_of_val(list)
    }

    #[inline]
    fn write_list(list: &[T], out: &mut [u8]) {
        out.copy_from_slice(bytes_of(list));
    }

    #[inline]
    fn list_bytes(list: Self::List<'_>) -> Option<&[u8]> {
        Some(bytes_of(list))
    }

    #[inline]
    fn list(values: &[T]) -> &[T] {
        values
    }

    fn own_list(list: &[T]) -> Vec<T> {
        fixed::own_all(list)
    }

    #[inline]
    fn shrink_list<'s, 'l: 's>(list: &'l [T]) -> &'s [T] {
        list
    }
}

/// The value of a message that cannot be lent in place: in scratch, so that a large value is not on the stack.
#[inline(never)]
fn copied_value<'a, T: Fixed>(message: &'a [u8], scratch: &mut Scratch<'a>) -> Result<Copied<'a, T>, BoxedMalformed> {
    if message.len() == size_of::<T>()
        && let Some(held) = scratch.hold(message)
        && let [value] = fixed::check_slice(held)?
    {
        return Ok(Copied::Scratch(value));
    }
    fixed::read_to_heap(message).map(Copied::Own)
}

/// A value that was copied.
enum Copied<'a, T> {
    Scratch(&'a T),
    /// From a message at an address that is not aligned. Messages in a ring are aligned.
    Own(Vec<T>),
}

impl<T> core::ops::Deref for Copied<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Scratch(value) => value,
            Self::Own(value) => &value[0],
        }
    }
}

/// The values of a part that cannot be lent in place, copied to scratch.
fn copied_list<'a, T: Fixed>(
    part: &'a [u8],
    scratch: &mut Scratch<'a>,
    place: &'static str,
) -> Result<&'a [T], BoxedMalformed> {
    let each = size_of::<T>();
    if !part.len().is_multiple_of(each) {
        let problem = BoxedMalformed::from(Malformed::Remainder { name: T::LAYOUT.name(), each, found: part.len() });
        return Err(problem.at(place));
    }
    match scratch.hold(part) {
        Some(held) => fixed::check_slice(held).map_err(|problem| problem.at(place)),
        None => Err(BoxedMalformed::from(Malformed::Misaligned).at(place)),
    }
}

#[diagnostic::do_not_recommend]
impl Value for String {
    type View<'a> = &'a str;
    const TYPE: &'static ValueType = &ValueType::Text;
    const COPIES: bool = true;
    const DEPTH: usize = 1;

    #[inline]
    fn read<'a>(part: &'a [u8], scratch: &mut Scratch<'a>, place: &'static str) -> Result<&'a str, BoxedMalformed> {
        let Some(held) = scratch.hold(part) else { return Err(BoxedMalformed::from(Malformed::Misaligned).at(place)) };
        core::str::from_utf8(held).map_err(|error| Malformed::text(place, error.valid_up_to()))
    }

    #[inline]
    fn len(view: &str) -> usize {
        view.len()
    }

    #[inline]
    fn write(view: &str, out: &mut [u8]) {
        out.copy_from_slice(view.as_bytes());
    }

    #[inline]
    fn message_bytes(view: Self::View<'_>) -> Option<&[u8]> {
        Some(view.as_bytes())
    }

    #[inline]
    fn view(&self) -> &str {
        self
    }

    fn own(view: &str) -> Self {
        view.to_owned()
    }

    #[inline]
    fn shrink<'s, 'l: 's>(view: &'l str) -> &'s str {
        view
    }

    list_of_variable!();

    fn of_text(text: &str) -> Option<&str> {
        Some(text)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Value> Value for Vec<T> {
    type View<'a> = T::List<'a>;
    const TYPE: &'static ValueType = {
        let _ = Self::DEPTH;
        &ValueType::List(T::TYPE)
    };
    const FORM: Form = T::LIST_FORM;
    const COPIES: bool = T::LIST_COPIES;
    const DEPTH: usize = outer_depth(T::DEPTH);

    #[inline]
    fn read<'a>(part: &'a [u8], scratch: &mut Scratch<'a>, place: &'static str) -> Result<T::List<'a>, BoxedMalformed> {
        T::read_list(part, scratch, place)
    }

    #[inline]
    fn len(view: T::List<'_>) -> usize {
        T::list_len(view)
    }

    #[inline]
    fn write(view: T::List<'_>, out: &mut [u8]) {
        T::write_list(view, out);
    }

    #[inline]
    fn message_bytes(view: Self::View<'_>) -> Option<&[u8]> {
        T::list_bytes(view)
    }

    #[inline]
    fn view(&self) -> T::List<'_> {
        T::list(self)
    }

    fn own(view: T::List<'_>) -> Self {
        T::own_list(view)
    }

    #[inline]
    fn shrink<'s, 'l: 's>(view: T::List<'l>) -> T::List<'s> {
        T::shrink_list(view)
    }

    list_of_variable!();
}

/// Offset of the pair, and end, of the head around an `Option` that is a whole message.
const OPTION: [usize; 2] = offsets([PAIR]);

#[diagnostic::do_not_recommend]
impl<T: Value> Value for Option<T> {
    type View<'a> = Option<T::View<'a>>;
    const TYPE: &'static ValueType = {
        let _ = Self::DEPTH;
        assert_by_value::<Self::View<'static>>();
        &ValueType::Option(T::TYPE)
    };
    const FORM: Form = Form::Fields(&HeadLayout {
        name: "",
        doc: "",
        len: OPTION[1],
        fields: &[HeadField { name: "value", value_type: Self::TYPE, offset: OPTION[0] }],
    });
    const COPIES: bool = T::COPIES;
    const DEPTH: usize = outer_depth(T::DEPTH);

    #[inline]
    fn get<'a, B: AsRef<[u8]>>(
        head: &mut Head<'a, B>,
        at: usize,
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<Self::View<'a>, BoxedMalformed> {
        match head.part(at, place)? {
            Some(part) => T::read(part, scratch, place).map(Some),
            None => Ok(None),
        }
    }

    #[inline]
    fn grow(end: usize, view: Self::View<'_>) -> usize {
        view.map_or(end, |view| end + align8(T::len(view)))
    }

    #[inline]
    fn put(writer: &mut Writer<'_>, at: usize, view: Self::View<'_>) {
        if let Some(view) = view {
            writer.part(at, T::len(view), |out| T::write(view, out));
        }
    }

    fn read<'a>(
        part: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<Self::View<'a>, BoxedMalformed> {
        Self::read_message(part, scratch, place)
    }

    fn len(view: Self::View<'_>) -> usize {
        Self::grow(align8(OPTION[1]), view)
    }

    fn write(view: Self::View<'_>, out: &mut [u8]) {
        Self::put(&mut Writer::new(out, OPTION[1]), OPTION[0], view);
    }

    fn read_message<'a>(
        message: &'a [u8],
        scratch: &mut Scratch<'a>,
        place: &'static str,
    ) -> Result<Self::View<'a>, BoxedMalformed> {
        let mut head = Head::<[u8; OPTION[1]]>::open(message, place)?;
        Self::get(&mut head, OPTION[0], scratch, place)
    }

    #[inline]
    fn view(&self) -> Self::View<'_> {
        self.as_ref().map(T::view)
    }

    fn own(view: Self::View<'_>) -> Self {
        view.map(T::own)
    }

    #[inline]
    fn shrink<'s, 'l: 's>(view: Self::View<'l>) -> Self::View<'s> {
        view.map(T::shrink)
    }

    list_of_variable!();
}
