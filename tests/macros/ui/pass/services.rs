//! Services with client and table: in modules, conditional, and with unusual names.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, unused_lifetimes)]
#![deny(rust_2018_idioms, single_use_lifetimes, let_underscore_drop, clippy::all, clippy::pedantic)]
#![allow(clippy::trivially_copy_pass_by_ref, reason = "a handler borrows the request")]

mod vendored {
    pub(crate) use ::tachyon as ipc;
}

/// The contract that both sides share, without an implementor.
pub(crate) mod contract {
    use tachyon::dispatch::{ReplySlot, SlotError};
    use tachyon::tachyon_rpc;

    /// A request.
    #[tachyon::payload]
    pub(crate) struct Question {
        /// The number in question.
        pub(crate) number: u64,
    }

    pub(crate) const NUMBERED: u16 = 300;

    /// A service that answers questions.
    #[tachyon_rpc]
    pub(crate) trait Oracle: Send {
        /// Answers one.
        #[rpc(msg_type = 1)]
        fn answer(&self, question: &Question) -> Result<u64, String>;

        /// Answers several questions at once.
        #[rpc(msg_type = 2)]
        fn answers(&self, questions: &[Question]) -> Vec<u64>;

        /// Changes the state.
        #[rpc(msg_type = NUMBERED)]
        fn learn(&mut self, text: &[u8]);

        /// Has a default body, and writes in place.
        #[rpc(msg_type = 4)]
        fn all(&self, reply: ReplySlot<'_, [u64]>) -> Result<(), SlotError> {
            reply.write(&[1, 2, 3])
        }

        /// Has a keyword as its name.
        #[rpc(msg_type = 5)]
        fn r#type(&self) -> &'static str;

        /// Excluded on this platform, so its number is free.
        #[cfg(windows)]
        #[rpc(msg_type = 6)]
        fn elsewhere(&self);

        /// Included on this platform.
        #[cfg(unix)]
        #[rpc(msg_type = 6)]
        fn here(&self) -> [u8; 2];

        /// A deprecated method.
        #[deprecated = "ask `answer`"]
        #[rpc(msg_type = 7)]
        fn old(&self);
    }
}

mod implementation {
    use super::contract::{Oracle, Question};

    pub(crate) struct Fixed(pub(crate) u64);

    impl Oracle for Fixed {
        fn answer(&self, question: &Question) -> Result<u64, String> {
            if question.number == 0 { Err("nothing was asked".to_owned()) } else { Ok(self.0) }
        }

        fn answers(&self, questions: &[Question]) -> Vec<u64> {
            vec![self.0; questions.len()]
        }

        fn learn(&mut self, text: &[u8]) {
            self.0 += text.len() as u64;
        }

        fn r#type(&self) -> &'static str {
            "fixed"
        }

        fn here(&self) -> [u8; 2] {
            [1, 2]
        }

        fn old(&self) {}
    }
}

/// The library under another name.
#[vendored::ipc::tachyon_rpc(crate = crate::vendored::ipc)]
trait Renamed {
    /// Does nothing.
    #[rpc(msg_type = 1)]
    fn nothing(&self);
}

impl Renamed for () {
    fn nothing(&self) {}
}

use contract::{OracleClient, OracleService, Question};
use tachyon::{CallError, Caller};

fn asks(caller: &mut Caller) -> Result<u64, CallError> {
    let mut client = OracleClient::new(caller).within(std::time::Duration::from_secs(1));
    let started = client.starting().answer(&Question { number: 1 })?;
    assert_eq!(started.finish(client.get_mut())?, 1);
    assert!(client.starting().r#type()?.cancel(client.get_mut()));
    let answer = client.answer(&Question { number: 1 })?;
    let answers = client.answers(&[Question { number: 1 }])?;
    client.learn(b"text")?;
    assert_eq!(client.all()?.len(), 3);
    assert_eq!(client.r#type()?, "fixed");
    assert_eq!(client.here()?, [1, 2]);
    Ok(answer + answers.len() as u64)
}

fn main() {
    let table = OracleService::endpoints::<implementation::Fixed>();
    let names: Vec<_> = table.iter().map(|entry| (entry.msg_type(), entry.name())).collect();
    assert_eq!(
        names,
        [(1, "answer"), (2, "answers"), (300, "learn"), (4, "all"), (5, "type"), (6, "here"), (7, "old")]
    );
    assert_eq!(table[0].doc(), "Answers one.");
    assert!(table[2].is_exclusive());
    let dispatcher = OracleService::dispatcher(implementation::Fixed(42));
    assert_eq!((dispatcher.len(), dispatcher.is_exclusive()), (7, true));
    assert_eq!(RenamedService::dispatcher(()).len(), 1);
    let _ = (asks, RenamedClient::<&mut Caller>::nothing);
}
