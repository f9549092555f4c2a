//! What travels to a method of a service and back.

use crate::describe::Signature;
use crate::payload::Wire;

/// The method at place `AT` of a service, by the types that travel.
pub trait Method<const AT: usize> {
    /// What it takes.
    type Request: Wire + ?Sized;
    /// What it gives.
    type Reply: Wire + ?Sized;
    /// All of it, as a constant.
    const SIGNATURE: &'static Signature;
}
