//! This crate uses the library without its feature `tokio`.

#[shm::tachyon_rpc(msg_type = 1, crate = shm)]
async fn later(number: u64) -> u64 {
    number
}

#[shm::tachyon_rpc(crate = shm)]
trait Service {
    #[rpc(msg_type = 1)]
    fn now(&self);

    #[rpc(msg_type = 2)]
    async fn later(&self);

    #[rpc(msg_type = 3)]
    async fn once_more(&self);
}

fn main() {
    let _ = shm::Dispatcher::new(shm::endpoints![crate = shm; later]);
}
