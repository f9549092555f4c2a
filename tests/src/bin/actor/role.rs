//! Common to every role: the options of the connection, the streams, the progress, and the pauses.

use std::path::PathBuf;
use std::time::Duration;

use tachyon::{CallError, ConnectError, ListenError, Options, PollingMode, RecvError, SendError, ServeError};
use tachyon_tests::chaos::now;
use tachyon_tests::chaos::order::Order;
use tachyon_tests::chaos::progress::Progress;
use tachyon_tests::chaos::progress_file::Field;
use tachyon_tests::chaos::stream::Stream;

use super::Outcome;

/// How long an actor listens: long enough for a peer to start its interpreter.
const LISTEN: Duration = Duration::from_secs(30);

/// A role with its order.
pub(crate) struct Role {
    pub(crate) path: PathBuf,
    pub(crate) listens: bool,
    pub(crate) capacities: (usize, usize),
    pub(crate) options: Options,
    pub(crate) stream: Stream,
    pub(crate) replies: Stream,
    pub(crate) count: u64,
    pub(crate) form: String,
    pub(crate) progress: Progress,
    pub(crate) chance: fastrand::Rng,
    pause: u64,
    forks: bool,
    asked: u64,
    pub(crate) bytes: u64,
}

impl Role {
    pub(crate) fn new(order: &Order) -> std::io::Result<Self> {
        let polling = match order.text("mode") {
            "park" => PollingMode::Park,
            "spin" => PollingMode::Spin,
            "spins" => PollingMode::SpinTimes(200),
            _ => PollingMode::Adaptive,
        };
        let listens = order.text("side") == "listen";
        let limit = order.get("timeout").map_or(LISTEN, Duration::from_millis);
        let (forward, reverse) = (order.get_or("forward", 1 << 12), order.get_or("reverse", 1 << 12));
        let options = Options::new().polling(polling).timeout(limit).reconnect(order.get_or("reconnect", 0) == 1);
        let seed = order.get_or("seed", 1);
        let (least, most) = (order.get_or("least", 0), order.get_or("most", forward));
        let stream = Stream { seed, least, most };
        Ok(Self {
            path: order.text("path").into(),
            listens,
            capacities: (forward, reverse),
            options,
            stream,
            replies: stream.replies(order.get_or("most_reply", reverse)),
            count: order.get_or("count", u64::MAX),
            form: order.text("form").to_owned(),
            progress: Progress::new(order)?,
            chance: fastrand::Rng::with_seed(seed.into()),
            pause: order.get_or("pause", 0),
            forks: order.get_or("fork", 0) == 1,
            asked: 0,
            bytes: 0,
        })
    }

    /// Notes that the connection is established.
    pub(crate) fn begin(&self) -> std::io::Result<()> {
        if self.forks {
            self.progress.leave_child()?;
        }
        self.progress.note(Field::Ready, 1);
        Ok(())
    }

    /// Sleeps for up to `pause` microseconds, one time in four, if the order has pauses.
    pub(crate) fn maybe_pause(&mut self) {
        if self.pause > 0 && self.chance.u8(..4) == 0 {
            std::thread::sleep(Duration::from_micros(self.chance.u64(..self.pause)));
        }
    }

    /// Notes the time of an operation that may find the peer gone.
    pub(crate) fn mark_operation(&mut self) {
        self.asked = now();
    }

    /// The answer to the order. `end` is how the connection ended.
    pub(crate) fn ended(&self, end: &str) -> Order {
        Order::new("ended").with("end", end).with("asked", self.asked).with("at", now()).with("bytes", self.bytes)
    }
}

/// The driver's name for the end that an error reports, the same in both languages.
pub(crate) trait End {
    fn end(&self) -> String;
}

macro_rules! ends {
    ($($error:ident),*) => {$(
        impl End for $error {
            fn end(&self) -> String {
                match self {
                    Self::Closed { .. } => "closed".to_owned(),
                    Self::PeerDead { .. } => "dead".to_owned(),
                    other => format!("{other:?}").replace(char::is_whitespace, "_"),
                }
            }
        }
    )*};
}

ends!(SendError, RecvError, CallError, ServeError);

/// The answer after a failed connect.
pub(crate) trait Unconnected {
    fn unconnected(&self) -> Order;
}

impl Unconnected for ConnectError {
    fn unconnected(&self) -> Order {
        let end = match self {
            Self::NoListener { .. } => "no-listener",
            Self::NoAnswer { .. } => "no-answer",
            Self::Closed { .. } => "hung-up",
            Self::NotASocket { .. } => "not-a-socket",
            other => return Order::new("failed").with("error", format!("{other:?}").replace(char::is_whitespace, "_")),
        };
        Order::new("unconnected").with("end", end).with("at", now())
    }
}

impl Unconnected for ListenError {
    fn unconnected(&self) -> Order {
        Order::new("failed").with("error", format!("{self:?}").replace(char::is_whitespace, "_"))
    }
}

/// Descriptors, mappings, threads, and kilobytes of resident memory of this process.
pub(crate) fn footprint() -> Outcome {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
    };
    Ok(Order::new("footprint")
        // Without the descriptor of the folder itself.
        .with("descriptors", std::fs::read_dir("/proc/self/fd")?.count() - 1)
        .with("segments", maps.matches("memfd:").count())
        .with("mappings", maps.lines().count())
        .with("threads", field("Threads:"))
        .with("resident", field("VmRSS:")))
}
