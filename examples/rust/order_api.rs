// Generated from a callee's description by `tachyon codegen rust`.

/// The direction of an order.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// Travels as 1.
    Buy = 1,
    /// Travels as 2.
    Sell = 2,
}

/// An order to buy or to sell.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// At offset 0.
    pub price: u64,
    /// At offset 8.
    pub quantity: u32,
    /// At offset 12.
    pub side: Side,
    /// At offset 13.
    pub account: [u8; 3],
}

/// The best prices in cents; 0 without an order.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quote {
    /// At offset 0.
    pub bid: u64,
    /// At offset 8.
    pub ask: u64,
}

/// The endpoints of the callee.
#[tachyon::tachyon_rpc]
pub trait Endpoints {
    /// Places an order and returns its number.
    #[rpc(msg_type = 1)]
    fn place(&self, request: &Order) -> Result<u64, String>;

    /// Cancels an order, and returns whether it existed.
    #[rpc(msg_type = 2)]
    fn cancel(&self, request: &u64) -> Result<bool, String>;

    /// Returns the best prices of both directions.
    #[rpc(msg_type = 3)]
    fn quote(&self) -> Result<Quote, String>;

    /// Returns the existing orders with these numbers.
    #[rpc(msg_type = 4)]
    fn find(&self, request: &[u64]) -> Result<Vec<Order>, String>;
}
