//! Lists of values that have no fixed size.

use core::fmt;

use super::head::{Pair, align8, begin_list, cut, place};
use super::malformed::{BoxedMalformed, Malformed};
use super::scratch::Scratch;
use super::value::Value;

/// Several values without a fixed size, such as the texts of a `Vec<String>`: a handler receives them so, and a caller
/// sends them from a borrowed slice.
///
/// A `List` is `Copy`. Reading a value decodes it again, so keep the values that are needed often.
///
/// ```
/// use tachyon::{List, tachyon_rpc};
///
/// /// The longest of some names.
/// #[tachyon_rpc(msg_type = 1)]
/// fn longest(names: List<'_, String>) -> Option<String> {
///     names.iter().max_by_key(|name| name.len()).map(str::to_owned)
/// }
///
/// assert_eq!(longest(List::from(["a", "abc"].as_slice())), Some("abc".to_owned()));
/// ```
pub struct List<'a, T: Value>(Source<'a, T>);

/// The place of the values.
enum Source<'a, T> {
    /// A list's part that no peer can write to. Each value in it was read once already.
    Part(&'a [u8]),
    Values(&'a [T]),
    Texts(&'a [&'a str]),
}

impl<'a, T: Value> List<'a, T> {
    /// The number of values.
    pub fn len(self) -> usize {
        match self.0 {
            Source::Part(part) => count_of(part),
            Source::Values(values) => values.len(),
            Source::Texts(texts) => texts.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value at `index`; `None` behind the last one.
    ///
    /// # Panics
    /// Never: the reader of the list has checked each value.
    pub fn get(self, index: usize) -> Option<T::View<'a>> {
        match self.0 {
            Source::Part(part) => {
                if index >= count_of(part) {
                    return None;
                }
                let at = 8 + 8 * index;
                // The reader of the list has checked that the parts do not overlap.
                let found = cut(part, Pair::decode(&part[at..at + 8]), &mut 8, "");
                let value = found.ok()?.and_then(|part| T::read(part, &mut Scratch::private(), "").ok());
                Some(value.expect("each value was read before, in memory that no peer can write to"))
            }
            Source::Values(values) => values.get(index).map(T::view),
            Source::Texts(texts) => texts.get(index).and_then(|text| T::of_text(text)),
        }
    }

    /// The values in order.
    pub fn iter(self) -> ListIter<'a, T> {
        ListIter { list: self, next: 0, len: self.len() }
    }

    /// Owned values.
    pub fn to_vec(self) -> Vec<T> {
        own_list(self)
    }

    /// Length of the list's part.
    pub(crate) fn part_len(self) -> usize {
        match self.0 {
            Source::Part(part) => part.len(),
            _ => self.iter().fold(8 + 8 * self.len(), |end, value| end + align8(T::len(value))),
        }
    }

    /// Writes the list's part.
    pub(crate) fn write(self, out: &mut [u8]) {
        if let Source::Part(part) = self.0 {
            out.copy_from_slice(part);
            return;
        }
        let mut end = begin_list(out, self.len());
        for (at, value) in self.iter().enumerate() {
            place(out, 8 + 8 * at, &mut end, T::len(value), |out| T::write(value, out));
        }
    }
}

/// The count of a list; 0 when the part is too short for a count.
fn count_of(part: &[u8]) -> usize {
    part.first_chunk().map_or(0, |count| u32::from_le_bytes(*count) as usize)
}

/// Copies a list's part and reads each value once.
///
/// # Errors
/// [`Malformed`]: the part is no list of values of the type.
pub fn read_list<'a, T: Value>(
    part: &'a [u8],
    scratch: &mut Scratch<'a>,
    place: &'static str,
) -> Result<List<'a, T>, BoxedMalformed> {
    let Some(part) = scratch.hold(part) else { return Err(BoxedMalformed::from(Malformed::Misaligned).at(place)) };
    let end = check_list(part, place)?;
    let mut end_of_parts = end;
    for pair in part[8..end].chunks_exact(8) {
        match cut(part, Pair::decode(pair), &mut end_of_parts, place)? {
            Some(value) => drop(T::read(value, &mut Scratch::private(), place)?),
            None => return Err(Malformed::missing(place)),
        }
    }
    Ok(List(Source::Part(part)))
}

