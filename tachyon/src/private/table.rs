//! Building blocks of `endpoints!`.

use std::marker::PhantomData;

use super::RESERVED;
use super::message::Message;
use crate::dispatch::{Endpoint, Entry, EntryIn, Join, Scope, Stateless};

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

/// A name in the list given to `endpoints!`.
pub struct Listed {
    ordinal: usize,
    name: &'static str,
    msg_type: Option<u16>,
}

impl Listed {
    /// The `ordinal`-th name of the list as the user wrote it.
    pub const fn new(ordinal: usize, name: &'static str, msg_type: Option<u16>) -> Self {
        Listed { ordinal, name, msg_type }
    }
}

/// Compares a name of the list with those before it.
///
/// # Panics
///
/// When an earlier endpoint has the same `msg_type`. The macro calls this in constants only, so the panic is a compile
/// error, and `#[track_caller]` puts it at the name.
#[track_caller]
pub const fn assert_own_msg_type(listed: &[Listed], ordinal: usize) {
    let mut at = 0;
    while listed[at].ordinal != ordinal {
        at += 1;
    }
    let own = &listed[at];
    // The stub of a function with a mistake has the reserved number.
    let Some(number) = own.msg_type else { return };
    if number == RESERVED {
        return;
    }
    let mut before = 0;
    while before < at {
        let other = &listed[before];
        if let Some(taken) = other.msg_type
            && taken == number
        {
            let mut message = Message::new();
            message.push("endpoints!: each endpoint of a table has its own msg_type, but `");
            message.push(own.name);
            message.push("` has that of `");
            message.push(other.name);
            message.push("`: ");
            message.push_number(number as usize);
            panic!("{}", message.text());
        }
        before += 1;
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
}
