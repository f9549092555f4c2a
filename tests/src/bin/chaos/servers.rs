//! Deaths of a server with several callers, and deaths of callers of a server that goes on.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tachyon::Caller;
use tachyon_tests::chaos::now;
use tachyon_tests::chaos::order::Order;
use tachyon_tests::chaos::progress_file::{Field, ProgressFile};
use tachyon_tests::chaos::stream::SHORTEST_TAGGED;
use tachyon_tests::proc::Footprint;

use super::actors::{Actor, Actors, Language, PATIENCE, failure};
use super::findings::Findings;
use super::kill::Survivor;
use super::ptrace::{Step, is_stopped, single_step};
use super::retry::{Missed, with_retry};
use super::round::{Role, check_items, is_async, sends_items};

/// The number of callers of a server that dies.
const CALLERS: usize = 3;

/// Longest that a caller may take to connect.
const CONNECT: Duration = Duration::from_secs(30);

/// Rounds between two reports of progress.
const REPORTED: u32 = 50;

/// Returns the number of handled requests of a seed, as in the actor's `server.rs`.
const COUNT: u16 = 7;
/// Returns the number of open streams.
const OPEN: u16 = 8;
/// Stops a server.
const STOP: u16 = 9;

/// Capacity of each ring, in bytes: enough for every call in flight of a caller, so that no reply waits for room.
const RING: usize = 1 << 16;
const MOST: usize = 1500;

/// An order for a caller of a random form and polling mode.
fn calling(path: &Path, seed: u32, chance: &mut fastrand::Rng) -> Order {
    let forms = Role::Caller.forms();
    let form = forms[chance.usize(..forms.len())];
    let mode = ["park", "spin", "adaptive", "spins"][chance.usize(..4)];
    let pause = if chance.bool() { 0 } else { chance.u64(1..600) };
    Order::new("call")
        .with("path", path.display())
        .with("seed", seed)
        .with("form", form)
        .with("mode", mode)
        .with("pause", pause)
        .with("forward", RING)
        .with("reverse", RING)
        .with("least", SHORTEST_TAGGED)
        .with("most", MOST)
        .with("most_reply", MOST)
        .with("timeout", CONNECT.as_millis())
}

fn serving(path: &Path, form: &str, mode: &str, pause: u64) -> Order {
    Order::new("serve")
        .with("path", path.display())
        .with("form", form)
        .with("mode", mode)
        .with("pause", pause)
        .with("forward", RING)
        .with("reverse", RING)
        .with("least", SHORTEST_TAGGED)
        .with("most", MOST)
        .with("most_reply", MOST)
}

fn survivor(actor: &Actor, order: &Order) -> String {
    let waiting = match (order.text("form"), order.text("mode")) {
        (form, _) if is_async(form) && actor.language == Language::Python => "asyncio",
        (form, _) if is_async(form) => "tokio",
        (_, "spin") => "spinning",
        (_, "park") => "parked",
        _ => "adaptive",
    };
    format!("{} caller of a server, {waiting}", actor.language.name())
}

/// Prints the progress of a long run.
#[allow(clippy::print_stderr, reason = "a program that reports")]
fn report(group: &str, round: u32, rounds: u32, findings: &Findings) {
    if round > 0 && round.is_multiple_of(REPORTED) {
        eprintln!("{group}: {round} of {rounds}, {} faults", findings.faults.len());
    }
}

