//! Endpoints in modules, in functions, imported, conditional, deprecated, and with unusual names.
#![deny(warnings, missing_docs, unsafe_code, unreachable_pub, clippy::all, clippy::pedantic)]

use tachyon::dispatch::Entry;
use tachyon::{Endpoint, endpoints, tachyon_rpc};

mod market {
    use tachyon::tachyon_rpc;

    /// Sends the request back.
    ///
    ///   With an indented line.
    #[tachyon_rpc(msg_type = 1)]
    pub(crate) fn echo(payload: &[u8]) -> &[u8] {
        payload
    }

    mod orders {
        use tachyon::tachyon_rpc;

        /// Visible in the parent module.
        #[tachyon_rpc(msg_type = 2)]
        pub(super) fn cancel(_payload: &[u8]) {}

        /// Visible in one module.
        #[tachyon_rpc(msg_type = 3)]
        pub(in crate::market) fn place(_payload: &[u8]) {}
    }

    pub(crate) fn table() -> &'static [tachyon::dispatch::Entry<()>] {
        tachyon::endpoints![echo, orders::cancel, orders::place]
    }
}

mod importing {
    // One `use` imports the function and the endpoint.
    use super::market::echo;

    pub(crate) fn check() {
        assert_eq!(echo(b"x"), b"x");
        assert_eq!(echo::MSG_TYPE, 1);
        let _ = |caller: &mut tachyon::Caller| echo::call(caller, b"x");
        let _ = |caller: &mut tachyon::Caller| echo::call_in_place(caller, b"x").map(drop);
    }
}

/// Has a keyword as its name.
#[tachyon_rpc(msg_type = 4)]
fn r#match(payload: &[u8]) -> &[u8] {
    payload
}

/// Has a name that generated code uses.
#[tachyon_rpc(msg_type = 5)]
fn request(payload: &[u8]) -> &[u8] {
    payload
}

/// Has another name that generated code uses.
#[tachyon_rpc(msg_type = 6)]
fn reply(payload: &[u8]) -> &[u8] {
    payload
}

/// Has another name that generated code uses.
#[tachyon_rpc(msg_type = 7)]
fn table(payload: &[u8]) -> &[u8] {
    payload
}

#[doc = "Documented by a macro: "]
#[doc = concat!("text", " and text")]
#[tachyon_rpc(msg_type = 8)]
fn included(_payload: &[u8]) {}

/// Excluded on this platform, so its number is free.
#[cfg(windows)]
#[tachyon_rpc(msg_type = 9)]
fn before_the_attribute(_payload: &[u8]) {}

/// Excluded on this platform, so its number is free.
#[tachyon_rpc(msg_type = 9)]
#[cfg(windows)]
fn after_the_attribute(_payload: &[u8]) {}

/// Excluded on this platform, so its number is free.
#[tachyon_rpc(msg_type = 9)]
#[cfg_attr(unix, inline, cfg(windows))]
fn nested(_payload: &[u8]) {}

/// Included on this platform.
#[tachyon_rpc(msg_type = 9)]
#[cfg(unix)]
fn here(_payload: &[u8]) {}

/// Warns at its uses, and not at its definition.
#[deprecated = "use `here`"]
#[tachyon_rpc(msg_type = 10)]
fn old(_payload: &[u8]) {}

/// Called by clients only.
#[tachyon_rpc(msg_type = 11)]
fn only_called(_payload: &[u8]) {}

macro_rules! generated {
    ($name:ident, $number:literal, $payload:ty, $reply:ty) => {
        /// Written by a macro.
        #[tachyon_rpc(msg_type = $number)]
        fn $name(payload: $payload) -> $reply {
            payload.to_vec()
        }
    };
}
generated!(by_a_macro, 12, &[u8], Vec<u8>);

macro_rules! numbered {
    ($number:expr) => {
        /// Written by a macro.
        #[tachyon_rpc(msg_type = $number)]
        fn by_another_macro(_payload: &[u8]) {}
    };
}
numbered!(13);

fn run(entry: &Entry<()>) -> u16 {
    entry.msg_type()
}

fn main() {
    /// Lives in a function.
    #[tachyon_rpc(msg_type = 20)]
    fn local(payload: &[u8]) -> &[u8] {
        payload
    }

    importing::check();
    assert_eq!(market::table().iter().map(run).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(<market::echo as Endpoint>::DOC, "Sends the request back.\n\n  With an indented line.");

    let table: &'static [Entry<()>] = endpoints![
        local,
        r#match,
        request,
        reply,
        table,
        included,
        #[cfg(windows)]
        before_the_attribute,
        #[cfg(windows)]
        after_the_attribute,
        #[cfg(windows)]
        nested,
        #[cfg(unix)]
        here,
        by_a_macro,
        by_another_macro,
    ];
    assert_eq!(table.iter().map(run).collect::<Vec<_>>(), [20, 4, 5, 6, 7, 8, 9, 12, 13]);
    assert_eq!(table.iter().map(Entry::name).nth(1), Some("match"));
    assert_eq!(<included as Endpoint>::DOC, "Documented by a macro: text and text");

    #[expect(deprecated, reason = "to see that it is")]
    let _ = endpoints![old];

    let _ = |caller: &mut tachyon::Caller| only_called::call(caller, &[]);

    let empty: &'static [Entry<String>] = endpoints![];
    assert!(empty.is_empty());
}
