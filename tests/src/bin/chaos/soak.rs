//! Random traffic for a given time, in slices: two actors on a bus or in calls, or a server with callers that
//! reconnect. Some slices end with a close, in others an actor is killed. Messages are counted after each slice.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon::{Caller, Options};
use tachyon_tests::chaos::order::Order;
use tachyon_tests::chaos::progress_file::ProgressFile;
use tachyon_tests::chaos::stream::SHORTEST_TAGGED;

use super::actors::{Actor, Actors, Language, PATIENCE};
use super::findings::Findings;
use super::round::{Role, Round, Scale};

/// Most bytes and messages of a slice: about a second of the slower language.
const SCALE: Scale = Scale {
    capacities: &[64, 1024, 4096, 65536, 1 << 20],
    bytes: 20_000_000,
    messages: 6_000,
    latest: 600_000,
    at_any_time: 85,
};

/// Most growth of an actor's resident memory after [`WARM`] slices, in kilobytes: the allocators keep some memory.
const MOST_GROWTH: u64 = 32 * 1024;

/// Slices until an actor's memory is final.
const WARM: u32 = 6;

/// Stops a server.
const STOP: u16 = 9;

/// An actor of many slices.
struct PooledActor {
    actor: Actor,
    slices: u32,
    /// Resident kilobytes after [`WARM`] slices.
    warm: Option<u64>,
}

/// The actors of many slices by language and end of the connection, and the most growth of memory by language.
struct ActorPool {
    actors: BTreeMap<(Language, bool), PooledActor>,
    growth: BTreeMap<Language, u64>,
}

impl ActorPool {
    /// The actor of a language at one end of a slice. Starts it if there is none.
    fn next_slice(&mut self, language: Language, far: bool, actors: &mut Actors) -> Result<&mut Actor, Box<dyn Error>> {
        let pooled = match self.actors.entry((language, far)) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => place.insert(PooledActor { actor: actors.start(language)?, slices: 0, warm: None }),
        };
        pooled.slices += 1;
        if pooled.slices > WARM {
            let resident = pooled.actor.ask(&Order::new("footprint"), PATIENCE)?.get_or("resident", 0);
            let warm = *pooled.warm.get_or_insert(resident);
            let growth = self.growth.entry(language).or_default();
            *growth = (*growth).max(resident.saturating_sub(warm));
        }
        Ok(&mut pooled.actor)
    }

    /// The actor that has an order.
    fn existing(&mut self, language: Language, far: bool) -> Result<&mut Actor, Box<dyn Error>> {
        self.actors.get_mut(&(language, far)).map(|pooled| &mut pooled.actor).ok_or("the actor has no order".into())
    }
}

/// Runs slices for `seconds`.
pub(crate) fn soak(
    seconds: u64,
    actors: &mut Actors,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut pool = ActorPool { actors: BTreeMap::new(), growth: BTreeMap::new() };
    let languages = actors.languages();
    let mut slice = 0_u32;
    while Instant::now() < until {
        slice += 1;
        // All pairs of languages in turn.
        let pair = [slice, slice / 2].map(|turn| languages[turn as usize % languages.len()]);
        let outcome = if slice.is_multiple_of(5) {
            reconnecting(slice, pair, &mut pool, actors, folder, chance, findings)
        } else {
            line(slice, pair, &mut pool, actors, folder, chance, findings)
        };
        if let Err(error) = outcome {
            findings.fault(format!("slice {slice}: {error}"));
            if findings.faults.len() > 5 {
                break;
            }
            // The actors may still work on the failed slice.
            pool.actors.clear();
        }
    }
    findings.count("slices", slice.into());
    for (language, growth) in &pool.growth {
        findings.note(format!("most growth of memory, {}: {growth} kB", language.name()));
        if *growth > MOST_GROWTH {
            findings.fault(format!("the memory of a {} actor grew by {growth} kB", language.name()));
        }
    }
}

/// Two actors at the two ends of a connection.
fn line(
    slice: u32,
    pair: [Language; 2],
    pool: &mut ActorPool,
    actors: &mut Actors,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let role = Role::ALL[chance.usize(..4)];
    let orderly = chance.u8(..3) > 0;
    let round = Round::draw(role, pair, orderly, slice, SCALE, folder, chance);
    findings.count(&format!("slices: {}", round.pair()), 1);
    let result = if orderly {
        // Both actors go on to the next slice.
        drop(ProgressFile::create(&folder.join("ledger"))?);
        pool.next_slice(pair[0], false, actors)?.tell(&round.orders[0])?;
        pool.next_slice(pair[1], true, actors)?.tell(&round.orders[1])?;
        let told = pool.existing(pair[1], true)?.answer(PATIENCE * 3)?;
        let mine = pool.existing(pair[0], false)?.answer(PATIENCE * 3)?;
        findings.count("bytes", told.get_or("bytes", 0));
        round.check_orderly_end(&told, &mine, findings)
    } else {
        findings.count("kills", 1);
        let survivor = pool.next_slice(pair[1], true, actors)?;
        round.run(survivor, actors, folder, findings)
    };
    result.map_err(|error| format!("{error}\n  {round}").into())
}

/// Callers that reconnect while their server is killed and started again.
fn reconnecting(
    slice: u32,
    pair: [Language; 2],
    pool: &mut ActorPool,
    actors: &mut Actors,
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
    // Not `async`, whose calls may reach the next server in another order than their numbers.
    let form = ["single", "place", "pipelined", "streams"][chance.usize(..4)];
    let depth = if matches!(form, "pipelined" | "streams") { 24 } else { 1 };
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
    let mut server = actors.start(pair[0])?;
    server.ask(&serve, PATIENCE)?;
    let languages = actors.languages();
    let callers = [(pair[1], true), (languages[0], false)];
    let orders = [call(1, chance), call(2, chance)];
    for ((language, far), order) in callers.iter().zip(&orders) {
        pool.next_slice(*language, *far, actors)?.tell(order)?;
    }
    let kills = chance.u64(..4);
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(chance.u64(..400)));
        server.kill();
        server.reap();
        server = actors.start(pair[0])?;
        server.ask(&serve, PATIENCE)?;
        findings.count("kills", 1);
        findings.count("servers started again for callers that reconnect", 1);
    }
    for ((language, far), order) in callers.iter().zip(&orders) {
        let told = pool.existing(*language, *far)?.answer(PATIENCE * 3)?;
        let [sent, replies, lost]: [u64; 3] = ["sent", "replies", "lost"].map(|what| told.get_or(what, 0));
        findings.count("messages", replies);
        findings.count("bytes", told.get_or("bytes", 0));
        findings.count("calls in flight that failed with the death of their server", lost);
        let whole = told.word == "ended" && told.text("end") == "finished" && sent == count && sent == replies + lost;
        if !whole || lost > kills * depth {
            return Err(format!("{told}\n  after {kills} kills of the server: {order}").into());
        }
        findings.count("calls answered by servers that are killed and started again", replies);
    }
    let mut last = Caller::connect_with(&path, &Options::new().timeout(PATIENCE))?;
    last.call(STOP, b"")?;
    drop(last);
    let told = server.answer_with_word("ended", PATIENCE)?;
    findings.count("orderly stops of servers", 1);
    if told.text("end") == "finished" { Ok(()) } else { Err(told.to_string().into()) }
}
