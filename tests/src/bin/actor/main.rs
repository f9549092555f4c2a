//! The Rust actor of `chaos`: reads orders from standard input, one a line, and answers each with one line. Its Python
//! twin is `tests/python/actor.py`; both take the same orders.

mod answering;
mod calling;
mod one_way;
mod scene;
mod serving;

use std::error::Error;
use std::io::BufRead;

use tachyon_tests::chaos::order::Order;

type Outcome = Result<Order, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lock().lines() {
        let order = Order::read(&line?);
        let answer = match order.word.as_str() {
            "send" => one_way::send(&order),
            "receive" => one_way::receive(&order),
            "call" => calling::call(&order),
            "answer" => answering::answer(&order),
            "serve" => serving::serve(&order),
            "footprint" => scene::footprint(),
            other => Err(format!("no such role: {other}").into()),
        };
        say(&answer.unwrap_or_else(|error| {
            let text = error.to_string().replace(char::is_whitespace, "_");
            Order::new("failed").with("error", text)
        }));
    }
    Ok(())
}

/// Says one line, whole, whatever other threads say.
#[allow(clippy::print_stdout, reason = "speaking is how an actor answers")]
fn say(line: &Order) {
    println!("{line}");
}
