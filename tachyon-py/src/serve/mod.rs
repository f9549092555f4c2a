//! The dispatcher, the server and everything around a handler.

pub(crate) mod current_call;
pub(crate) mod decorator;
pub(crate) mod dispatcher;
pub(crate) mod endpoint_table;
pub(crate) mod handler;
pub(crate) mod items;
mod layer;
pub(crate) mod rpc_server;
pub(crate) mod rust_endpoint;
pub(crate) mod stats;
pub(crate) mod stream;
