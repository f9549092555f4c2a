//! Source code from a callee's description: the other half of the contract, for a program that has the callee alone.
//!
//! The output compiles, passes rustfmt unchanged, and agrees with the callee it came from. `tachyon codegen` is
//! this on the command line.

mod names;
mod rust;
mod types;

pub use rust::rust;
