//! `tachyon._tachyon`: the Rust core as Python classes, without any logic of the protocol.
//!
//! - `bus`: the one-way bus, and the parts that both kinds of bus share: the ends of a ring, the lock of a direction.
//! - `rpc`: the RPC bus, endpoints, contracts and the pool.
//! - `serve`: the dispatcher, handlers and the server.
//! - `asyncio`: the steps that an event loop takes.
//! - `values`: conversions between Python values and messages.
//! - `memory`: buffers that Python passes in, and views of shared memory that Python gets.
//! - `runtime`: the GIL, signals, threads, logging and calls of Python code.

mod args;
mod asyncio;
mod bus;
mod errors;
mod memory;
mod rpc;
mod runtime;
mod serve;
mod values;

/// The native half of `tachyon`.
#[pyo3::pymodule]
mod _tachyon {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::runtime::main_interpreter::check(module.py())
    }

    #[pymodule_export]
    const MSG_TYPE_ERROR: u16 = tachyon::type_id::MSG_TYPE_ERROR;
    #[pymodule_export]
    const METADATA: u32 = tachyon::__binding::METADATA;
    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    use crate::args::checked_polling;
    #[pymodule_export]
    use crate::asyncio::loop_calls::Attempts;
    #[pymodule_export]
    use crate::asyncio::loop_calls::Comparison;
    #[pymodule_export]
    use crate::asyncio::loop_calls::{LoopCalls, LoopConnecting, LoopReconnecting};
    #[pymodule_export]
    use crate::asyncio::loop_serving::{LoopRequest, LoopServing};
    #[pymodule_export]
    use crate::asyncio::loop_streams::LoopStream;
    #[pymodule_export]
    use crate::bus::guards::RxGuard;
    #[pymodule_export]
    use crate::bus::guards::TxGuard;
    #[pymodule_export]
    use crate::bus::guards::{RxBatchGuard, RxMsgView};
    #[pymodule_export]
    use crate::bus::message::Message;
    #[pymodule_export]
    use crate::bus::message::{make_type_id, msg_type, route_id};
    #[pymodule_export]
    use crate::bus::one_way::Bus;
    #[pymodule_export]
    use crate::errors::{error_kinds, kind_of_grpc_code};
    #[pymodule_export]
    use crate::rpc::contract::Contract;
    #[pymodule_export]
    use crate::rpc::description::{codegen_rust, read_description};
    #[pymodule_export]
    use crate::rpc::endpoint::RpcEndpoint;
    #[pymodule_export]
    use crate::rpc::endpoint_call::AsyncRequest;
    #[pymodule_export]
    use crate::rpc::error_reply::{decode_error, read_error};
    #[pymodule_export]
    use crate::rpc::guards::RpcRxGuard;
    #[pymodule_export]
    use crate::rpc::guards::RpcTxGuard;
    #[pymodule_export]
    use crate::rpc::metadata::Metadata;
    #[pymodule_export]
    use crate::rpc::pair::rpc_pair;
    #[pymodule_export]
    use crate::rpc::pool::{PoolLease, PoolPlaces};
    #[pymodule_export]
    use crate::rpc::rpc_bus::{BusView, RpcBus};
    #[pymodule_export]
    use crate::rpc::stream::{Stream, item_bytes};
    #[pymodule_export]
    use crate::serve::current_call::{CurrentCall, current_call};
    #[pymodule_export]
    use crate::serve::decorator::tachyon_rpc;
    #[pymodule_export]
    use crate::serve::endpoint_table::RpcDispatcher;
    #[pymodule_export]
    use crate::serve::items::RequestItems;
    #[pymodule_export]
    use crate::serve::rpc_server::RpcServer;
    #[pymodule_export]
    use crate::serve::rust_endpoint::RustEndpoint;
    #[pymodule_export]
    use crate::serve::stats::{StatsCounts, StatsObserver, live_servers, ping};
    #[pymodule_export]
    use crate::values::access::FieldCore;
    #[pymodule_export]
    use crate::values::objects::Items;
    #[pymodule_export]
    use crate::values::objects::Memory;
    #[pymodule_export]
    use crate::values::objects::Values;
    #[pymodule_export]
    use crate::values::plan::Plan;
}
