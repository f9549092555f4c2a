// Generated from a callee's description by `tachyon codegen rust`.

/// Asks for a price.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PriceRequest {
    /// At offset 0.
    pub instrument: u64,
    /// At offset 8.
    pub quantity: i64,
}

/// The price of a request.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PriceReply {
    /// At offset 0.
    pub bid: f64,
    /// At offset 8.
    pub ask: f64,
}

/// The side of an order.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// Travels as 1.
    Buy = 1,
    /// Travels as 2.
    Sell = 2,
}

/// An order, with a nested payload, an array, and types with invalid bit patterns.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// At offset 0.
    pub price: PriceRequest,
    /// At offset 16.
    pub account: [u8; 6],
    /// At offset 22.
    pub side: Side,
    /// At offset 23.
    pub partial: bool,
}

/// The endpoints of the callee.
#[tachyon::tachyon_rpc]
pub trait Endpoints {
    /// Sends the request back.
    #[rpc(msg_type = 1)]
    fn echo(&self, request: &[u8]) -> Result<Vec<u8>, String>;

    /// Prices an instrument.
    #[rpc(msg_type = 2)]
    fn price(&self, request: &PriceRequest) -> Result<PriceReply, String>;

    /// Takes an order and returns its number.
    #[rpc(msg_type = 3)]
    fn order(&self, request: &Order) -> Result<u64, String>;

    /// The sum of numbers.
    #[rpc(msg_type = 4)]
    fn sum(&self, request: &[f64]) -> Result<f64, String>;

    /// All prices, by instrument.
    #[rpc(msg_type = 5)]
    fn prices(&self) -> Result<Vec<PriceReply>, String>;

    /// Does nothing.
    #[rpc(msg_type = 6)]
    fn nothing(&self) -> Result<(), String>;

    /// The first squares, written in place.
    #[rpc(msg_type = 7)]
    fn squares(&self, request: &u32) -> Result<Vec<u64>, String>;

    /// Never answers.
    #[rpc(msg_type = 8)]
    fn silent(&self) -> Result<Vec<u8>, String>;

    /// The side of each order.
    #[rpc(msg_type = 9)]
    fn sides(&self, request: &[Order]) -> Result<Vec<Side>, String>;

    /// The opposite order, written in place.
    #[rpc(msg_type = 10)]
    fn turned(&self, request: &Order) -> Result<Order, String>;
}
