//! Random traffic for as long as one likes, in slices: two actors on a one-way bus or in calls, or a server under callers
//! that connect again; some slices end in good order, in others somebody is killed. After each slice everything is
//! counted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon::{Caller, Options};
use tachyon_tests::chaos::ledger::Ledger;
use tachyon_tests::chaos::numbered::SHORTEST_TAGGED;
use tachyon_tests::chaos::order::Order;

use super::company::{Actor, Company, Language, PATIENCE};
use super::findings::Findings;
use super::play::{Part, Round, Scale};

/// Most bytes and messages of an orderly slice: a second or so of the slower language.
const SCALE: Scale = Scale {
    capacities: &[64, 1024, 4096, 65536, 1 << 20],
    bytes: 20_000_000,
    messages: 6_000,
    latest: 600_000,
    at_any_time: 85,
};

/// How much more memory an actor may have at the end than when it was warm, in kilobytes: what the allocators keep.
const MOST_GROWTH: u64 = 32 * 1024;

/// Slices until an actor has everything it keeps for good.
const WARM: u32 = 6;

/// Ends a server.
const STOP: u16 = 9;

/// One that plays slice after slice, until it is killed.
struct Regular {
    actor: Actor,
    slices: u32,
    /// Kilobytes it had when it was warm.
    warm: Option<u64>,
}

/// The regulars, and how much the memory of those that are gone had grown.
struct Cast {
    regulars: BTreeMap<(Language, bool), Regular>,
    growth: BTreeMap<Language, u64>,
}

impl Cast {
    /// The one that plays a language's part on this side of slices.
    fn of(&mut self, language: Language, far: bool, company: &mut Company) -> Result<&mut Actor, Box<dyn Error>> {
        let regular = match self.regulars.entry((language, far)) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => place.insert(Regular { actor: company.engage(language)?, slices: 0, warm: None }),
        };
        regular.slices += 1;
        if regular.slices > WARM {
            let resident = regular.actor.ask(&Order::new("footprint"), PATIENCE)?.get_or("resident", 0);
            let warm = *regular.warm.get_or_insert(resident);
            let growth = self.growth.entry(language).or_default();
            *growth = (*growth).max(resident.saturating_sub(warm));
        }
        Ok(&mut regular.actor)
    }

    /// One that was told something before.
    fn of_old(&mut self, language: Language, far: bool) -> Result<&mut Actor, Box<dyn Error>> {
        self.regulars.get_mut(&(language, far)).map(|regular| &mut regular.actor).ok_or("it was told nothing".into())
    }
}

/// Soaks for so many seconds.
pub(crate) fn soak(
    seconds: u64,
    company: &mut Company,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut cast = Cast { regulars: BTreeMap::new(), growth: BTreeMap::new() };
    let languages = company.languages();
    let mut slice = 0_u32;
    while Instant::now() < until {
        slice += 1;
        // All pairs in turn, each with everything else.
        let pair = [slice, slice / 2].map(|turn| languages[turn as usize % languages.len()]);
        let outcome = if slice.is_multiple_of(5) {
            reconnecting(slice, pair, &mut cast, company, folder, chance, findings)
        } else {
            line(slice, pair, &mut cast, company, folder, chance, findings)
        };
        if let Err(error) = outcome {
            findings.complain(format!("slice {slice}: {error}"));
            if findings.wrong.len() > 5 {
                break;
            }
            // Whatever they are at now is of no more use.
            cast.regulars.clear();
        }
    }
    findings.count("slices", slice.into());
    for (language, growth) in &cast.growth {
        findings.note(format!("most growth of memory, {}: {growth} kB", language.name()));
        if *growth > MOST_GROWTH {
            findings.complain(format!("the memory of a {} actor grew by {growth} kB", language.name()));
        }
    }
}