/// Length of a list's part.
pub fn list_len<T: Value>(list: List<'_, T>) -> usize {
    list.part_len()
}

/// Writes a list's part.
pub fn write_list<T: Value>(list: List<'_, T>, out: &mut [u8]) {
    list.write(out);
}

/// The end of a list's pairs.
///
/// # Errors
/// [`Malformed`]: the part is shorter.
pub(crate) fn check_list(part: &[u8], place: &str) -> Result<usize, BoxedMalformed> {
    let count = count_of(part);
    match count.checked_mul(8).and_then(|pairs| pairs.checked_add(8)) {
        Some(end) if end <= part.len() => Ok(end),
        _ => Err(Malformed::count(place, count, part.len())),
    }
}

/// Owned values of a list.
pub fn own_list<T: Value>(list: List<'_, T>) -> Vec<T> {
    /// Most bytes that are reserved before values are read: a value in memory may be larger than its bytes.
    const STEP: usize = 64 * 1024;
    let mut values = Vec::with_capacity(list.len().min(STEP / size_of::<T>().max(1)));
    values.extend(list.iter().map(T::own));
    values
}

/// The items of `impl Value` for several values of a type without a fixed size.
macro_rules! list_of_variable {
    () => {
        type List<'a> = List<'a, Self>;
        const LIST_FORM: Form = Form::Value(&ValueType::List(Self::TYPE));
        const LIST_COPIES: bool = true;

        fn read_list<'a>(
            part: &'a [u8],
            scratch: &mut Scratch<'a>,
            place: &'static str,
        ) -> Result<List<'a, Self>, BoxedMalformed> {
            read_list(part, scratch, place)
        }

        fn list_len(list: List<'_, Self>) -> usize {
            list.part_len()
        }

        fn write_list(list: List<'_, Self>, out: &mut [u8]) {
            list.write(out);
        }

        fn list(values: &[Self]) -> List<'_, Self> {
            List::from(values)
        }

        fn own_list(list: List<'_, Self>) -> Vec<Self> {
            own_list(list)
        }

        fn shrink_list<'s, 'l: 's>(list: List<'l, Self>) -> List<'s, Self> {
            list
        }
    };
}

pub(super) use list_of_variable;

impl<T: Value> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Value> Copy for List<'_, T> {}

impl<T> Clone for Source<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Source<'_, T> {}

impl<'a, T: Value> From<&'a [T]> for List<'a, T> {
    fn from(values: &'a [T]) -> Self {
        Self(Source::Values(values))
    }
}

impl<'a, T: Value> From<&'a Vec<T>> for List<'a, T> {
    fn from(values: &'a Vec<T>) -> Self {
        Self(Source::Values(values))
    }
}

impl<'a> From<&'a [&'a str]> for List<'a, String> {
    fn from(texts: &'a [&'a str]) -> Self {
        Self(Source::Texts(texts))
    }
}

impl<'a, T: Value> PartialEq for List<'a, T>
where
    T::View<'a>: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Value> fmt::Debug for List<'a, T>
where
    T::View<'a>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Value> IntoIterator for List<'a, T> {
    type Item = T::View<'a>;
    type IntoIter = ListIter<'a, T>;

    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

/// The values of a [`List`].
pub struct ListIter<'a, T: Value> {
    list: List<'a, T>,
    next: usize,
    len: usize,
}

impl<'a, T: Value> Iterator for ListIter<'a, T> {
    type Item = T::View<'a>;

    fn next(&mut self) -> Option<T::View<'a>> {
        let value = self.list.get(self.next)?;
        self.next += 1;
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.len - self.next;
        (left, Some(left))
    }
}

impl<T: Value> ExactSizeIterator for ListIter<'_, T> {}

impl<T: Value> fmt::Debug for ListIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListIter").field("next", &self.next).field("len", &self.len).finish()
    }
}
