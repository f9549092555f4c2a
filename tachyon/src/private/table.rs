//! Building blocks of `endpoints!`.

use std::marker::PhantomData;

use super::RESERVED;
use super::message::Message;
use crate::dispatch::{Endpoint, Entry, EntryIn, Join, Requires, Scope, Stateless};

/// A table under construction: the scope of its endpoints so far, as a type.
pub struct Table<C>(PhantomData<C>);

impl Table<Stateless> {
    /// A table without endpoints.
    #[expect(clippy::new_without_default, reason = "a `Default` could not run in a constant")]
    pub const fn new() -> Self {
        Table(PhantomData)
    }

    /// The finished table of an empty list: of any state.
    pub const fn empty<S: 'static + ?Sized>() -> &'static [Entry<S>] {
        &[]
    }
}

impl<C: Scope> Table<C> {
    /// The table with `E`. A different state is an error at the name of `E`.
    pub const fn with<E: Endpoint>(&self) -> &'static Table<<C as Join<E::Scope>>::Joined>
    where
        C: Join<E::Scope>,
    {
        &Table(PhantomData)
    }

    /// The table with the entries of another one, and these entries. A different state is an error at the other table.
    pub const fn with_all<S: ?Sized>(
        &self,
        entries: &'static [Entry<S>],
    ) -> (&'static Table<Requires<S>>, &'static [Entry<S>])
    where
        C: Join<Requires<S>, Joined = Requires<S>>,
    {
        (&Table(PhantomData), entries)
    }

    /// The entry of `E` for this table.
    pub const fn entry<E: Endpoint>(&self) -> Entry<C::State>
    where
        E::Scope: EntryIn<C::State, E>,
    {
        <E::Scope as EntryIn<C::State, E>>::ENTRY
    }

    /// The finished table.
    pub const fn finish<const N: usize>(&self, entries: [Entry<C::State>; N]) -> [Entry<C::State>; N] {
        entries
    }

    /// The finished table of the entries of all parts, which are `N` together.
    ///
    /// # Panics
    /// When there are fewer or more. The macro counts them.
    pub const fn concat<const N: usize>(&self, parts: &[&[Entry<C::State>]]) -> [Entry<C::State>; N] {
        let mut all = [Entry::VACANT; N];
        let (mut part, mut at) = (0, 0);
        while part < parts.len() {
            let mut of_part = 0;
            while of_part < parts[part].len() {
                all[at] = parts[part][of_part];
                (at, of_part) = (at + 1, of_part + 1);
            }
            part += 1;
        }
        assert!(at == N, "the macro counts the entries");
        all
    }
}

/// Reads the `msg_type` of a type, which may not be an endpoint.
pub struct Probe<E>(PhantomData<E>);

impl<E: Endpoint> Probe<E> {
    /// The `msg_type` of an endpoint. An inherent constant takes precedence over that of [`NotAnEndpoint`].
    pub const MSG_TYPE: Option<u16> = Some(E::MSG_TYPE);
}

/// The answer for types that are no endpoints: their mistake is reported elsewhere.
pub trait NotAnEndpoint {
    /// No `msg_type`.
    const MSG_TYPE: Option<u16> = None;
}

impl<E> NotAnEndpoint for Probe<E> {}

