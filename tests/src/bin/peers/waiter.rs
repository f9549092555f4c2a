//! A callee that waits in the default mode: `waiter callee SOCKET`.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon::{Callee, Dispatcher};
use tachyon_tests::proc::membarrier_registrations;
use tachyon_tests::process::arguments;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments();
    let [role, path] = &arguments[..] else { return Err("usage: waiter callee SOCKET".into()) };
    if *role != "callee" {
        return Err("no such role".into());
    }
    let mut callee = Callee::listen(Path::new(path), 1 << 16, 1 << 16)?;
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec)?;
    dispatcher.register(6, "sleep", |request: &[u8]| {
        std::thread::sleep(Duration::from_millis(u64::from_le_bytes(request.try_into()?)));
        Ok::<_, std::array::TryFromSliceError>(())
    })?;
    dispatcher.register(7, "spin", |request: &[u8]| {
        let (began, time) = (Instant::now(), Duration::from_nanos(u64::from_le_bytes(request.try_into()?)));
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
        Ok::<_, std::array::TryFromSliceError>(())
    })?;
    dispatcher.register(8, "registrations", |_: &[u8]| format!("{:?}", membarrier_registrations()))?;
    Ok(dispatcher.serve_forever(&mut callee)?)
}
