use tachyon::dispatch::ReplySlot;
use tachyon::tachyon_rpc;

struct Price;

#[tachyon::error]
enum Late {
    #[error("late")]
    Late,
}

#[tachyon::error]
enum Early {
    #[error("early")]
    Early,
}

#[tachyon_rpc(msg_type = 1)]
fn without_item(_to: u32) -> impl Iterator {
    0..1u32
}

#[tachyon_rpc(msg_type = 2)]
fn item_that_does_not_travel(_to: u32) -> impl Iterator<Item = usize> {
    0..1
}

#[tachyon_rpc(msg_type = 3)]
fn unknown_item_that_does_not_travel(_to: u32) -> impl Iterator<Item = Price> {
    [Price].into_iter()
}

#[tachyon_rpc(msg_type = 4)]
fn borrowed_item(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ')
}

#[tachyon_rpc(msg_type = 5)]
fn borrowing(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.bytes().map(u32::from)
}

#[tachyon_rpc(msg_type = 6)]
fn capturing(text: &str) -> impl Iterator<Item = u32> + use<'_> {
    text.bytes().map(u32::from)
}

#[tachyon_rpc(msg_type = 7)]
fn boxed(to: u32) -> Box<dyn Iterator<Item = u32>> {
    Box::new(0..to)
}

#[tachyon_rpc(msg_type = 8)]
fn not_an_iterator(to: u32) -> impl IntoIterator<Item = u32> {
    0..to
}

#[tachyon_rpc(msg_type = 9)]
fn two_errors(_to: u32) -> Result<impl Iterator<Item = Result<u32, Late>>, Early> {
    Ok([Err(Late::Late)].into_iter())
}

#[tachyon_rpc(msg_type = 10)]
fn alias(to: u32) -> std::io::Result<impl Iterator<Item = u32>> {
    Ok(0..to)
}

#[tachyon_rpc(msg_type = 11)]
fn error_that_does_not_travel(_to: u32) -> impl Iterator<Item = Result<u32, Price>> {
    [Err(Price)].into_iter()
}

#[tachyon_rpc(msg_type = 12)]
async fn asynchronous(to: u32) -> impl Iterator<Item = u32> {
    0..to
}

#[tachyon_rpc(msg_type = 13, codec = "msgpack")]
fn packed(text: String) -> impl Iterator<Item = &'static str> {
    [&*text.leak()].into_iter()
}

#[tachyon_rpc(msg_type = 14)]
fn with_a_slot(to: u32, _reply: ReplySlot<'_, u32>) -> impl Iterator<Item = u32> {
    0..to
}

#[tachyon_rpc]
trait Market {
    #[rpc(msg_type = 1)]
    fn quotes(&self, to: u32) -> impl Iterator<Item = u32>;

    #[rpc(msg_type = 2)]
    fn levels(&self, to: u32) -> Box<dyn Iterator<Item = u32>>;

    #[rpc(msg_type = 3)]
    fn lines(&self, to: &str) -> impl Iterator<Item = &str> + 'static;
}

fn main() {}
