use tachyon::tachyon_rpc;

struct Order;

#[tachyon_rpc]
trait Orders {
    #[rpc(msg_type = 1)]
    fn order(&self, order: &Order);

    #[rpc(msg_type = 2)]
    fn last(&self) -> Order;
}

fn main() {}
