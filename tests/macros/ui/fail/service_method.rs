use tachyon::tachyon_rpc;

#[tachyon_rpc]
trait Faulty {
    fn unmarked(&self);

    #[rpc]
    fn unnumbered(&self);

    #[rpc = 1]
    fn assigned(&self);

    #[rpc(msg_type = 65535)]
    fn reserved(&self);

    #[rpc(msg_type = 1, crate = tachyon)]
    fn renamed(&self);

    #[rpc(msg_type = 2)]
    #[rpc(msg_type = 3)]
    fn twice(&self);

    #[tachyon_rpc(msg_type = 4)]
    fn other_attribute(&self);

    #[rpc(msg_type = 5)]
    fn no_receiver(request: &[u8]);

    #[rpc(msg_type = 6)]
    fn by_value(self: Box<Self>);

    #[rpc(msg_type = 7)]
    fn marked_state(&self, #[state] one: &[u8], other: &[u8]);

    #[rpc(msg_type = 8)]
    fn within(&self);

    #[rpc(msg_type = 9)]
    async unsafe fn qualified<T>(&self, request: T) -> !;
}

fn main() {}
