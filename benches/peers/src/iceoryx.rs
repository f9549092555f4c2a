//! iceoryx2's request-response between two processes, polled in a busy loop: its requests have no blocking wait.

use std::hint::spin_loop;
use std::path::Path;
use std::time::{Duration, Instant};

use iceoryx2::config::Config;
use iceoryx2::node::Node;
use iceoryx2::port::client::Client;
use iceoryx2::port::server::Server;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::PortFactory as _;
use iceoryx2::service::port_factory::request_response::PortFactory;
use tachyon_benches::{Answerer, Asker, Outcome, drive_answers, drive_asks};

type Requests = PortFactory<ipc::Service, [u8], (), [u8], ()>;

/// The service with the name of the path, and its files in the folder of the path, so that two runs never meet.
fn service(path: &Path) -> Outcome<(Node<ipc::Service>, Requests)> {
    set_log_level(LogLevel::Fatal);
    let name = path.file_stem().and_then(|name| name.to_str()).ok_or("a path without a name")?;
    let folder = path.parent().and_then(|folder| folder.to_str()).ok_or("a path without a folder")?;
    let mut config = Config::default();
    config.global.prefix =
        FileName::new(format!("{name}_{}_", std::env::var("TACHYON_BENCH").unwrap_or_default()).as_bytes())?;
    config.global.set_root_path(&iceoryx2::prelude::Path::new(folder.as_bytes())?);
    let node = NodeBuilder::new().config(&config).create::<ipc::Service>()?;
    let service = node.service_builder(&name.try_into()?).request_response::<[u8], [u8]>().open_or_create()?;
    Ok((node, service))
}

struct Asking {
    client: Client<ipc::Service, [u8], (), [u8], ()>,
    _node: Node<ipc::Service>,
}

impl Asker for Asking {
    #[inline]
    fn ask(&mut self, payload: &[u8]) -> Outcome<usize> {
        let request = self.client.loan_slice_uninit(payload.len())?;
        let pending = request.write_from_slice(payload).send()?;
        loop {
            if let Some(response) = pending.receive()? {
                return Ok(response.payload().len());
            }
            spin_loop();
        }
    }
}

struct Answering {
    server: Server<ipc::Service, [u8], (), [u8], ()>,
    _node: Node<ipc::Service>,
}

impl Answerer for Answering {
    #[inline]
    fn answer(&mut self) -> Outcome {
        loop {
            if let Some(request) = self.server.receive()? {
                let response = request.loan_slice_uninit(request.payload().len())?;
                response.write_from_slice(request.payload()).send()?;
                return Ok(());
            }
            spin_loop();
        }
    }
}

pub(crate) fn client(path: &Path, capacity: usize) -> Outcome {
    let (node, service) = service(path)?;
    let client = service.client_builder().initial_max_slice_len(capacity).create()?;
    let begin = Instant::now();
    while service.dynamic_config().number_of_servers() == 0 {
        if begin.elapsed() > Duration::from_secs(10) {
            return Err("the server did not appear in time".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    drive_asks(Asking { client, _node: node })
}

pub(crate) fn server(path: &Path, capacity: usize) -> Outcome {
    let (node, service) = service(path)?;
    let server = service.server_builder().initial_max_slice_len(capacity).create()?;
    drive_answers(Answering { server, _node: node })
}
