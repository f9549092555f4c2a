//! One side of one peer. The peers of `make bench-peers` are started and get their rounds as `contender` does; tonic is
//! measured by `cargo bench -p tachyon-link`.

use tachyon_benches::Outcome;

#[cfg(feature = "iceoryx2")]
mod iceoryx;
#[cfg(feature = "tachyon-ipc")]
mod tachyon_ipc;
#[cfg(feature = "tonic")]
mod tonic;

const USAGE: &str = "usage: peer SIDE PATH CAPACITY HOW, or peer tonic-client|tonic-server ADDRESS CERTIFICATES";

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        #[cfg(feature = "tachyon-ipc")]
        ["tachyon-ipc-caller", path, _, how] => tachyon_ipc::caller(path, how),
        #[cfg(feature = "tachyon-ipc")]
        ["tachyon-ipc-callee", path, capacity, how] => tachyon_ipc::callee(path, capacity.parse()?, how),
        #[cfg(feature = "tachyon-ipc")]
        ["tachyon-ipc-sender", path, _, how] => tachyon_ipc::sender(path, how),
        #[cfg(feature = "tachyon-ipc")]
        ["tachyon-ipc-receiver", path, capacity, how] => tachyon_ipc::receiver(path, capacity.parse()?, how),
        #[cfg(feature = "iceoryx2")]
        ["iceoryx2-client", path, capacity, _] => iceoryx::client(path.as_ref(), capacity.parse()?),
        #[cfg(feature = "iceoryx2")]
        ["iceoryx2-server", path, capacity, _] => iceoryx::server(path.as_ref(), capacity.parse()?),
        #[cfg(feature = "tonic")]
        ["tonic-client", address, certificates] => tonic::client(address, certificates.as_ref()),
        #[cfg(feature = "tonic")]
        ["tonic-server", address, certificates] => tonic::server(address.parse()?, certificates.as_ref()),
        _ => Err(USAGE.into()),
    }
}
