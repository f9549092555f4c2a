//! Serves the endpoints of every kind, or calls them: `kinds ROLE SOCKET ...`.

use std::error::Error;
use std::path::Path;

use tachyon::{Callee, Caller, Dispatcher, ErrorKind, HandlerError, RpcServer, ServerOptions, endpoints};
use tachyon_tests::kinds::{Refuser, RefusesService, call_every_kind, find, refuse, refuse_in_slot, refuse_maybe};
use tachyon_tests::kinds::{refuse_raw, store};
use tachyon_tests::process::{arguments, report};

type Ended = Result<(), Box<dyn Error>>;

fn main() -> Ended {
    let arguments = arguments();
    let [role, path, rest @ ..] = &arguments[..] else { return Err("usage: kinds ROLE SOCKET ...".into()) };
    let path = Path::new(path);
    match (*role, rest) {
        ("callee", [hidden]) => {
            let mut callee = Callee::listen(path, 1 << 16, 1 << 16)?;
            Ok(dispatcher(hidden.parse()?).serve_forever(&mut callee)?)
        }
        ("server", [hidden]) => Ok(dispatcher(hidden.parse()?).serve_workers(&mut server(path)?, 1)?),
        ("service", []) => {
            let mut callee = Callee::listen(path, 1 << 16, 1 << 16)?;
            Ok(RefusesService::dispatcher(Refuser).serve_forever(&mut callee)?)
        }
        ("tokio", []) => {
            let mut dispatcher = dispatcher(false);
            dispatcher.register_async(8, "later", |request: Vec<u8>| async move {
                let kind = ErrorKind::all().nth(usize::from(request[0]));
                Err::<u32, _>(HandlerError::new(kind.unwrap_or(ErrorKind::Unspecified), "later"))
            })?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(dispatcher.serve_async(&mut server(path)?))?)
        }
        ("call", [hidden]) => {
            call_every_kind(&mut Caller::connect(path)?, hidden.parse()?);
            Ok(())
        }
        _ => Err(format!("no such role: {arguments:?}").into()),
    }
}

fn server(path: &Path) -> Result<RpcServer, Box<dyn Error>> {
    Ok(RpcServer::listen_with(path, ServerOptions::new().ring_sizes(1 << 16, 1 << 16).stats(false))?)
}

/// Prints each failure that is reported.
fn dispatcher(hidden: bool) -> Dispatcher {
    let mut dispatcher = Dispatcher::new(endpoints![refuse, refuse_maybe, refuse_in_slot, find, refuse_raw, store]);
    dispatcher.hide_error_text(hidden);
    dispatcher.on_failure(|error| report(&format!("failure: {error}")).expect("the test reads the output"));
    dispatcher
}
