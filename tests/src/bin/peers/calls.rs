//! A server for the tests of callers.
//!
//! `calls serve SOCKET LOG`: serves the table of `tachyon_tests::calls`, and logs to LOG. `calls tap SOCKET`: answers
//! each request with its type identifier, its bytes and its metadata, a request of 1 after 200 ms.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tachyon::{Callee, Dispatcher, RpcServer, ServeError};
use tachyon_tests::calls::{Log, table};
use tachyon_tests::process::arguments;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments();
    match &arguments[..] {
        ["serve", socket, log] => {
            let mut server = RpcServer::listen(Path::new(socket))?;
            let log = OpenOptions::new().create(true).append(true).open(log)?;
            Ok(Dispatcher::with_state(Log(log), table()).serve_workers(&mut server, 2)?)
        }
        ["tap", socket] => tap(Path::new(socket)),
        _ => Err(format!("no such role: {arguments:?}").into()),
    }
}

fn tap(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut callee = Callee::listen(path, 4096, 4096)?;
    loop {
        let request = match callee.serve() {
            Ok(request) => request,
            Err(ServeError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (call, msg_type) = (request.correlation_id(), request.msg_type());
        let mut seen = [&request.type_id().to_le_bytes(), &request[..]].concat();
        for (key, value) in request.metadata().iter() {
            write!(seen, "{key}={value};")?;
        }
        drop(request);
        if msg_type == 1 {
            std::thread::sleep(Duration::from_millis(200));
        }
        callee.reply(call, msg_type, &seen)?;
    }
}
