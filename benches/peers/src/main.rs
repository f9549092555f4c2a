//! One side of one peer of `make bench-peers`. The program is started and gets its rounds as `contender` does.

use std::path::Path;

use tachyon_benches::Outcome;

#[cfg(feature = "iceoryx2")]
mod iceoryx;
#[cfg(feature = "tachyon-ipc")]
mod tachyon_ipc;

const USAGE: &str = "usage: peer SIDE PATH CAPACITY HOW";

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [side, path, capacity, how] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return Err(USAGE.into());
    };
    let folder: &Path = path.as_ref();
    let capacity: usize = capacity.parse()?;
    match side {
        #[cfg(feature = "tachyon-ipc")]
        "tachyon-ipc-caller" => tachyon_ipc::caller(path, how),
        #[cfg(feature = "tachyon-ipc")]
        "tachyon-ipc-callee" => tachyon_ipc::callee(path, capacity, how),
        #[cfg(feature = "tachyon-ipc")]
        "tachyon-ipc-sender" => tachyon_ipc::sender(path, how),
        #[cfg(feature = "tachyon-ipc")]
        "tachyon-ipc-receiver" => tachyon_ipc::receiver(path, capacity, how),
        #[cfg(feature = "iceoryx2")]
        "iceoryx2-client" => iceoryx::client(folder, capacity),
        #[cfg(feature = "iceoryx2")]
        "iceoryx2-server" => iceoryx::server(folder, capacity),
        _ => Err(USAGE.into()),
    }
}
