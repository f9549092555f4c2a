//! The Rust actor of `chaos`: reads orders from standard input, one on each line, and answers each with one line.
//! `tests/python/actor.py` is the Python actor, with the same orders.

mod bus;
mod callee;
mod caller;
mod role;
mod server;
mod streams;

use std::error::Error;
use std::io::BufRead;

use tachyon_tests::chaos::order::Order;

type Outcome = Result<Order, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lock().lines() {
        let order = Order::read(&line?);
        let answer = match order.word.as_str() {
            "send" => bus::send(&order),
            "receive" => bus::receive(&order),
            "call" => caller::call(&order),
            "answer" => callee::answer(&order),
            "serve" => server::serve(&order),
            "footprint" => role::footprint(),
            other => Err(format!("no such role: {other}").into()),
        };
        print(&answer.unwrap_or_else(|error| {
            let text = error.to_string().replace(char::is_whitespace, "_");
            Order::new("failed").with("error", text)
        }));
    }
    Ok(())
}

/// Prints one line. Lines of several threads do not mix.
#[allow(clippy::print_stdout, reason = "an actor answers by printing")]
fn print(line: &Order) {
    println!("{line}");
}
