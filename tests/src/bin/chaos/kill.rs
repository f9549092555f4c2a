//! Rounds of deaths, and what the survivors have of the system afterwards.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon_tests::chaos::order::Order;

use super::company::{Actor, Company, Language, PATIENCE};
use super::findings::Findings;
use super::missed::twice;
use super::play::{Part, Round, Scale};
use super::{handshakes, servers};

/// Rounds until a survivor has everything it keeps for good.
const WARM: u32 = 12;

/// Mappings that the allocators of a survivor may have made since it was warm, however many rounds it has seen.
const ALLOCATORS: u64 = 8;

const SCALE: Scale =
    Scale { capacities: &[64, 4096, 4096, 65536], bytes: 100_000, messages: 400, latest: 3000, at_any_time: 30 };

/// From so many rounds on, the 99th percentile of the time until a death is noticed is worth its name.
const ENOUGH: u32 = 500;

/// Everybody's deaths, `rounds` of each.
pub(crate) fn all(
    rounds: u32,
    only: Option<&str>,
    company: &mut Company,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    type Group = fn(u32, &mut Company, &Path, &mut fastrand::Rng, &mut Findings) -> Result<(), Box<dyn Error>>;
    let groups: [(&str, Group); 4] = [
        ("pairs", pairs),
        ("servers", servers::under_callers),
        ("callers", servers::above_callers),
        ("handshakes", handshakes::rounds),
    ];
    for (name, group) in groups {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let begun = Instant::now();
        group(rounds, company, folder, chance, findings)?;
        findings.note(format!("{name}: {:.0} s", begun.elapsed().as_secs_f64()));
    }
    let limit = if rounds >= ENOUGH { 100.0 } else { 2000.0 };
    if findings.p99_ms() > limit {
        findings.complain(format!("the 99th percentile is {:.1} ms, more than {limit} ms", findings.p99_ms()));
    }
    Ok(())
}

/// Deaths of senders, receivers, callers and callees, `rounds` of each.
pub(crate) fn pairs(
    rounds: u32,
    company: &mut Company,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let mut survivors = BTreeMap::new();
    for &language in company.languages() {
        survivors.insert(language, Veteran::new(company.engage(language)?));
    }
    let mut seed = 0;
    for part in Part::ALL {
        let mut killed = 0;
        while killed < rounds {
            seed += 1;
            let orderly = seed % 11 == 0;
            let languages = draw_languages(company, chance);
            let round = Round::draw(part, languages, orderly, seed, SCALE, folder, chance);
            let Some(survivor) = survivors.get_mut(&languages[1]) else { continue };
            survivor.rounds += 1;
            let played = twice(&format_args!("round {seed}"), findings, |again, findings| {
                if again {
                    *survivor = Veteran::new(company.engage(languages[1])?);
                }
                round.play(&mut survivor.actor, company, folder, findings)
            });
            if let Err(error) = played {
                findings.complain(format!("round {seed}: {error}\n  {round}"));
                if findings.wrong.len() >= 10 {
                    return Err("too much is wrong to go on".into());
                }
                *survivor = Veteran::new(company.engage(languages[1])?);
            }
            survivor.look()?;
            killed += u32::from(!orderly);
        }
    }
    for survivor in survivors.values_mut() {
        survivor.check(findings)?;
    }
    Ok(())
}

fn draw_languages(company: &Company, chance: &mut fastrand::Rng) -> [Language; 2] {
    let languages = company.languages();
    // A victim has to be started anew each time, which takes an interpreter far longer.
    let victim = if chance.u8(..3) == 0 { languages.len() - 1 } else { 0 };
    [languages[victim], languages[chance.usize(..languages.len())]]
}

/// A survivor of many rounds, and what it had at first.
pub(crate) struct Veteran {
    pub(crate) actor: Actor,
    pub(crate) rounds: u32,
    before: Option<Order>,
}

impl Veteran {
    pub(crate) fn new(actor: Actor) -> Self {
        Self { actor, rounds: 0, before: None }
    }

    /// Notes what it has, once it is warm.
    pub(crate) fn look(&mut self) -> Result<(), Box<dyn Error>> {
        if self.before.is_none() && self.rounds >= WARM {
            self.before = Some(self.actor.ask(&Order::new("footprint"), PATIENCE)?);
        }
        Ok(())
    }

    /// Checks that it has no more than then.
    pub(crate) fn check(&mut self, findings: &mut Findings) -> Result<(), Box<dyn Error>> {
        let Some(before) = &self.before else { return Ok(()) };
        let until = Instant::now() + Duration::from_secs(5);
        let who = self.actor.language.name();
        loop {
            let after = self.actor.ask(&Order::new("footprint"), PATIENCE)?;
            let level = ["descriptors", "segments", "threads"].iter().all(|what| before.text(what) == after.text(what))
                && after.get_or("mappings", 0) <= before.get_or("mappings", 0) + ALLOCATORS;
            if level || Instant::now() > until {
                findings.note(format!("{who} survivor after {} rounds: {before} -> {after}", self.rounds));
                if !level {
                    findings.complain(format!("the {who} survivor had {before}, now {after}"));
                }
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
