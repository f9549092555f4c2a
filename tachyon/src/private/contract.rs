//! What travels, as types: the one thing that generated clients and handlers are made over.
//!
//! They name a contract and never the types themselves, so that a type which can't travel is reported once, where the
//! contract names it.

use core::marker::PhantomData;
use core::time::Duration;

use crate::describe::Signature;
use crate::dispatch::{Endpoint, HandlerError, Replied, Reply, ReplySlot, Request, SlotResult, answer_in_slot};
use crate::error::CallError;
use crate::payload::Wire;
use crate::rpc::{Caller, ReplyGuard};

/// The types of a request and its reply.
pub trait Contract {
    /// What the callee takes.
    type Request: Wire + ?Sized;
    /// What it gives.
    type Reply: Wire + ?Sized;
    /// Both, described.
    const SIGNATURE: &'static Signature;
}

impl<E: Endpoint> Contract for E {
    type Request = E::Request;
    type Reply = E::Reply;
    const SIGNATURE: &'static Signature = E::SIGNATURE;
}

/// The method at place `AT` of a service, by the types that travel.
pub trait Method<const AT: usize> {
    /// What it takes.
    type Request: Wire + ?Sized;
    /// What it gives.
    type Reply: Wire + ?Sized;
    /// Both, described.
    const SIGNATURE: &'static Signature;
}

/// The contract of one method.
pub struct MethodOf<S, const AT: usize>(PhantomData<S>);

impl<S: Method<AT>, const AT: usize> Contract for MethodOf<S, AT> {
    type Request = S::Request;
    type Reply = S::Reply;
    const SIGNATURE: &'static Signature = S::SIGNATURE;
}

/// Calls the other side.
///
/// # Errors
///
/// As the generated function says.
#[inline]
pub fn call<'c, C: Contract>(
    caller: &'c mut Caller,
    request: &C::Request,
    timeout: Option<Duration>,
) -> Result<ReplyGuard<'c, C::Reply>, CallError> {
    caller.request_typed(C::SIGNATURE, request, timeout)
}

/// Hands a request to a handler as what the contract says.
///
/// # Errors
///
/// The request is nothing of the kind, or what the handler says.
#[inline]
pub fn handle<C: Contract>(
    request: Request<'_>,
    handler: impl FnOnce(&C::Request) -> Result<Replied, HandlerError>,
) -> Result<Replied, HandlerError> {
    request.read(handler)
}

/// Hands a handler its reply slot.
///
/// # Errors
///
/// The slot was not answered, or what the handler says.
#[inline]
pub fn answer<C: Contract, R: SlotResult>(
    reply: Reply<'_>,
    handler: impl FnOnce(ReplySlot<'_, C::Reply>) -> R,
) -> Result<Replied, HandlerError> {
    answer_in_slot(reply, handler)
}

/// Stands for the contract of a method with a mistake.
pub struct Stub;

impl Contract for Stub {
    type Request = ();
    type Reply = [u8];
    const SIGNATURE: &'static Signature = &Signature::new::<(), [u8]>(0, "", "");
}
