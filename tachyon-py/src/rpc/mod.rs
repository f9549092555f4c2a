//! The RPC bus, its endpoints and their contracts.

pub(crate) mod caller_end;
pub(crate) mod contract;
pub(crate) mod description;
pub(crate) mod directions;
pub(crate) mod endpoint;
pub(crate) mod endpoint_call;
pub(crate) mod error_reply;
pub(crate) mod guards;
pub(crate) mod layers;
pub(crate) mod metadata;
pub(crate) mod pair;
pub(crate) mod pool;
pub(crate) mod rpc_bus;
pub(crate) mod stream;
