//! rustc reports a mistake in a call from a task at the call.
use std::future::Future;

use tachyon::{AsyncCaller, CallError, Caller, tachyon_rpc};

#[tachyon::payload]
#[derive(Debug)]
pub struct Scan {
    pub frame: String,
}

#[tachyon_rpc(msg_type = 1)]
fn filter(_scan: ScanRef<'_>, radius: f32) -> f32 {
    radius
}

#[tachyon_rpc]
trait Pricing {
    #[rpc(msg_type = 2)]
    fn name(&self, of: &str) -> String;
}

fn spawn(_future: impl Future + Send + 'static) {}

async fn wrong_caller(caller: &mut Caller, scan: &Scan) -> Result<(), CallError> {
    filter::call_async(caller, scan, 1.0).await?;
    Ok(())
}

async fn wrong_argument(caller: &AsyncCaller) -> Result<(), CallError> {
    filter::call_async(caller, "a scan", 1.0).await?;
    Ok(())
}

fn borrows(caller: AsyncCaller, client: PricingAsyncClient) {
    let scan = Scan { frame: String::new() };
    let name = String::new();
    spawn(async move { filter::call_async(&caller, &scan, 1.0).await });
    spawn(client.name(&name));
}

fn main() {
    let _ = (wrong_caller, wrong_argument, borrows);
}
