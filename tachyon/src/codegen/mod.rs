//! Source code from a callee's description: the other half of the contract, for whoever has only the callee.
//!
//! What comes out compiles, passes rustfmt unchanged, and agrees with the callee it came from. `tachyon codegen` is
//! this on the command line.

mod names;
mod rust;
mod types;

pub use rust::rust;
