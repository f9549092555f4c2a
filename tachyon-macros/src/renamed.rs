//! How a crate calls the library: generated code cannot ask, and `::tachyon` may have another name.

use proc_macro_crate::{FoundCrate, crate_name};

/// The package of the library.
const PACKAGE: &str = "tachyon";

/// The name that the crate under compilation gives the library in its `Cargo.toml`, if that is another one than its own.
pub(crate) fn library() -> Option<String> {
    match crate_name(PACKAGE) {
        Ok(FoundCrate::Name(name)) if name != PACKAGE => Some(name),
        // The library itself, a crate that depends on another crate's re-export, or a build without cargo.
        _ => None,
    }
}
