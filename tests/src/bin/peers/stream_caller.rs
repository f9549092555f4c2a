//! A caller of streams by number, which acts on the lines of its input: `stream_caller SOCKET`.
//!
//! Each line is a command and its arguments, payloads in hexadecimal digits. Each command prints one line.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failing test may panic anywhere, and reads the output")]

use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::path::Path;
use std::time::Duration;

use tachyon::{CallError, Caller, Options};
use tachyon_tests::process::arguments;

const PATIENCE: Duration = Duration::from_secs(30);

fn bytes(digits: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len() / 2).map(|at| digit(2 * at)).collect()
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
}

fn failed(error: &CallError) -> String {
    match error {
        CallError::Remote(error) => format!("error {:?} {} {}", error.kind, error.name, error.text),
        other => format!("failed {other:?}"),
    }
}

/// Acts on one line.
fn act(caller: &mut Caller, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    let payload = |at: usize| words.get(at).map(|digits| bytes(digits)).unwrap_or_default();
    let outcome = match words[0] {
        "open" => caller.open(u16::try_from(number(1)).unwrap(), &payload(2)).map(|id| format!("opened {id}")),
        "open_within" => caller
            .within(Duration::from_millis(number(3)))
            .open(u16::try_from(number(1)).unwrap(), &payload(2))
            .map(|id| format!("opened {id}")),
        "next" => caller.next_item_timeout(number(1), PATIENCE).map(|item| match item {
            Some(item) => format!("item {}", digits(&item)),
            None => "end".to_owned(),
        }),
        // Takes the items that are left, and prints their number before the end.
        "drain" => {
            let mut count = 0;
            loop {
                match caller.next_item_timeout(number(1), PATIENCE) {
                    Ok(Some(_)) => count += 1,
                    Ok(None) => break Ok(format!("{count} end")),
                    Err(error) => break Ok(format!("{count} {}", failed(&error))),
                }
            }
        }
        "send" => caller.send_item(number(1), &payload(2)).map(|sent| format!("sent {sent}")),
        "end" => caller.end_items(number(1)).map(|()| "ended".to_owned()),
        "finish" => caller.finish_timeout(number(1), PATIENCE).map(|reply| match reply.error() {
            Some(error) => failed(&CallError::Remote(error)),
            None => format!("reply {}", digits(&reply)),
        }),
        "cancel" => {
            caller.forget(number(1));
            Ok("cancelled".to_owned())
        }
        "call" => caller
            .call_timeout(u16::try_from(number(1)).unwrap(), &payload(2), PATIENCE)
            .map(|reply| format!("reply {}", digits(&reply))),
        other => Ok(format!("no such command: {other}")),
    };
    outcome.unwrap_or_else(|error| failed(&error))
}

fn main() {
    let arguments = arguments();
    let mut caller = Caller::connect_with(Path::new(&arguments[0]), &Options::new().timeout(PATIENCE)).unwrap();
    for line in stdin().lock().lines() {
        let answer = act(&mut caller, &line.unwrap());
        println!("{answer}");
        stdout().flush().unwrap();
    }
}
