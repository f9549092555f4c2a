//! `tachyon._tachyon`: the Rust core as Python classes.
//!
//! Nothing of the protocol lives here. The rooms: [`turn`] decides which thread may use a direction, [`ends`] and
//! [`calling`] are a direction with its one guard, [`lent`] counts the views into slots, [`payload`] reads what Python
//! sends, [`errors`] and [`interrupt`] translate the ends of an operation; the rest are the classes.

mod args;
mod arrays;
mod aside;
mod attached;
mod attempts;
mod batch;
mod bus;
mod calling;
mod codegen;
mod comparison;
mod contract;
mod control;
mod convert;
mod current;
mod dispatcher;
mod dlpack;
mod endpoint;
mod ends;
mod errors;
mod handler;
mod interrupt;
mod invoke;
mod items;
mod lent;
mod lifetime;
mod loan;
mod loop_calls;
mod loop_serving;
mod main_interpreter;
mod memory;
mod message;
mod package;
mod payload;
mod plan;
mod pool;
mod read;
mod remote;
mod report;
mod rpc_bus;
mod rpc_lines;
mod rpc_rx_guard;
mod rpc_server;
mod rpc_tx_guard;
mod rust_endpoint;
mod rx_guard;
mod sight;
mod timed_bus;
mod turn;
mod tx_guard;
mod type_id;
mod values;
mod worker_thread;

/// The native half of `tachyon`.
#[pyo3::pymodule]
mod _tachyon {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::main_interpreter::check(module.py())
    }

    #[pymodule_export]
    const MSG_TYPE_ERROR: u16 = tachyon::type_id::MSG_TYPE_ERROR;
    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    use crate::attempts::Attempts;
    #[pymodule_export]
    use crate::batch::{RxBatchGuard, RxMsgView};
    #[pymodule_export]
    use crate::bus::Bus;
    #[pymodule_export]
    use crate::codegen::{codegen_rust, read_description};
    #[pymodule_export]
    use crate::comparison::Comparison;
    #[pymodule_export]
    use crate::contract::Contract;
    #[pymodule_export]
    use crate::current::{CurrentCall, current_call};
    #[pymodule_export]
    use crate::dispatcher::RpcDispatcher;
    #[pymodule_export]
    use crate::endpoint::{RpcEndpoint, tachyon_rpc};
    #[pymodule_export]
    use crate::items::Items;
    #[pymodule_export]
    use crate::loop_calls::{LoopCalls, LoopConnecting, LoopReconnecting};
    #[pymodule_export]
    use crate::loop_serving::{LoopRequest, LoopServing};
    #[pymodule_export]
    use crate::memory::Memory;
    #[pymodule_export]
    use crate::message::Message;
    #[pymodule_export]
    use crate::plan::Plan;
    #[pymodule_export]
    use crate::pool::{PoolLease, PoolPlaces};
    #[pymodule_export]
    use crate::remote::{decode_error, read_error};
    #[pymodule_export]
    use crate::rpc_bus::RpcBus;
    #[pymodule_export]
    use crate::rpc_rx_guard::RpcRxGuard;
    #[pymodule_export]
    use crate::rpc_server::RpcServer;
    #[pymodule_export]
    use crate::rpc_tx_guard::RpcTxGuard;
    #[pymodule_export]
    use crate::rust_endpoint::RustEndpoint;
    #[pymodule_export]
    use crate::rx_guard::RxGuard;
    #[pymodule_export]
    use crate::sight::{Sight, live_servers, ping};
    #[pymodule_export]
    use crate::timed_bus::TimedBus;
    #[pymodule_export]
    use crate::tx_guard::TxGuard;
    #[pymodule_export]
    use crate::type_id::{make_type_id, msg_type, route_id};
    #[pymodule_export]
    use crate::values::{FieldCore, Values};
}