/// The entries of another table. Generated code names another table in this call only, so that rustc reports what is
/// no table once.
pub const fn entries<S: ?Sized>(entries: &'static [Entry<S>]) -> &'static [Entry<S>] {
    entries
}

/// The sum of the lengths of a table's parts.
pub const fn total(lengths: &[usize]) -> usize {
    let (mut sum, mut at) = (0, 0);
    while at < lengths.len() {
        sum += lengths[at];
        at += 1;
    }
    sum
}

/// The names and numbers of a table, which has `N` entries.
pub const fn numbers<S: ?Sized, const N: usize>(entries: &[Entry<S>]) -> [(&'static str, Option<u16>); N] {
    let mut numbers = [("", None); N];
    let mut at = 0;
    while at < N {
        numbers[at] = (entries[at].name(), Some(entries[at].msg_type()));
        at += 1;
    }
    numbers
}

/// An item of the list given to `endpoints!`: an endpoint, or another table.
pub struct Listed {
    ordinal: usize,
    endpoints: Endpoints,
}

enum Endpoints {
    One((&'static str, Option<u16>)),
    Table(&'static str, &'static [(&'static str, Option<u16>)]),
}

impl Listed {
    /// The `ordinal`-th item of the list as the user wrote it: an endpoint.
    pub const fn new(ordinal: usize, name: &'static str, msg_type: Option<u16>) -> Self {
        Listed { ordinal, endpoints: Endpoints::One((name, msg_type)) }
    }

    /// The `ordinal`-th item of the list: a table, with its names and numbers.
    pub const fn table(ordinal: usize, text: &'static str, numbers: &'static [(&'static str, Option<u16>)]) -> Self {
        Listed { ordinal, endpoints: Endpoints::Table(text, numbers) }
    }

    const fn len(&self) -> usize {
        match self.endpoints {
            Endpoints::One(_) => 1,
            Endpoints::Table(_, numbers) => numbers.len(),
        }
    }

    const fn get(&self, at: usize) -> (&'static str, Option<u16>) {
        match self.endpoints {
            Endpoints::One(one) => one,
            Endpoints::Table(_, numbers) => numbers[at],
        }
    }

    /// Writes the name of an endpoint, and of its table.
    const fn write(&self, at: usize, message: &mut Message) {
        message.push("`");
        message.push(self.get(at).0);
        message.push("`");
        if let Endpoints::Table(text, _) = self.endpoints {
            message.push(" of `");
            message.push(text);
            message.push("`");
        }
    }
}

/// Compares an item of the list with those before it.
///
/// # Panics
///
/// When an earlier endpoint has the same `msg_type`. The macro calls this in constants only, so the panic is a compile
/// error, and `#[track_caller]` puts it at the item.
#[track_caller]
pub const fn assert_own_msg_type(listed: &[Listed], ordinal: usize) {
    let mut at = 0;
    while listed[at].ordinal != ordinal {
        at += 1;
    }
    let own = &listed[at];
    let mut of_own = 0;
    while of_own < own.len() {
        let mut before = 0;
        while before < at {
            assert_distinct(own, of_own, &listed[before]);
            before += 1;
        }
        of_own += 1;
    }
}

#[track_caller]
const fn assert_distinct(own: &Listed, of_own: usize, other: &Listed) {
    // The stub of a function with a mistake has the reserved number.
    let Some(number) = own.get(of_own).1 else { return };
    if number == RESERVED {
        return;
    }
    let mut of_other = 0;
    while of_other < other.len() {
        if let Some(taken) = other.get(of_other).1
            && taken == number
        {
            let mut message = Message::new();
            message.push("endpoints!: each endpoint of a table has its own msg_type, but ");
            own.write(of_own, &mut message);
            message.push(" has that of ");
            other.write(of_other, &mut message);
            message.push(": ");
            message.push_number(number as usize);
            panic!("{}", message.text());
        }
        of_other += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Listed, assert_own_msg_type};

    #[test]
    fn distinct_numbers_pass() {
        let listed = [Listed::new(0, "a", Some(1)), Listed::new(2, "b", Some(2)), Listed::new(3, "c", None)];
        assert_own_msg_type(&listed, 0);
        assert_own_msg_type(&listed, 2);
        assert_own_msg_type(&listed, 3);
    }

    #[test]
    fn the_reserved_number_of_a_stub_is_no_duplicate() {
        assert_own_msg_type(&[Listed::new(0, "a", Some(u16::MAX)), Listed::new(1, "b", Some(u16::MAX))], 1);
    }

    #[test]
    #[should_panic(expected = "but `m::b` has that of `a`: 65534")]
    fn a_taken_number_names_both() {
        assert_own_msg_type(&[Listed::new(0, "a", Some(65_534)), Listed::new(4, "m::b", Some(65_534))], 4);
    }

    #[test]
    #[should_panic(expected = "but `c` of `..T` has that of `d` of `..U`: 3")]
    fn a_taken_number_of_a_table_names_the_tables() {
        let (of_u, of_t) = ([("e", Some(1)), ("d", Some(3))], [("b", Some(2)), ("c", Some(3))]);
        let of_u: &'static [_] = Box::leak(Box::new(of_u));
        let of_t: &'static [_] = Box::leak(Box::new(of_t));
        let listed = [Listed::table(0, "..U", of_u), Listed::new(1, "a", Some(7)), Listed::table(2, "..T", of_t)];
        assert_own_msg_type(&listed, 1);
        assert_own_msg_type(&listed, 2);
    }
}
