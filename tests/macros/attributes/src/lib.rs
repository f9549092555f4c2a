//! Attributes that change what they are given, for tests of payloads: each gives safe code only.

use proc_macro::TokenStream;

/// Makes references of all `u64`.
#[proc_macro_attribute]
pub fn by_reference(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    replaced(&item, "u64", "&'static u64")
}

/// Takes `repr(C)` away.
#[proc_macro_attribute]
pub fn without_repr(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    replaced(&item, "#[repr(C)]", "")
}

fn replaced(item: &TokenStream, from: &str, to: &str) -> TokenStream {
    let text = item.to_string();
    assert!(text.contains(from), "there is no {from} in {text}");
    text.replace(from, to).parse().expect("it is code as before")
}
