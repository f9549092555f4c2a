//! An authenticated, traced service with deadlines, the second of three processes of one trace.
//!
//! ```text
//! python examples/python/ledger_service.py /tmp/tachyon-ledger.sock
//! cargo run --release -p tachyon-examples --bin accounts_service -- \
//!     /tmp/tachyon-accounts.sock /tmp/tachyon-ledger.sock
//! python examples/python/accounts_caller.py /tmp/tachyon-accounts.sock
//! ```
//!
//! A user's token travels as the metadata `authorization`. A layer refuses calls without a known token, and the handler
//! asks whether the account is the user's. The handler calls the ledger, within the time that the user still waits, and
//! with the token of this service. `TracingLayer` continues the trace of the user's call, and passes it on to the
//! ledger.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

mod signals;

use std::error::Error;
use std::sync::Arc;

use tachyon::{
    AsyncCaller, CallError, Context, ErrorKind, HandlerError, Layer, Options, RpcServer, TracingLayer, tachyon_rpc,
};
use tracing_subscriber::fmt::format::FmtSpan;

/// The token of this service at the ledger. A real service reads its secrets from its environment.
const TOKEN: &str = "the token of the accounts service";

/// The errors of the ledger.
#[tachyon::error]
#[derive(Debug)]
pub enum LedgerError {
    /// No account has this number.
    #[error("no account {account}", kind = NotFound)]
    NoAccount {
        /// The number.
        account: u32,
    },
    /// The account has less than the amount.
    #[error("{missing} cents are missing", kind = FailedPrecondition)]
    Short {
        /// Cents that the source lacks.
        missing: u64,
    },
}

/// The ledger, in another process.
#[tachyon_rpc]
pub trait Ledger {
    /// Moves cents between two accounts, and returns the new balance of the source.
    #[rpc(msg_type = 1)]
    async fn book(&self, source: u32, target: u32, cents: u64) -> Result<u64, LedgerError>;
}

/// The errors of this service.
#[tachyon::error]
#[derive(Debug)]
pub enum TransferError {
    /// No account has this number.
    #[error("no account {account}", kind = NotFound)]
    NoAccount {
        /// The number.
        account: u32,
    },
    /// The account has less than the amount.
    #[error("{missing} cents are missing", kind = FailedPrecondition)]
    Short {
        /// Cents that the source lacks.
        missing: u64,
    },
    /// The account belongs to another user.
    #[error("account {account} is not yours", kind = PermissionDenied)]
    NotYours {
        /// Its number.
        account: u32,
    },
    /// The ledger did not answer in time, or is gone.
    #[error("the ledger failed: {why}", kind = Unavailable)]
    LedgerFailed {
        /// The text of the failed call.
        why: String,
    },
}

impl From<CallError<LedgerError>> for TransferError {
    fn from(error: CallError<LedgerError>) -> Self {
        match error {
            CallError::Failed(LedgerError::NoAccount { account }) => Self::NoAccount { account },
            CallError::Failed(LedgerError::Short { missing }) => Self::Short { missing },
            other => Self::LedgerFailed { why: other.to_string() },
        }
    }
}

/// The service of this process.
#[tachyon_rpc]
pub trait Accounts {
    /// Moves cents from an account of the user, and returns its new balance.
    #[rpc(msg_type = 1)]
    async fn transfer(
        &self,
        #[context] cx: &Context<'_>,
        source: u32,
        target: u32,
        cents: u64,
    ) -> Result<u64, TransferError>;
}

struct Transfers {
    ledger: AsyncCaller,
}

impl Accounts for Transfers {
    async fn transfer(&self, cx: &Context<'_>, source: u32, target: u32, cents: u64) -> Result<u64, TransferError> {
        let user = user(cx).map(|user| user.account);
        if user != Some(source) {
            return Err(TransferError::NotYours { account: source });
        }
        // The ledger need not begin, or go on with, a transfer that the user no longer waits for.
        let ledger = match cx.remaining() {
            Some(left) => self.ledger.within(left),
            None => self.ledger.clone(),
        };
        Ok(LedgerAsyncClient::new(ledger).book(source, target, cents).await?)
    }
}

struct User {
    token: &'static str,
    account: u32,
}

const USERS: [User; 2] = [User { token: "alice's token", account: 1 }, User { token: "bob's token", account: 2 }];

/// The user whose token came with the call.
fn user(cx: &Context<'_>) -> Option<&'static User> {
    let token = cx.metadata().get("authorization")?;
    USERS.iter().find(|user| user.token == token)
}

/// Refuses calls without the token of a user.
struct Authenticated;

impl Layer for Authenticated {
    fn before(&self, cx: &Context<'_>) -> Result<(), HandlerError> {
        match user(cx) {
            Some(_) => Ok(()),
            None => Err(HandlerError::new(ErrorKind::Unauthenticated, "send your token as `authorization`")),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(socket), Some(ledger)) = (arguments.next(), arguments.next()) else {
        return Err("usage: accounts_service SOCKET LEDGER".into());
    };
    // Prints each call when it ends, with the identity of its trace.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .init();

    let mut ledger = AsyncCaller::connect_with(ledger, &Options::new().reconnect(true)).await?;
    ledger.layer(TracingLayer::new());
    let transfers = Transfers { ledger: ledger.metadata("authorization", TOKEN) };
    let mut dispatcher = AccountsService::shared(Arc::new(transfers));
    // The trace also shows the calls that the next layer refuses.
    dispatcher.layer(TracingLayer::new()).layer(Authenticated);

    let mut server = RpcServer::listen(&socket)?;
    println!("serving at {}", socket.display());
    signals::stop_on_signals(server.stopper())?;
    tokio::spawn(async move { dispatcher.serve_async(&mut server).await }).await??;
    Ok(())
}
