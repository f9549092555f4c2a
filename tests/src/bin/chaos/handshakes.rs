//! Deaths between the messages of a handshake, on either side, at every system call and between.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon::{Options, Sender};
use tachyon_tests::chaos::ledger::{Ledger, Word};
use tachyon_tests::chaos::numbered::Stream;
use tachyon_tests::chaos::order::Order;

use super::company::{Company, Language, PATIENCE};
use super::findings::Findings;
use super::grip::{Step, has_stopped, lead};
use super::kill::Veteran;

/// Steps that take a handshake, and then some.
fn steps(language: Language, chance: &mut fastrand::Rng) -> (Step, u32) {
    match (chance.u8(..4), language) {
        (0, Language::Rust) => (Step::Instruction, chance.u32(1..8000)),
        (0, Language::Python) => (Step::Instruction, chance.u32(1..12_000)),
        _ => (Step::SystemCall, chance.u32(1..90)),
    }
}

/// `rounds` deaths, half of them of the side that connects, half of the side that listens.
pub(crate) fn rounds(
    rounds: u32,
    company: &mut Company,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let mut survivors = Vec::new();
    for &language in company.languages() {
        survivors.push(Veteran::new(company.engage(language)?));
    }
    for round in 0..rounds {
        let chosen = chance.usize(..survivors.len());
        let survivor = &mut survivors[chosen];
        survivor.rounds += 1;
        if let Err(error) = one(round, survivor, company, folder, chance, findings) {
            findings.complain(format!("handshake round {round}: {error}"));
            if findings.wrong.len() > 5 {
                return Ok(());
            }
            let language = survivor.actor.language;
            *survivor = Veteran::new(company.engage(language)?);
        }
        survivor.look()?;
    }
    survivors.iter_mut().try_for_each(|survivor| survivor.check(findings))
}

fn one(
    round: u32,
    survivor: &mut Veteran,
    company: &mut Company,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let languages = company.languages();
    let language = languages[if chance.u8(..3) == 0 { languages.len() - 1 } else { 0 }];
    let path = folder.join("handshake.sock");
    let ledger = Ledger::create(&folder.join("ledger"))?;
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
        // Whoever connects to one who dies before listening has to give up some time.
        .with("timeout", if listens { 400 } else { 30_000 });
    let mut victim = company.engage(language)?;
    victim.tell(&victim_order)?;
    let until = Instant::now() + PATIENCE;
    while !(ledger.get(Word::Stopping) == 1 && has_stopped(victim.pid())) {
        if Instant::now() > until {
            return Err("the victim does not get to its handshake".into());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    survivor.actor.tell(&survivor_order)?;
    if !listens {
        // There has to be somebody to connect to.
        while !path.exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    lead(victim.pid(), count, step)?;
    victim.bury();
    let side = if listens { "listener" } else { "connector" };
    let description = format!("{} {side} led for {count} of {step:?}", language.name());
    findings.count(&format!("{side} killed in its handshake"), 1);
    let told = if listens {
        survivor.actor.hear(PATIENCE)?
    } else {
        // Either the victim got through and is mourned, or its listener waits for the next one.
        match survivor.actor.hear(Duration::from_millis(30)) {
            Ok(told) => told,
            Err(_) => after_the_dead(&path, round, survivor)?,
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
        // What the dead one left at the path is in nobody's way.
        let order = survivor_order.with("side", "listen").with("timeout", 30_000);
        survivor.actor.tell(&order)?;
        let told = after_the_dead(&path, round, survivor)?;
        if told.text("end") != "closed" || told.get_or("taken", 0) != 3 {
            return Err(format!("after {description}, the next pair: {told}").into());
        }
    } else if told.text("end") == "closed" && told.get_or("taken", 0) != 3 {
        return Err(format!("after {description}, the next one: {told}").into());
    }
    Ok(())
}

/// Connects to a listening survivor as one who lives, and gives what it says at the end.
fn after_the_dead(path: &Path, round: u32, survivor: &mut Veteran) -> Result<Order, Box<dyn Error>> {
    let options = Options::new().timeout(Duration::from_secs(3));
    let stream = Stream { seed: round, least: 0, most: 100 };
    let mut chance = fastrand::Rng::with_seed(round.into());
    // Without a connection the victim got through after all: its death is being noticed just now, and nobody listens.
    if let Ok(mut sender) = Sender::connect_with(path, &options) {
        for number in 0..3 {
            sender.send(&stream.message(number, &mut chance), u32::try_from(number)?)?;
        }
    }
    survivor.actor.hear(PATIENCE)
}