/// Waits until `holds` returns true.
fn wait(what: &str, mut holds: impl FnMut() -> Result<bool, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let until = Instant::now() + PATIENCE;
    while !holds()? {
        if Instant::now() > until {
            return Err(Missed(what.to_owned()).into());
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    Ok(())
}

/// Puts a plain file at the path of a dead server, so that callers that still connect fail instead of waiting for the
/// next server. Dropping it puts the dead server's socket back.
struct BlockedPath {
    path: PathBuf,
    aside: PathBuf,
}

impl BlockedPath {
    fn new(path: &Path) -> std::io::Result<Self> {
        let (path, aside) = (path.to_owned(), path.with_extension("dead"));
        std::fs::rename(&path, &aside)?;
        let closed = Self { path, aside };
        std::fs::write(&closed.path, b"")?;
        Ok(closed)
    }
}

impl Drop for BlockedPath {
    fn drop(&mut self) {
        if std::fs::rename(&self.aside, &self.path).is_err() {
            // Without a socket to put back, the path is left free.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// `rounds` deaths of a server that has several callers.
pub(crate) fn servers_die(
    rounds: u32,
    actors: &mut Actors,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let languages = actors.languages();
        callers.push(Survivor::new(actors.start(languages[number % languages.len()])?));
    }
    for round in 0..rounds {
        report("servers", round, rounds, findings);
        let seed = chance.u64(..);
        let played = with_retry(&format_args!("server round {round}, seed {seed}"), findings, |again, findings| {
            if again {
                for caller in &mut callers {
                    *caller = Survivor::new(actors.start(caller.actor.language)?);
                }
            }
            let mut chance = fastrand::Rng::with_seed(seed);
            server_dies(round, &mut callers, actors, folder, &mut chance, findings)
        });
        if let Err(error) = played {
            let said: Vec<String> = callers
                .iter()
                .map(|caller| {
                    caller.actor.answer(Duration::ZERO).map_or_else(|error| error.to_string(), |told| told.to_string())
                })
                .collect();
            findings.fault(format!("server round {round}, seed {seed}: {error}; its callers: {said:?}"));
            if findings.faults.len() > 5 {
                return Ok(());
            }
            for caller in &mut callers {
                *caller = Survivor::new(actors.start(caller.actor.language)?);
            }
        }
        for caller in &mut callers {
            caller.rounds += 1;
            if let Err(error) = caller.note_footprint() {
                findings.fault(format!("after server round {round}, seed {seed}: {error}"));
                *caller = Survivor::new(actors.start(caller.actor.language)?);
            }
        }
    }
    callers.iter_mut().try_for_each(|caller| caller.check_footprint(findings))
}

fn server_dies(
    round: u32,
    callers: &mut [Survivor],
    actors: &mut Actors,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    // The same path each time: the socket of a dead server must not disturb the next.
    let path = folder.join("server.sock");
    let languages = actors.languages();
    let language = languages[if chance.u8(..3) == 0 { languages.len() - 1 } else { 0 }];
    let ledger = ProgressFile::create(&folder.join("ledger"))?;
    let steps = match chance.u8(..3) {
        0 => None,
        _ => Some(chance.u32(1..if language == Language::Rust { 1500 } else { 5000 })),
    };
    let at_a_point = steps.is_none() && chance.bool();
    let mode = ["park", "adaptive"][chance.usize(..2)];
    let mut order = serving(&path, "one", mode, if chance.bool() { 0 } else { chance.u64(1..600) })
        .with("ledger", folder.join("ledger").display());
    if steps.is_some() || at_a_point {
        order = order.with("die", "handler").with("at", chance.u64(..200));
    }
    if steps.is_some() {
        order = order.with("how", "stop");
    }
    if chance.u8(..4) == 0 {
        order = order.with("fork", 1);
    }
    let mut server = actors.start(language)?;
    server.tell(&order)?;
    server.answer_with_word("serving", PATIENCE)?;
    let orders: Vec<Order> = (0..)
        .zip(callers.iter_mut())
        .map(|(number, caller)| {
            let order = calling(&path, round * 8 + number + 1, chance);
            caller.actor.tell(&order).map(|()| order)
        })
        .collect::<Result<_, _>>()?;
    let killed = match steps {
        Some(steps) => {
            wait("the server's stop", || Ok(ledger.get(Field::Stopping) == 1 && is_stopped(server.pid())))?;
            single_step(server.pid(), steps, Step::Instruction)?;
            let killed = now();
            server.kill();
            killed
        }
        None if at_a_point => {
            wait("the server's death", || Ok(ledger.get(Field::DiedAt) != 0))?;
            ledger.get(Field::DiedAt)
        }
        None => {
            wait("the first request", || Ok(ledger.get(Field::Taken) > 0))?;
            std::thread::sleep(Duration::from_micros(chance.u64(..4000)));
            let killed = now();
            server.kill();
            killed
        }
    };
    let closed = BlockedPath::new(&path)?;
    let (mut replies, mut items, mut uploaded) = (0, 0, 0);
    for (caller, order) in callers.iter().zip(&orders) {
        let told = caller.actor.answer(PATIENCE)?;
        // A caller that had not connected found no server, or a dying one.
        if told.word == "unconnected" {
            findings.count("callers that had not connected when their server died", 1);
            continue;
        }
        let whole = told.get_or("sent", 0) == told.get_or::<u64>("replies", 0) + told.get_or::<u64>("lost", 0);
        if told.word != "ended" || told.text("end") != "dead" || !whole {
            return Err(format!("{told}\n  server: {order}").into());
        }
        replies += told.get_or::<u64>("replies", 0);
        items += told.get_or::<u64>("items", 0);
        uploaded += told.get_or::<u64>("uploaded", 0);
        let noticed = told.get_or("at", 0_u64).saturating_sub(killed.max(told.get_or("asked", 0)));
        findings.noticed(&survivor(&caller.actor, order), noticed);
    }
    drop(closed);
    let child = ledger.get(Field::Child);
    server.reap_with_child(child);
    findings.count("server killed under its callers", 1);
    findings.count("messages", replies);
    let between = format!("callers to {} server", language.name());
    check_items([items, uploaded], &between, &ledger, findings)?;
    let (started, committed) = (ledger.get(Field::Started), ledger.get(Field::Committed));
    if committed <= replies && replies <= started {
        Ok(())
    } else {
        Err(format!("the server had started {started} replies, committed {committed}, callers took {replies}").into())
    }
}

/// A server that survives all rounds, and a caller that stays connected.
struct StandingServer {
    server: Survivor,
    path: PathBuf,
    steady: Caller,
    form: &'static str,
}

/// `rounds` deaths of callers of servers that go on.
pub(crate) fn callers_die(
    rounds: u32,
    actors: &mut Actors,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let mut standing = Vec::new();
    for &language in actors.languages() {
        for form in ["one", "workers", "async"] {
            let path = folder.join(format!("{}-{form}.sock", language.name()));
            let mut server = Survivor::new(actors.start(language)?);
            server.actor.tell(&serving(&path, form, "adaptive", 0))?;
            server.actor.answer_with_word("serving", PATIENCE)?;
            let steady = Caller::connect(&path)?;
            standing.push(StandingServer { server, path, steady, form });
        }
    }
    for one in &mut standing {
        one.steady.call(COUNT, &0_u32.to_le_bytes())?;
    }
    let before: Vec<_> = standing.iter().map(|one| footprint(&one.server.actor)).collect::<Result<_, _>>()?;
    for round in 0..rounds {
        report("callers", round, rounds, findings);
        let chosen = chance.usize(..standing.len());
        let seed = chance.u64(..);
        let played = with_retry(
            &format_args!("round {round} of a server's callers, seed {seed}"),
            findings,
            |again, findings| {
                let mut chance = fastrand::Rng::with_seed(seed);
                // The server counts requests by the seed made of this number, so no two callers share one.
                let number = if again { rounds + round } else { round };
                caller_dies(number, &mut standing[chosen], actors, folder, &mut chance, findings)
            },
        );
        if let Err(error) = played {
            findings.fault(format!("round {round} of a server's callers, seed {seed}: {error}"));
            if findings.faults.len() > 5 {
                return Ok(());
            }
        }
    }
    for (mut one, before) in standing.into_iter().zip(before) {
        let (name, form, rounds) = (one.server.actor.language.name(), one.form, one.server.rounds);
        let mut after = footprint(&one.server.actor)?;
        let until = Instant::now() + Duration::from_secs(5);
        while after != before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            after = footprint(&one.server.actor)?;
        }
        let said = format!("{name} server ({form}) after {rounds} deaths of callers: {before:?} -> {after:?}");
        if after == before {
            findings.note(said);
        } else {
            findings.fault(said);
        }
        one.steady.call(STOP, b"")?;
        let told = one.server.actor.answer_with_word("ended", PATIENCE)?;
        if told.text("end") != "finished" {
            findings.fault(format!("{name} server ({form}): {told}"));
        }
    }
    Ok(())
}

/// The footprint of an actor that is busy serving.
fn footprint(actor: &Actor) -> std::io::Result<Footprint> {
    Footprint::of(actor.pid().as_raw().cast_unsigned())
}

fn caller_dies(
    round: u32,
    standing: &mut StandingServer,
    actors: &mut Actors,
    folder: &Path,
    chance: &mut fastrand::Rng,
    findings: &mut Findings,
) -> Result<(), Box<dyn Error>> {
    let languages = actors.languages();
    let language = languages[if chance.u8(..3) == 0 { languages.len() - 1 } else { 0 }];
    let seed = 100_000 + round;
    let ledger = ProgressFile::create(&folder.join("ledger"))?;
    let mut order = calling(&standing.path, seed, chance).with("ledger", folder.join("ledger").display());
    let form = match order.text("form") {
        "async" => "pipelined".to_owned(),
        form => form.trim_start_matches("async-").to_owned(),
    };
    let points = Role::Caller.points(&form);
    order = order.with("form", form);
    let point = points[chance.usize(..points.len())];
    let kind = chance.u8(..3);
    if kind > 0 {
        order = order.with("die", point).with("at", chance.u64(..60));
    }
    if kind == 2 {
        order = order.with("how", "stop");
    }
    if chance.u8(..4) == 0 {
        order = order.with("fork", 1);
    }
    let mut victim = actors.start(language)?;
    victim.tell(&order)?;
    let pid = victim.pid();
    let reach = |what, holds: &dyn Fn() -> bool| {
        wait(what, || Ok(holds())).map_err(|missed| failure(&[&victim]).unwrap_or(missed))
    };
    let killed = match kind {
        0 => {
            reach("the first call", &|| ledger.get(Field::Committed) > 0)?;
            std::thread::sleep(Duration::from_micros(chance.u64(..4000)));
            let killed = now();
            victim.kill();
            killed
        }
        1 => {
            reach("the caller's death", &|| ledger.get(Field::DiedAt) != 0)?;
            ledger.get(Field::DiedAt)
        }
        _ => {
            reach("the caller's stop", &|| ledger.get(Field::Stopping) == 1 && is_stopped(pid))?;
            single_step(pid, chance.u32(1..if language == Language::Rust { 1200 } else { 5000 }), Step::Instruction)?;
            let killed = now();
            victim.kill();
            killed
        }
    };
    standing.server.rounds += 1;
    let left = loop {
        let left = standing.server.actor.answer_with_word("left", PATIENCE)?;
        if left.get_or("pid", 0) == pid.as_raw() {
            break left;
        }
    };
    let child = ledger.get(Field::Child);
    victim.reap_with_child(child);
    let name = format!("{} server, {}", standing.server.actor.language.name(), standing.form);
    findings.count(&format!("caller killed under a server ({name})"), 1);
    if left.text("how") != "dead" {
        return Err(format!("{name} reports `{}`: {order}", left.text("how")).into());
    }
    findings.noticed(&name, left.get_or("at", 0_u64).saturating_sub(killed));
    // The server answers other callers, and has handled every committed request of the dead caller. The coroutine or
    // the thread of a departed caller is cancelled, perhaps before it begins.
    let (started, committed) = (ledger.get(Field::Started), ledger.get(Field::Committed));
    let reply = standing.steady.call_timeout(COUNT, &seed.to_le_bytes(), PATIENCE)?;
    let handled = u64::from_le_bytes((*reply).try_into()?);
    drop(reply);
    findings.count("messages", handled);
    let may_not_begin = standing.form == "async" || sends_items(order.text("form"));
    if !((committed <= handled || may_not_begin) && handled <= started) {
        let counts = format!("its caller had started {started}, committed {committed}, {handled} were handled");
        return Err(format!("{name}: {counts}: {order}").into());
    }
    let closed = Instant::now() + PATIENCE;
    while *standing.steady.call_timeout(OPEN, b"", PATIENCE)? != 0_u64.to_le_bytes() {
        if Instant::now() > closed {
            return Err(format!("{name} keeps the streams of its dead caller open: {order}").into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
