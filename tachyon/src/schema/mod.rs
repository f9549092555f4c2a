//! Codecs and contracts: how values travel, what a callee says about its endpoints, and code from that.

pub mod codegen;
pub mod describe;
pub mod payload;
