//! The uses of a service with a mistake are no further errors.
use tachyon::{AsyncCaller, CallError, Caller, Dispatcher, tachyon_rpc};

#[tachyon_rpc]
trait Pricing {
    #[rpc(msg_type = 65536)]
    fn price(&self, request: &u64) -> f64;

    #[rpc(msg_type = 2)]
    fn reset(&mut self);
}

struct Book;

impl Pricing for Book {
    fn price(&self, _request: &u64) -> f64 {
        1.0
    }

    fn reset(&mut self) {}
}

fn uses(caller: &mut Caller) -> Result<(), CallError> {
    let mut client = PricingClient::new(caller);
    client.price(&1)?;
    client.reset()?;
    Ok(())
}

async fn uses_from_a_task(caller: AsyncCaller) -> Result<(), CallError> {
    let client = PricingAsyncClient::new(caller).idempotent();
    client.clone().price(&1).await?;
    client.reset().await
}

fn main() {
    let _ = Dispatcher::with_state(Book, PricingService::endpoints());
    let _ = PricingService::dispatcher(Book);
    let _ = (uses, uses_from_a_task);
}
