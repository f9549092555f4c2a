//! `chaos kill` kills processes that use Tachyon, at chosen points and at random, and checks the survivors. `chaos
//! soak` sends random messages for a given time, and counts them.
//!
//! ```sh
//! chaos kill --rounds 1000 --python .venv/bin/python --script tests/python/actor.py
//! chaos soak --seconds 600 --python .venv/bin/python --script tests/python/actor.py
//! ```

mod actors;
mod findings;
mod handshakes;
mod kill;
mod ptrace;
mod retry;
mod round;
mod servers;
mod soak;

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use actors::Actors;
use findings::Findings;

/// The arguments of the command line.
struct Arguments {
    what: String,
    rounds: u32,
    /// The only group of deaths to run: `pairs`, `servers`, `callers` or `handshakes`.
    only: Option<String>,
    seconds: u64,
    seed: u64,
    python: Option<(PathBuf, PathBuf)>,
    summary: Option<PathBuf>,
}

fn parse_arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let what = words.next().ok_or("usage: chaos kill|soak [--rounds N] [--only GROUP] [--seconds N] [--seed N] ...")?;
    let mut arguments = Arguments { what, rounds: 25, only: None, seconds: 5, seed: 1, python: None, summary: None };
    let (mut interpreter, mut script) = (None, None);
    while let Some(name) = words.next() {
        let value = words.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--rounds" => arguments.rounds = value.parse()?,
            "--only" => arguments.only = Some(value),
            "--seconds" => arguments.seconds = value.parse()?,
            "--seed" => arguments.seed = value.parse()?,
            "--python" => interpreter = Some(PathBuf::from(value)),
            "--script" => script = Some(PathBuf::from(value)),
            "--summary" => arguments.summary = Some(PathBuf::from(value)),
            other => return Err(format!("no such option: {other}").into()),
        }
    }
    arguments.python = interpreter.zip(script);
    Ok(arguments)
}

#[allow(clippy::print_stdout, reason = "a program that reports")]
fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = parse_arguments()?;
    // Adopts the children of dead actors, to wait for them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let folder = tempfile::tempdir()?;
    let mut actors = Actors::new(arguments.python, folder.path())?;
    let mut chance = fastrand::Rng::with_seed(arguments.seed);
    let mut findings = Findings::default();
    let begun = Instant::now();
    let outcome = match arguments.what.as_str() {
        "kill" => kill::all(
            arguments.rounds,
            arguments.only.as_deref(),
            &mut actors,
            folder.path(),
            &mut chance,
            &mut findings,
        ),
        "soak" => {
            soak::soak(arguments.seconds, &mut actors, folder.path(), &mut chance, &mut findings);
            Ok(())
        }
        other => Err(format!("no such command: {other}").into()),
    };
    if let Err(error) = outcome {
        findings.fault(error.to_string());
    }
    let mut report = format!("{}\n{}", findings.counted(), findings.timed());
    writeln!(report, "\n{:.0} s, seed {}", begun.elapsed().as_secs_f64(), arguments.seed)?;
    for fault in &findings.faults {
        writeln!(report, "FAULT: {fault}")?;
    }
    println!("{report}");
    if let Some(path) = arguments.summary {
        std::fs::write(path, &report)?;
    }
    Ok(if findings.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
