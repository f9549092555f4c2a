//! Keeps uploaded files, and converts them while its caller watches. Its caller is `upload_caller.py`.
//!
//! ```text
//! cargo run --release --bin upload_service -- SOCKET FOLDER
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

mod signals;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;

use tachyon::{Dispatcher, ErrorKind, HandlerError, Items, RpcServer, endpoints, tachyon_rpc};
use tempfile::NamedTempFile;

/// Lines of one step of a conversion. A step keeps the serving thread, so it is short.
const LINES: usize = 100;

/// A file that was kept.
#[tachyon::payload]
pub struct Receipt {
    /// Its bytes.
    pub bytes: u64,
    /// Items of the upload.
    pub chunks: u32,
    /// The checksum of CRC-32.
    pub crc32: u32,
}

/// How far a conversion is.
#[tachyon::payload]
pub struct Progress {
    /// Bytes that were read.
    pub done: u64,
    /// Bytes of the file.
    pub total: u64,
}

/// The folder of all files.
struct Store(PathBuf);

impl Store {
    fn path(&self, name: &str) -> Result<PathBuf, HandlerError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(HandlerError::new(ErrorKind::InvalidArgument, format!("{name:?} is no name for a file")));
        }
        Ok(self.0.join(name))
    }

    /// A file that is removed again, unless it gets a name in the end.
    fn unnamed(&self) -> Result<NamedTempFile, HandlerError> {
        NamedTempFile::new_in(&self.0).map_err(failed)
    }
}

fn failed(error: impl Into<io::Error>) -> HandlerError {
    let error = error.into();
    let kind = if error.kind() == io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Unavailable };
    HandlerError::new(kind, error)
}

/// Keeps a file, and returns its checksum.
#[tachyon_rpc(msg_type = 1)]
fn upload(#[state] store: &Store, name: String, items: Items<Vec<u8>>) -> Result<Receipt, HandlerError> {
    let path = store.path(&name)?;
    let mut file = store.unnamed()?;
    let mut checksum = crc32fast::Hasher::new();
    let (mut bytes, mut chunks) = (0, 0);
    for chunk in items {
        // An upload that its caller gives up is an error here, and half a file is never kept.
        let chunk = chunk?;
        checksum.update(&chunk);
        file.write_all(&chunk).map_err(failed)?;
        bytes += chunk.len() as u64;
        chunks += 1;
    }
    file.persist(path).map_err(failed)?;
    Ok(Receipt { bytes, chunks, crc32: checksum.finalize() })
}

/// Converts a file with values between commas to one with tabs, and reports its progress.
#[tachyon_rpc(msg_type = 2)]
fn convert(
    #[state] store: &Store,
    name: &str,
) -> Result<impl Iterator<Item = Result<Progress, HandlerError>>, HandlerError> {
    let source = store.path(name)?;
    let file = File::open(&source).map_err(failed)?;
    let total = file.metadata().map_err(failed)?.len();
    let (mut lines, mut output) = (BufReader::new(file), Some(store.unnamed()?));
    let mut done = 0;
    // If the caller drops its stream, the closure is dropped, and the unfinished file with it.
    let mut step = move || -> io::Result<Option<Progress>> {
        let Some(mut converted) = output.take() else { return Ok(None) };
        let mut line = String::new();
        for _ in 0..LINES {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                converted.persist(source.with_extension("tsv"))?;
                return Ok(Some(Progress { done, total }));
            }
            done += line.len() as u64;
            converted.write_all(line.replace(',', "\t").as_bytes())?;
        }
        output = Some(converted);
        Ok(Some(Progress { done, total }))
    };
    Ok(std::iter::from_fn(move || step().map_err(failed).transpose()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let [socket, folder] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "usage: upload_service SOCKET FOLDER")?;
    let mut server = RpcServer::listen(&socket)?;
    signals::stop_on_signals(server.stopper())?;
    println!("serving at {socket}");
    let store = Store(folder.into());
    Dispatcher::with_state(store, endpoints![upload, convert]).serve_forever(&mut server)?;
    println!("stopped");
    Ok(())
}