/// Two actors at the two ends of a bus, or of calls.
fn line(
    slice: u32,
    pair: [Language; 2],
    cast: &mut Cast,
    company: &mut Company,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let part = Part::ALL[chance.usize(..4)];
    let orderly = chance.u8(..3) > 0;
    let round = Round::draw(part, pair, orderly, slice, SCALE, folder, chance);
    findings.count(&format!("slices: {}", round.pair()), 1);
    let result = if orderly {
        // Both live on. Nobody keeps notes.
        drop(Ledger::create(&folder.join("ledger"))?);
        cast.of(pair[0], false, company)?.tell(&round.orders[0])?;
        cast.of(pair[1], true, company)?.tell(&round.orders[1])?;
        let told = cast.of_old(pair[1], true)?.hear(PATIENCE * 3)?;
        let mine = cast.of_old(pair[0], false)?.hear(PATIENCE * 3)?;
        findings.count("bytes", told.get_or("bytes", 0));
        round.check_farewell(&told, &mine, findings)
    } else {
        findings.count("kills", 1);
        let survivor = cast.of(pair[1], true, company)?;
        round.play(survivor, company, folder, findings)
    };
    result.map_err(|error| format!("{error}\n  {round}").into())
}

/// Callers that connect again, under a server that is killed and started anew under them.
fn reconnecting(
    slice: u32,
    pair: [Language; 2],
    cast: &mut Cast,
    company: &mut Company,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let path = folder.join("server.sock");
    let most = [200, 4000, 60_000][chance.usize(..3)];
    let forms = ["one", "workers", "async"];
    let serve = Order::new("serve")
        .with("path", path.display())
        .with("form", forms[chance.usize(..3)])
        .with("forward", 1 << 16)
        .with("reverse", 1 << 16)
        .with("least", SHORTEST_TAGGED)
        .with("most", most)
        .with("most_reply", most)
        .with("resume", 1);
    let count = 1_000 + chance.u64(..3_000);
    // asyncio's calls may be sent to the next server in another order than they were numbered in.
    let form = ["single", "place", "pipelined"][chance.usize(..3)];
    let depth = if form == "pipelined" { 24 } else { 1 };
    let call = |number: u32, chance: &mut fastrand::Rng| {
        Order::new("call")
            .with("path", path.display())
            .with("seed", slice * 8 + number)
            .with("form", form)
            .with("mode", ["park", "adaptive", "spins"][chance.usize(..3)])
            .with("pause", [0, 300][chance.usize(..2)])
            .with("least", SHORTEST_TAGGED)
            .with("most", most)
            .with("most_reply", most)
            .with("count", count)
            .with("reconnect", 1)
    };
    let mut server = company.engage(pair[0])?;
    server.ask(&serve, PATIENCE)?;
    let languages = company.languages();
    let callers = [(pair[1], true), (languages[0], false)];
    let orders = [call(1, chance), call(2, chance)];
    for ((language, far), order) in callers.iter().zip(&orders) {
        cast.of(*language, *far, company)?.tell(order)?;
    }
    let kills = chance.u64(..4);
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(chance.u64(..400)));
        server.kill();
        server.bury();
        server = company.engage(pair[0])?;
        server.ask(&serve, PATIENCE)?;
        findings.count("kills", 1);
        findings.count("servers started anew under callers that connect again", 1);
    }
    for ((language, far), order) in callers.iter().zip(&orders) {
        let told = cast.of_old(*language, *far)?.hear(PATIENCE * 3)?;
        let [sent, replies, lost]: [u64; 3] = ["sent", "replies", "lost"].map(|what| told.get_or(what, 0));
        findings.count("messages", replies);
        findings.count("bytes", told.get_or("bytes", 0));
        findings.count("calls in flight that ended with their server, as errors", lost);
        let whole = told.word == "ended" && told.text("end") == "finished" && sent == count && sent == replies + lost;
        if !whole || lost > kills * depth {
            return Err(format!("{told}\n  after {kills} kills of the server: {order}").into());
        }
        findings.count("calls answered by servers that are killed and started anew", replies);
    }
    let mut last = Caller::connect_with(&path, &Options::new().timeout(PATIENCE))?;
    last.call(STOP, b"")?;
    drop(last);
    let told = server.hear_word("ended", PATIENCE)?;
    findings.count("orderly stops of servers", 1);
    if told.text("end") == "finished" { Ok(()) } else { Err(told.to_string().into()) }
}
