//! A peer that a filter of system calls takes `membarrier` from: before it connects, or afterwards.
#![allow(unsafe_code, reason = "installs a filter of system calls")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tachyon::{Callee, Caller, Dispatcher, Options, PollingMode};

type Outcome = Result<(), Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_mins(1);

/// Calls made by a caller; enough for either side to park in the middle of the other's publishing now and then.
const CALLS: u32 = 300;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, path, when] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return Err("usage: sandboxed caller|callee PATH before|after".into());
    };
    let options = Options::new().timeout(PATIENCE).polling(PollingMode::Park);
    if when == "before" {
        forbid()?;
    }
    if role == "caller" {
        let mut caller = Caller::connect_with(Path::new(path), &options)?;
        if when == "after" {
            forbid()?;
        }
        for number in 0..CALLS {
            let reply = caller.request_timeout(1, &number.to_le_bytes(), PATIENCE)?;
            if *reply != number.to_le_bytes() {
                return Err(format!("reply {:?} to {number}", &*reply).into());
            }
            drop(reply);
            std::thread::sleep(Duration::from_micros(u64::from(number % 4) * 50));
        }
    } else {
        let mut callee = Callee::connect_with(Path::new(path), &options)?;
        if when == "after" {
            forbid()?;
        }
        let mut dispatcher = Dispatcher::default();
        dispatcher.register(1, "echo", <[u8]>::to_vec)?;
        dispatcher.serve_forever(&mut callee)?;
    }
    Ok(())
}

/// Has the kernel refuse `membarrier` from now on, as a sandbox does that does not know it.
fn forbid() -> Outcome {
    let statement =
        |code: u32, k: u32| Ok::<_, Box<dyn Error>>(libc::sock_filter { code: code.try_into()?, jt: 0, jf: 0, k });
    let number = u32::try_from(libc::SYS_membarrier)?;
    let mut program = [
        // The number of the system call is the first word of what a filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)?,
        libc::sock_filter { jf: 1, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number)? },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned())?,
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW)?,
    ];
    let filter = libc::sock_fprog { len: program.len().try_into()?, filter: program.as_mut_ptr() };
    // SAFETY: takes numbers alone.
    let bound = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the filter is a program of the length it says, and lives through the call, which copies it.
    let filtered = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if bound != 0 || filtered != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: takes numbers alone; command 0 asks what there is.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    if answer != -1 {
        return Err("the filter lets `membarrier` pass".into());
    }
    Ok(())
}
