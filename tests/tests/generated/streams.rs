// Generated from a callee's description by `tachyon codegen rust`.

/// A fixed request.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Query {
    /// At offset 0.
    pub instrument: u32,
    /// At offset 4.
    pub count: u32,
}

/// A fixed item.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quote {
    /// At offset 0.
    pub price: f64,
    /// At offset 8.
    pub instrument: u32,
    /// At offset 12.
    pub number: u32,
}

/// An item with a head.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// At offset 4 of the head.
    pub number: u32,
    /// At offset 8 of the head.
    pub text: String,
    /// At offset 16 of the head.
    pub note: Option<String>,
}

/// The errors of `sell`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum SellError {
    /// There is no more.
    #[error("SoldOut: left {left}")]
    SoldOut {
        /// At offset 4 of the head.
        left: u32,
    },
    /// The shop is closed.
    #[error("Closed")]
    Closed,
}

/// The errors of `stock`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum StockError {
    /// There is no more.
    #[error("SoldOut: left {left}")]
    SoldOut {
        /// At offset 4 of the head.
        left: u32,
    },
    /// The shop is closed.
    #[error("Closed")]
    Closed,
}

/// The errors of `order`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum OrderError {
    /// There is no more.
    #[error("SoldOut: left {left}")]
    SoldOut {
        /// At offset 4 of the head.
        left: u32,
    },
    /// The shop is closed.
    #[error("Closed")]
    Closed,
}

/// The errors of `sum`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum SumError {
    /// There is no more.
    #[error("SoldOut: left {left}")]
    SoldOut {
        /// At offset 4 of the head.
        left: u32,
    },
    /// The shop is closed.
    #[error("Closed")]
    Closed,
}

/// The errors of `labelled`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum LabelledError {
    /// There is no more.
    #[error("SoldOut: left {left}")]
    SoldOut {
        /// At offset 4 of the head.
        left: u32,
    },
    /// The shop is closed.
    #[error("Closed")]
    Closed,
}

/// The errors of `audit`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum AuditError {
    /// There is no more.
    #[error("SoldOut: left {left}")]
    SoldOut {
        /// At offset 4 of the head.
        left: u32,
    },
    /// The shop is closed.
    #[error("Closed")]
    Closed,
}

/// The errors of `shout_later`.
#[tachyon::error]
#[derive(Debug, Clone, PartialEq)]
pub enum ShoutLaterError {
    /// There is no more.
    #[error("SoldOut: left {left}")]
    SoldOut {
        /// At offset 4 of the head.
        left: u32,
    },
    /// The shop is closed.
    #[error("Closed")]
    Closed,
}

/// The endpoints of the callee.
#[tachyon::tachyon_rpc]
pub trait Endpoints {
    /// Numbers.
    #[rpc(msg_type = 1)]
    fn count(&self, request: &u32) -> impl Iterator<Item = Result<u32, String>> + 'static;

    /// Texts, of an argument that is a text.
    #[rpc(msg_type = 2)]
    fn words(&self, request: &str) -> impl Iterator<Item = Result<String, String>> + 'static;

    /// Fixed payloads, of a fixed payload.
    #[rpc(msg_type = 3)]
    fn quotes(&self, request: &Query) -> impl Iterator<Item = Result<Quote, String>> + 'static;

    /// Payloads with a head, of several arguments.
    #[rpc(msg_type = 4)]
    fn lines(
        &self,
        from: u32,
        texts: &[u8],
        note: Option<&str>,
    ) -> impl Iterator<Item = Result<Line, String>> + 'static;

    /// Lists.
    #[rpc(msg_type = 5)]
    fn rows(&self, request: &u32) -> impl Iterator<Item = Result<Vec<f64>, String>> + 'static;

    /// Values that may be absent.
    #[rpc(msg_type = 6)]
    fn maybe(&self, request: &u32) -> impl Iterator<Item = Result<Option<u32>, String>> + 'static;

    /// Tensors.
    #[rpc(msg_type = 7)]
    fn frames(
        &self,
        request: &u32,
    ) -> impl Iterator<Item = Result<tachyon::Tensor<f32, 2>, String>> + 'static;

