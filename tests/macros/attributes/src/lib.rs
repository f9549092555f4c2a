//! Attributes that change their item, for tests of payloads. Their output is safe code.

use proc_macro::TokenStream;

/// Replaces each `u64` by a reference.
#[proc_macro_attribute]
pub fn by_reference(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    replaced(&item, "u64", "&'static u64")
}

/// Removes `repr(C)`.
#[proc_macro_attribute]
pub fn without_repr(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    replaced(&item, "#[repr(C)]", "")
}

fn replaced(item: &TokenStream, from: &str, to: &str) -> TokenStream {
    let text = item.to_string();
    assert!(text.contains(from), "there is no {from} in {text}");
    text.replace(from, to).parse().expect("it is code as before")
}
