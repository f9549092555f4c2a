//! The path of the library in generated code. A crate may give `tachyon` another name in its `Cargo.toml`.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::Span;
use syn::{Ident, Path, parse_quote};

use crate::report::Report;

const PACKAGE: &str = "tachyon";

/// The name of the library in the `Cargo.toml` of the crate under compilation, if that renames it.
fn renamed() -> Option<String> {
    match crate_name(PACKAGE) {
        Ok(FoundCrate::Name(name)) if name != PACKAGE => Some(name),
        // The library itself, a dependency through another crate's re-export, or a build without cargo.
        _ => None,
    }
}

/// The path of the library for a macro call without `crate`. Reports a renamed library at `at`, and returns its
/// path, so that this is the only error.
pub(crate) fn declared_library(at: Span, report: &mut Report) -> Path {
    let name = renamed().and_then(|name| syn::parse_str::<Ident>(&name).ok());
    let Some(name) = name else { return default_library() };
    report.at_span(
        at,
        format!("the Cargo.toml of this crate renames `tachyon` to `{name}`: write `crate = {name}` here"),
    );
    parse_quote!(::#name)
}

/// The path of a library that is not renamed.
pub(crate) fn default_library() -> Path {
    parse_quote!(::tachyon)
}

/// The module with the names of generated code.
pub(crate) fn private(library: &Path) -> Path {
    parse_quote!(#library::__private)
}