    /// Borrowed constants.
    #[rpc(msg_type = 8)]
    fn colours(&self) -> impl Iterator<Item = Result<String, String>> + 'static;

    /// Bytes.
    #[rpc(msg_type = 9)]
    fn chunks(
        &self,
        bytes: &[u8],
        size: u32,
    ) -> impl Iterator<Item = Result<Vec<u8>, String>> + 'static;

    /// Nothing, several times.
    #[rpc(msg_type = 10)]
    fn ticks(&self, request: &u32) -> impl Iterator<Item = Result<(), String>> + 'static;

    /// A declared error after the items.
    #[rpc(msg_type = 11)]
    fn sell(
        &self,
        stock: u32,
        wanted: u32,
    ) -> impl Iterator<Item = Result<u32, SellError>> + 'static;

    /// A text after the items.
    #[rpc(msg_type = 12)]
    fn parse(&self, request: &str) -> impl Iterator<Item = Result<u32, String>> + 'static;

    /// An error with a kind after the items.
    #[rpc(msg_type = 13)]
    fn abort(&self, request: &u32) -> impl Iterator<Item = Result<u32, String>> + 'static;

    /// An error before the first item.
    #[rpc(msg_type = 14)]
    fn stock(&self, request: &str) -> impl Iterator<Item = Result<u32, StockError>> + 'static;

    /// An error before the first item, or after some.
    #[rpc(msg_type = 15)]
    fn order(&self, request: &u32) -> impl Iterator<Item = Result<u32, OrderError>> + 'static;

    /// An iterator of a type that is known when the program runs.
    #[rpc(msg_type = 16)]
    fn boxed(&self, to: u32, down: bool) -> impl Iterator<Item = Result<u32, String>> + 'static;

    /// Reads the state and the context.
    #[rpc(msg_type = 17)]
    fn visits(&self, request: &u32) -> impl Iterator<Item = Result<String, String>> + 'static;

    /// One reply.
    #[rpc(msg_type = 19)]
    fn double(&self, request: &u32) -> Result<u32, String>;

    /// A client stream: bytes, with their length as the reply.
    #[rpc(msg_type = 20)]
    fn upload(&self, request: String, items: tachyon::Items<Vec<u8>>) -> Result<String, String>;

    /// A client stream of fixed items, with a declared error in the middle.
    #[rpc(msg_type = 21)]
    fn sum(&self, items: tachyon::Items<Quote>) -> Result<f64, SumError>;

    /// A two-way stream that returns an iterator.
    #[rpc(msg_type = 22)]
    fn doubled(
        &self,
        request: u32,
        items: tachyon::Items<u32>,
        out: tachyon::StreamSender<u32>,
    ) -> Result<(), String>;

    /// A two-way stream that returns an iterator, or fails.
    #[rpc(msg_type = 23)]
    fn labelled(
        &self,
        request: Vec<String>,
        items: tachyon::Items<Line>,
        out: tachyon::StreamSender<String>,
    ) -> Result<(), LabelledError>;

    /// A two-way stream.
    #[rpc(msg_type = 24)]
    fn shout(
        &self,
        items: tachyon::Items<String>,
        out: tachyon::StreamSender<String>,
    ) -> Result<(), String>;

    /// A server stream that a thread sends.
    #[rpc(msg_type = 25)]
    fn ticker(&self, request: &Query) -> impl Iterator<Item = Result<Quote, String>> + 'static;

    /// Reads the state and the context, and fails after its items.
    #[rpc(msg_type = 26)]
    fn audit(
        &self,
        items: tachyon::Items<Option<u32>>,
        out: tachyon::StreamSender<Line>,
    ) -> Result<(), AuditError>;

    /// A client stream of a task.
    #[rpc(msg_type = 27)]
    fn sum_later(&self, items: tachyon::Items<u32>) -> Result<u64, String>;

    /// A two-way stream of a task.
    #[rpc(msg_type = 28)]
    fn shout_later(
        &self,
        items: tachyon::Items<String>,
        out: tachyon::StreamSender<String>,
    ) -> Result<(), ShoutLaterError>;

    /// A server stream of a task.
    #[rpc(msg_type = 29)]
    fn ticker_later(&self, request: &u32) -> impl Iterator<Item = Result<u32, String>> + 'static;
}
