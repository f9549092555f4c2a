//! Rounds of deaths, and the footprint of the survivors afterwards.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon_tests::chaos::order::Order;

use super::actors::{Actor, Actors, Language, PATIENCE};
use super::findings::Findings;
use super::retry::with_retry;
use super::round::{Role, Round, Scale};
use super::{handshakes, servers};

/// Rounds until a survivor's footprint is final.
const WARM: u32 = 12;

/// Mappings that the C library of a survivor may add after [`WARM`] rounds: it keeps the stacks of ended threads, each
/// with a guard, and a heap for threads that run at the same time.
const ALLOCATORS: u64 = 96;

const SCALE: Scale =
    Scale { capacities: &[64, 4096, 4096, 65536], bytes: 100_000, messages: 400, latest: 3000, at_any_time: 30 };

/// Fewest rounds for a meaningful 99th percentile of the time until a death is noticed.
const ENOUGH: u32 = 500;

/// Deaths of every group, `rounds` of each role.
pub(crate) fn all(
    rounds: u32,
    only: Option<&str>,
    actors: &mut Actors,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    type Group = fn(u32, &mut Actors, &Path, &mut fastrand::Rng, &mut Findings) -> Result<(), Box<dyn Error>>;
    let groups: [(&str, Group); 4] = [
        ("pairs", pairs),
        ("servers", servers::servers_die),
        ("callers", servers::callers_die),
        ("handshakes", handshakes::rounds),
    ];
    for (name, group) in groups {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let begun = Instant::now();
        group(rounds, actors, folder, chance, findings)?;
        findings.note(format!("{name}: {:.0} s", begun.elapsed().as_secs_f64()));
    }
    let limit = if rounds >= ENOUGH { 100.0 } else { 2000.0 };
    if findings.p99_ms() > limit {
        findings.fault(format!("the 99th percentile is {:.1} ms, more than {limit} ms", findings.p99_ms()));
    }
    Ok(())
}

/// Deaths of senders, receivers, callers and callees, `rounds` of each.
pub(crate) fn pairs(
    rounds: u32,
    actors: &mut Actors,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let mut survivors = BTreeMap::new();
    for &language in actors.languages() {
        survivors.insert(language, Survivor::new(actors.start(language)?));
    }
    let mut seed = 0;
    for role in Role::ALL {
        let mut killed = 0;
        while killed < rounds {
            seed += 1;
            let orderly = seed % 11 == 0;
            let languages = draw_languages(actors, chance);
            let round = Round::draw(role, languages, orderly, seed, SCALE, folder, chance);
            let Some(survivor) = survivors.get_mut(&languages[1]) else { continue };
            survivor.rounds += 1;
            let played = with_retry(&format_args!("round {seed}"), findings, |again, findings| {
                if again {
                    *survivor = Survivor::new(actors.start(languages[1])?);
                }
                round.run(&mut survivor.actor, actors, folder, findings)
            });
            if let Err(error) = played {
                findings.fault(format!("round {seed}: {error}\n  {round}"));
                if findings.faults.len() >= 10 {
                    return Err("too many faults to go on".into());
                }
                *survivor = Survivor::new(actors.start(languages[1])?);
            }
            survivor.note_footprint()?;
            killed += u32::from(!orderly);
        }
    }
    for survivor in survivors.values_mut() {
        survivor.check_footprint(findings)?;
    }
    Ok(())
}

fn draw_languages(actors: &Actors, chance: &mut fastrand::Rng) -> [Language; 2] {
    let languages = actors.languages();
    // Fewer Python victims: each round starts a new victim, and Python takes far longer to start.
    let victim = if chance.u8(..3) == 0 { languages.len() - 1 } else { 0 };
    [languages[victim], languages[chance.usize(..languages.len())]]
}

/// An actor that survives many rounds, and its footprint after [`WARM`] rounds.
pub(crate) struct Survivor {
    pub(crate) actor: Actor,
    pub(crate) rounds: u32,
    before: Option<Order>,
}

impl Survivor {
    pub(crate) fn new(actor: Actor) -> Self {
        Self { actor, rounds: 0, before: None }
    }

    /// Notes the footprint after [`WARM`] rounds.
    pub(crate) fn note_footprint(&mut self) -> Result<(), Box<dyn Error>> {
        if self.before.is_none() && self.rounds >= WARM {
            self.before = Some(self.actor.ask(&Order::new("footprint"), PATIENCE)?);
        }
        Ok(())
    }

    /// Checks that the footprint has not grown.
    pub(crate) fn check_footprint(&mut self, findings: &mut Findings) -> Result<(), Box<dyn Error>> {
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
                    findings.fault(format!("the {who} survivor had {before}, now {after}"));
                }
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
