//! Deaths during a handshake, of the listener or the connector, at any system call or instruction.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon::{Options, Sender};
use tachyon_tests::chaos::order::Order;
use tachyon_tests::chaos::progress_file::{Field, ProgressFile};
use tachyon_tests::chaos::stream::Stream;

use super::actors::{Actors, Language, PATIENCE};
use super::findings::Findings;
use super::kill::Survivor;
use super::ptrace::{Step, is_stopped, single_step};

/// The kind and number of steps: up to more than a handshake takes.
fn steps(language: Language, chance: &mut fastrand::Rng) -> (Step, u32) {
    match (chance.u8(..4), language) {
        (0, Language::Rust) => (Step::Instruction, chance.u32(1..8000)),
        (0, Language::Python) => (Step::Instruction, chance.u32(1..12_000)),
        _ => (Step::SystemCall, chance.u32(1..90)),
    }
}

/// `rounds` deaths, alternately of the listener and of the connector.
pub(crate) fn rounds(
    rounds: u32,
    actors: &mut Actors,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let mut survivors = Vec::new();
    for &language in actors.languages() {
        survivors.push(Survivor::new(actors.start(language)?));
    }
    for round in 0..rounds {
        let chosen = chance.usize(..survivors.len());
        let survivor = &mut survivors[chosen];
        survivor.rounds += 1;
        if let Err(error) = run_round(round, survivor, actors, folder, chance, findings) {
            findings.fault(format!("handshake round {round}: {error}"));
            if findings.faults.len() > 5 {
                return Ok(());
            }
            let language = survivor.actor.language;
            *survivor = Survivor::new(actors.start(language)?);
        }
        survivor.note_footprint()?;
    }
    survivors.iter_mut().try_for_each(|survivor| survivor.check_footprint(findings))
}

fn run_round(
    round: u32,
    survivor: &mut Survivor,
    actors: &mut Actors,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let languages = actors.languages();
    let language = languages[if chance.u8(..3) == 0 { languages.len() - 1 } else { 0 }];
    let path = folder.join("handshake.sock");
    let ledger = ProgressFile::create(&folder.join("ledger"))?;
    let listens = round.is_multiple_of(2);
    let (step, count) = steps(language, chance);
    let victim_order = Order::new("send")
        .with("path", path.display())
        .with("side", if listens { "listen" } else { "connect" })
        .with("seed", round)
        .with("most", 100)
        .with("ledger", folder.join("ledger").display())
        .with("die", "handshake")
        .with("how", "stop");
    let survivor_order = Order::new("receive")
        .with("path", path.display())
        .with("side", if listens { "connect" } else { "listen" })
        .with("seed", round)
        .with("most", 100)
        // A connector gives up if the victim dies before it listens.
        .with("timeout", if listens { 400 } else { 30_000 });
    let mut victim = actors.start(language)?;
    victim.tell(&victim_order)?;
    let until = Instant::now() + PATIENCE;
    while !(ledger.get(Field::Stopping) == 1 && is_stopped(victim.pid())) {
        if Instant::now() > until {
            return Err("the victim does not reach its handshake".into());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    survivor.actor.tell(&survivor_order)?;
    if !listens {
        // The victim connects, so the survivor must listen first.
        while !path.exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    single_step(victim.pid(), count, step)?;
    victim.reap();
    let side = if listens { "listener" } else { "connector" };
    let description = format!("{} {side} killed after {count} of {step:?}", language.name());
    findings.count(&format!("{side} killed in its handshake"), 1);
    let told = if listens {
        survivor.actor.answer(PATIENCE)?
    } else {
        // The survivor reports a death if the handshake was finished, and otherwise waits for the next client.
        match survivor.actor.answer(Duration::from_millis(30)) {
            Ok(told) => told,
            Err(_) => connect_after_death(&path, round, survivor)?,
        }
    };
    let outcome = format!("{} {}", told.word, told.text("end"));
    match outcome.as_str() {
        "ended dead" | "ended closed" => findings.count("handshakes after which the survivor had a connection", 1),
        "unconnected no-listener" | "unconnected hung-up" | "unconnected no-answer" => {
            findings.count("handshakes that the survivor reported as failed", 1);
        }
        _ => return Err(format!("{description}: {told}").into()),
    }
    if listens {
        // The socket file of the dead victim must not disturb the next listener.
        let order = survivor_order.with("side", "listen").with("timeout", 30_000);
        survivor.actor.tell(&order)?;
        let told = connect_after_death(&path, round, survivor)?;
        if told.text("end") != "closed" || told.get_or("taken", 0) != 3 {
            return Err(format!("after {description}, the next pair: {told}").into());
        }
    } else if told.text("end") == "closed" && told.get_or("taken", 0) != 3 {
        return Err(format!("after {description}, the next one: {told}").into());
    }
    Ok(())
}

/// Connects to the listening survivor, sends three messages, and returns the survivor's answer.
fn connect_after_death(path: &Path, round: u32, survivor: &mut Survivor) -> Result<Order, Box<dyn Error>> {
    let options = Options::new().timeout(Duration::from_secs(3));
    let stream = Stream { seed: round, least: 0, most: 100 };
    let mut chance = fastrand::Rng::with_seed(round.into());
    // The connect fails if the victim had finished its handshake: the survivor is noticing its death, and does not
    // listen.
    if let Ok(mut sender) = Sender::connect_with(path, &options) {
        for number in 0..3 {
            sender.send(&stream.message(number, &mut chance), u32::try_from(number)?)?;
        }
    }
    survivor.actor.answer(PATIENCE)
}
