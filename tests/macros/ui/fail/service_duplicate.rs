use tachyon::tachyon_rpc;

const TWO: u16 = 2;
const RESERVED: u16 = 65535;

#[tachyon_rpc]
trait Literals {
    #[rpc(msg_type = 1)]
    fn first(&self);

    #[rpc(msg_type = 0x1)]
    fn second(&self);
}

#[tachyon_rpc]
trait Constants {
    #[rpc(msg_type = 2)]
    fn first(&self);

    #[rpc(msg_type = TWO)]
    fn second(&self);

    #[rpc(msg_type = RESERVED)]
    fn third(&self);
}

fn main() {}
