//! A Unix stream socket without a library: blocking reads and writes.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon_benches::{Answerer, Asker, Outcome, Sink, Source, drive_answers, drive_asks, drive_sink, drive_source};

/// Messages with their length before them, since a stream has no boundaries. Length and message are written and read in
/// one system call if they fit.
struct Framed {
    stream: UnixStream,
    out: Vec<u8>,
    input: Vec<u8>,
    begin: usize,
    end: usize,
}

/// The size of the buffer of a read, in bytes.
const READ: usize = 1 << 16;
const HEADER: usize = 4;

impl Framed {
    fn new(stream: UnixStream) -> Self {
        Self { stream, out: Vec::new(), input: vec![0; READ], begin: 0, end: 0 }
    }

    fn connect(path: &Path) -> Outcome<Self> {
        let begin = Instant::now();
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => return Ok(Self::new(stream)),
                Err(error) if begin.elapsed() > Duration::from_secs(10) => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn accept(path: &Path) -> Outcome<Self> {
        Ok(Self::new(UnixListener::bind(path)?.accept()?.0))
    }

    fn write(&mut self, payload: &[u8]) -> Outcome {
        self.out.clear();
        self.out.extend(u32::try_from(payload.len())?.to_le_bytes());
        self.out.extend(payload);
        Ok(self.stream.write_all(&self.out)?)
    }

    /// Reads until the buffer has `len` bytes.
    fn fill(&mut self, len: usize) -> Outcome {
        if self.input.len() < self.begin + len {
            self.input.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            self.input.resize(self.input.len().max(len), 0);
        }
        while self.end - self.begin < len {
            let read = self.stream.read(&mut self.input[self.end..])?;
            if read == 0 {
                return Err("the other side has closed".into());
            }
            self.end += read;
        }
        Ok(())
    }

    fn read(&mut self) -> Outcome<&[u8]> {
        self.fill(HEADER)?;
        let (header, _) = self.input[self.begin..].split_first_chunk().ok_or("no header")?;
        let len = usize::try_from(u32::from_le_bytes(*header))?;
        self.fill(HEADER + len)?;
        let begin = self.begin + HEADER;
        self.begin = begin + len;
        Ok(&self.input[begin..begin + len])
    }
}

impl Asker for Framed {
    fn ask(&mut self, payload: &[u8]) -> Outcome<usize> {
        self.write(payload)?;
        Ok(self.read()?.len())
    }
}

impl Answerer for Framed {
    fn answer(&mut self) -> Outcome {
        let request = self.read()?.to_vec();
        self.write(&request)
    }
}

impl Source for Framed {
    fn send(&mut self, payload: &[u8]) -> Outcome {
        self.write(payload)
    }
}

impl Sink for Framed {
    fn take(&mut self, _most: u64) -> Outcome<u64> {
        let message = self.read()?;
        black_box((message.first(), message.last()));
        Ok(1)
    }
}

pub(crate) fn asker(path: &Path) -> Outcome {
    drive_asks(Framed::connect(path)?)
}

pub(crate) fn answerer(path: &Path) -> Outcome {
    drive_answers(Framed::accept(path)?)
}

pub(crate) fn source(path: &Path) -> Outcome {
    drive_source(Framed::connect(path)?)
}

pub(crate) fn sink(path: &Path) -> Outcome {
    drive_sink(Framed::accept(path)?)
}
