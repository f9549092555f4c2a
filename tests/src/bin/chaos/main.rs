//! Kills processes that use Tachyon, at points and at random, and checks what the survivors make of it; and, for as long
//! as one likes, sends random messages both ways and counts them.
//!
//! ```sh
//! chaos kill --rounds 1000 --python .venv/bin/python --script tests/python/actor.py
//! chaos soak --seconds 600 --python .venv/bin/python --script tests/python/actor.py
//! ```

mod company;
mod findings;
mod grip;
mod handshakes;
mod kill;
mod missed;
mod play;
mod servers;
mod soak;

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use company::Company;
use findings::Findings;

/// What the command line asks for.
struct Wishes {
    what: String,
    rounds: u32,
    /// The one group of deaths: `pairs`, `servers`, `callers` or `handshakes`.
    only: Option<String>,
    seconds: u64,
    seed: u64,
    python: Option<(PathBuf, PathBuf)>,
    summary: Option<PathBuf>,
}

fn wishes() -> Result<Wishes, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let what =
        arguments.next().ok_or("usage: chaos kill|soak [--rounds N] [--only GROUP] [--seconds N] [--seed N] ...")?;
    let mut wishes = Wishes { what, rounds: 25, only: None, seconds: 5, seed: 1, python: None, summary: None };
    let (mut interpreter, mut script) = (None, None);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--rounds" => wishes.rounds = value.parse()?,
            "--only" => wishes.only = Some(value),
            "--seconds" => wishes.seconds = value.parse()?,
            "--seed" => wishes.seed = value.parse()?,
            "--python" => interpreter = Some(PathBuf::from(value)),
            "--script" => script = Some(PathBuf::from(value)),
            "--summary" => wishes.summary = Some(PathBuf::from(value)),
            other => return Err(format!("there is no option {other}").into()),
        }
    }
    wishes.python = interpreter.zip(script);
    Ok(wishes)
}

#[allow(clippy::print_stdout, reason = "a program that reports")]
fn main() -> Result<ExitCode, Box<dyn Error>> {
    let wishes = wishes()?;
    // Children that the dead leave behind become this process's, which waits for them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let folder = tempfile::tempdir()?;
    let mut company = Company::new(wishes.python, folder.path())?;
    let mut chance = fastrand::Rng::with_seed(wishes.seed);
    let mut findings = Findings::default();
    let begun = Instant::now();
    let outcome = match wishes.what.as_str() {
        "kill" => {
            kill::all(wishes.rounds, wishes.only.as_deref(), &mut company, folder.path(), &mut chance, &mut findings)
        }
        "soak" => {
            soak::soak(wishes.seconds, &mut company, folder.path(), &mut chance, &mut findings);
            Ok(())
        }
        other => Err(format!("nothing is known of `{other}`").into()),
    };
    if let Err(error) = outcome {
        findings.complain(error.to_string());
    }
    let mut report = format!("{}\n{}", findings.counted(), findings.timed());
    writeln!(report, "\n{:.0} s, seed {}", begun.elapsed().as_secs_f64(), wishes.seed)?;
    for wrong in &findings.wrong {
        writeln!(report, "WRONG: {wrong}")?;
    }
    println!("{report}");
    if let Some(path) = wishes.summary {
        std::fs::write(path, &report)?;
    }
    Ok(if findings.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
