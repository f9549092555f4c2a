"""Endpoints in Rust, for `tachyon.RpcDispatcher.register`."""

from tachyon import RustEndpoint

keep: RustEndpoint
latest: RustEndpoint
mean: RustEndpoint
running_sum: RustEndpoint
whoami: RustEndpoint
