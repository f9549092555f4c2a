// Generated from a callee's description by `tachyon codegen rust`.

/// The payload `Odd-Name`.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(non_camel_case_types, reason = "the name is the callee's")]
#[allow(non_snake_case, reason = "the name is the callee's")]
pub struct Odd_Name {
    /// At offset 0.
    pub größe: u8,
    /// Padding.
    pub _pad: [u8; 7],
    /// At offset 8.
    pub crate_: f64,
    /// At offset 16.
    pub r#match: [u8; 3],
    /// Padding.
    pub _pad_: [u8; 5],
}

/// The payload `Result`.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
#[allow(non_camel_case_types, reason = "the name is the callee's")]
pub enum Result_ {
    /// Travels as -1.
    Self_ = -1,
    /// Travels as 1.
    fine = 1,
}

/// The payload `Odd-Name`.
///
/// Its layout cannot be written as a struct of Rust: these are its bytes.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(non_camel_case_types, reason = "the name is the callee's")]
pub struct Odd_Name_ {
    /// All of them.
    pub bytes: [u8; 5],
}

/// The endpoints of the callee.
#[tachyon::tachyon_rpc]
pub trait Endpoints {
    /// The endpoint `type`.
    #[rpc(msg_type = 1)]
    fn r#type(&self) -> Result<(), String>;

    ///  indented
    ///
    /// and   long
    #[rpc(msg_type = 2)]
    fn self_(&self, request: &[u8]) -> Result<Vec<u8>, String>;

    /// The endpoint `new`.
    #[rpc(msg_type = 3)]
    fn new_(&self, request: &[[u8; 3]]) -> Result<(), String>;

    /// The endpoint `twice`.
    #[rpc(msg_type = 4)]
    fn twice(&self, request: &Odd_Name) -> Result<Result_, String>;

    /// The endpoint `twice`.
    #[rpc(msg_type = 5)]
    fn twice_(&self, request: &Odd_Name_) -> Result<Vec<[[u16; 2]; 2]>, String>;

    /// The endpoint `a_name_that_is_so_long_that_no_formatter_would_leave_it_on_one_line_with_everything_else`.
    #[rpc(msg_type = 6)]
    fn a_name_that_is_so_long_that_no_formatter_would_leave_it_on_one_line_with_everything_else(
        &self,
        request: &[u8],
    ) -> Result<Vec<u8>, String>;
}
