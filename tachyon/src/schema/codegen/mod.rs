//! Source code from a callee's description, for a caller without the callee's source.
//!
//! [`rust()`] writes the payload types and a service trait. The output compiles, passes rustfmt unchanged, and agrees
//! with the callee of the description. `tachyon codegen rust` does the same on the command line.

mod names;
mod rust;
mod types;

pub use rust::rust;
