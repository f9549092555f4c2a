//! Values that travel, descriptions of endpoints, and code made of descriptions.

pub mod codegen;
pub mod describe;
pub mod payload;
