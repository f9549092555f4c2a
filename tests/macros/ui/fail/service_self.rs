//! Both sides of a service name its types, and a caller has no implementor.

#[tachyon::tachyon_rpc]
trait Desk {
    #[rpc(msg_type = 1)]
    fn myself(&self, number: u32) -> Self;
    #[rpc(msg_type = 2)]
    fn other(&self, other: &Self, number: u32);
}

#[tachyon::tachyon_rpc]
impl Desk for () {
    fn myself(&self, _number: u32) {}
    fn other(&self, _other: &(), _number: u32) {}
}

fn main() {}
