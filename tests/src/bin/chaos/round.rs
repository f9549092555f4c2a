//! One round: a pair of actors, one of which dies or closes, and the checks afterwards.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon_tests::chaos::now;
use tachyon_tests::chaos::order::Order;
use tachyon_tests::chaos::progress_file::{Field, ProgressFile};
use tachyon_tests::chaos::stream::SHORTEST_TAGGED;

use super::actors::{Actor, Actors, Language, PATIENCE, failure};
use super::findings::Findings;
use super::ptrace::{Step, is_stopped, single_step};
use super::retry::Missed;

/// A death that is noticed later, in nanoseconds, is noted.
const LATE: u64 = 100_000_000;

/// The role of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Receiver,
    Caller,
    Callee,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::Sender, Self::Receiver, Self::Caller, Self::Callee];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
            Self::Caller => "caller",
            Self::Callee => "callee",
        }
    }

    /// The word of the order.
    fn word(self) -> &'static str {
        match self {
            Self::Sender => "send",
            Self::Receiver => "receive",
            Self::Caller => "call",
            Self::Callee => "answer",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }

    /// The forms of the role. The ones of an event loop are last: they cannot listen, and are not killed step by step.
    pub(crate) fn forms(self) -> &'static [&'static str] {
        match self {
            Self::Sender => &["copy", "place"],
            Self::Receiver => &["guard", "iterate", "batch"],
            Self::Caller => &[
                "single",
                "place",
                "pipelined",
                "streams",
                "two-way",
                "client",
                "async",
                "async-streams",
                "async-two-way",
                "async-client",
            ],
            Self::Callee => &["dispatcher", "hand", "async"],
        }
    }

    /// The points of a form where the actor may die.
    pub(crate) fn points(self, form: &str) -> &'static [&'static str] {
        match (self, form) {
            (Self::Sender, "place") => &["before", "reserved", "committed"],
            (Self::Caller, "place") => &["before", "reserved", "called", "replied"],
            (Self::Sender, _) => &["before", "committed"],
            (Self::Receiver, "batch") => &["taken"],
            (Self::Receiver, _) => &["taken", "released"],
            (Self::Caller, "streams" | "two-way" | "client") => &["before", "called", "item", "replied"],
            (Self::Caller, _) => &["before", "called", "replied"],
            (Self::Callee, "streams" | "threads") => &["handler", "item"],
            (Self::Callee, "hand") => &["taken", "handler", "reply", "answered"],
            (Self::Callee, _) => &["handler"],
        }
    }
}

/// Whether a form runs on an event loop.
pub(crate) fn is_async(form: &str) -> bool {
    form.starts_with("async")
}

/// Whether a caller's form opens streams.
pub(crate) fn has_streams(form: &str) -> bool {
    form.ends_with("streams") || sends_items(form)
}

/// Whether a caller's form opens streams that a thread or a task serves, which may begin after the next request.
pub(crate) fn sends_items(form: &str) -> bool {
    form.ends_with("two-way") || form.ends_with("client")
}

/// How the victim dies.
#[derive(Debug, Clone)]
pub(crate) enum Death {
    /// Kills itself at a point.
    Point(&'static str),
    /// Killed a number of instructions after a point.
    Steps(&'static str, u32),
    /// Killed a number of microseconds after it has connected.
    Later(u64),
    /// Closes after a number of messages.
    None,
}

/// The orders of a round.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) role: Role,
    pub(crate) languages: [Language; 2],
    forms: [&'static str; 2],
    modes: [&'static str; 2],
    pub(crate) death: Death,
    pub(crate) orders: [Order; 2],
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [victim, survivor] = self.languages.map(Language::name);
        writeln!(
            f,
            "{victim} {} dies ({:?}), {survivor} {} survives",
            self.role.name(),
            self.death,
            self.role.other().name()
        )?;
        write!(f, "    victim: {}\n    survivor: {}", self.orders[0], self.orders[1])
    }
}

/// Checks that the callers of a callee that died took every item that the callee had published, and that the callee
/// took no more items of client streams than its callers had sent. `between` names the two sides.
pub(crate) fn check_items(
    [taken, uploaded]: [u64; 2],
    between: &str,
    ledger: &ProgressFile,
    findings: &mut Findings,
) -> Result<(), String> {
    let [started, committed, received] =
        [Field::ItemsStarted, Field::ItemsCommitted, Field::ItemsTaken].map(|word| ledger.get(word));
    findings.count("items of streams", taken);
    count_uploaded(uploaded, between, findings);
    if committed <= taken && taken <= started && received <= uploaded {
        Ok(())
    } else {
        Err(format!(
            "the callee had made {started} items, published {committed}, its callers took {taken}; it had taken \
             {received} items of client streams, its callers sent {uploaded}"
        ))
    }
}

fn count_uploaded(items: u64, between: &str, findings: &mut Findings) {
    if items > 0 {
        findings.count(&format!("items of client streams, {between}"), items);
    }
}

/// The scale of a round, larger for a soak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) capacities: &'static [usize],
    /// Approximate bytes of a round that ends with a close.
    pub(crate) bytes: u64,
    /// Most messages of a round that ends with a close.
    pub(crate) messages: u64,
    /// Latest death, in microseconds.
    pub(crate) latest: u64,
    /// The percentage of deaths that come at a random time instead of a point.
    pub(crate) at_any_time: u32,
}

impl Round {
    /// A random round. `languages` are the victim's and the survivor's. An `orderly` round ends with a close.
    pub(crate) fn draw(
        role: Role,
        languages: [Language; 2],
        orderly: bool,
        seed: u32,
        scale: Scale,
        folder: &Path,
        chance: &mut fastrand::Rng,
    ) -> Self {
        let roles = [role, role.other()];
        let pick = |from: &[&'static str], chance: &mut fastrand::Rng| from[chance.usize(..from.len())];
        let mut forms = roles.map(|role| pick(role.forms(), chance));
        let victim_loops = orderly && chance.bool();
        if is_async(forms[0]) && !victim_loops {
            forms[0] = role.forms()[0];
        }
        // In Rust, only a server runs on an event loop. `servers` has rounds for it.
        for (form, (role, language)) in forms.iter_mut().zip(roles.into_iter().zip(languages)) {
            if role == Role::Callee && language == Language::Rust && *form == "async" {
                *form = "hand";
            }
        }
        let modes = [0; 2].map(|_| pick(&["park", "spin", "adaptive", "spins"], chance));
        let mut listens = [chance.bool(), false];
        if is_async(forms[0]) {
            listens[0] = false;
        }
        listens[1] = !listens[0];
        if is_async(forms[1]) {
            listens = [true, false];
        }
        if forms.map(is_async) == [true; 2] {
            forms[1] = roles[1].forms()[0];
            listens = [false, true];
        }
        // A callee by hand serves no streams.
        let streams = forms.map(has_streams).contains(&true);
        for form in forms.iter_mut().filter(|form| streams && **form == "hand") {
            *form = "dispatcher";
        }
        // The requests of streams with items of the caller have tags: their threads begin in any order.
        let threads = forms.map(sends_items).contains(&true);
        for form in forms.iter_mut().filter(|form| threads && **form == "dispatcher") {
            *form = "threads";
        }
        let least = if threads { SHORTEST_TAGGED } else { 0 };
        let capacity = |chance: &mut fastrand::Rng| scale.capacities[chance.usize(..scale.capacities.len())];
        let (forward, reverse) = (capacity(chance), capacity(chance));
        let largest = chance.usize(..3);
        let most = if largest == 0 { forward.min(200) } else { forward };
        let serves_streams = role == Role::Callee && streams;
        let point = pick(role.points(if serves_streams { "streams" } else { forms[0] }), chance);
        let death = match chance.u32(..100) {
            _ if orderly => Death::None,
            share if share < scale.at_any_time => Death::Later(chance.u64(..scale.latest)),
            share if share % 3 == 0 => Death::Point(point),
            _ => {
                let most = if languages[0] == Language::Rust { 1200 } else { 5000 };
                Death::Steps(point, chance.u32(1..most))
            }
        };
        let at = chance.u64(..60);
        let typical = (most as u64 / 8 + 130).min(most as u64 + 1);
        let count = (scale.bytes / typical).clamp(20, scale.messages) + chance.u64(..20);
        let mut orders = [0, 1].map(|who| {
            let pause = if chance.u8(..3) == 0 { chance.u64(1..600) } else { 0 };
            Order::new(roles[who].word())
                .with("path", folder.join("line.sock").display())
                .with("side", if listens[who] { "listen" } else { "connect" })
                .with("forward", forward)
                .with("reverse", reverse)
                .with("least", least)
                .with("most", most)
                .with("most_reply", reverse)
                .with("seed", seed)
                .with("mode", modes[who])
                .with("form", forms[who])
                .with("pause", pause)
        });
        orders[0] = orders[0].clone().with("ledger", folder.join("ledger").display());
        if role != Role::Callee || forms[0] != "async" {
            orders[0] = match death {
                Death::Point(point) => orders[0].clone().with("die", point).with("at", at),
                Death::Steps(point, _) => orders[0].clone().with("die", point).with("at", at).with("how", "stop"),
                Death::None if !(role == Role::Callee || role == Role::Receiver) => {
                    orders[0].clone().with("count", count)
                }
                Death::None | Death::Later(_) => orders[0].clone(),
            };
        }
        if matches!(death, Death::None) && matches!(role, Role::Callee | Role::Receiver) {
            // A receiving victim leaves when the survivor closes after `count` messages.
            orders[1] = orders[1].clone().with("count", count);
        }
        if !orderly && chance.u8(..4) == 0 {
            orders[0] = orders[0].clone().with("fork", 1);
        }
        Self { role, languages, forms, modes, death, orders }
    }

    /// The two roles, the sending one first.
    pub(crate) fn pair(&self) -> String {
        let [mine, other] = self.languages.map(Language::name);
        let roles = (self.role.name(), self.role.other().name());
        match self.role {
            Role::Sender | Role::Caller => format!("{mine} {} to {other} {}", roles.0, roles.1),
            Role::Receiver | Role::Callee => format!("{other} {} to {mine} {}", roles.1, roles.0),
        }
    }

    /// The two roles, with the forms of caller and callee.
    fn pair_and_forms(&self) -> String {
        let [mine, other] = self.forms;
        let (caller, callee) = if self.role == Role::Caller { (mine, other) } else { (other, mine) };
        format!("{} ({caller} to {callee})", self.pair())
    }

    /// The survivor's row in the table of times.
    fn survivor(&self) -> String {
        let waiting = match (self.forms[1], self.modes[1]) {
            (form, _) if is_async(form) && self.languages[1] == Language::Python => "asyncio",
            (form, _) if is_async(form) => "tokio",
            (_, "spin") => "spinning",
            (_, "park") => "parked",
            _ => "adaptive",
        };
        format!("{} {}, {waiting}", self.languages[1].name(), self.role.other().name())
    }

    /// Runs the round, and checks the survivor's answer.
    pub(crate) fn run(
        &self,
        survivor: &mut Actor,
        actors: &mut Actors,
        folder: &Path,
        findings: &mut Findings,
    ) -> Result<(), Box<dyn Error>> {
        let ledger = ProgressFile::create(&folder.join("ledger"))?;
        let mut victim = actors.start(self.languages[0])?;
        survivor.tell(&self.orders[1])?;
        victim.tell(&self.orders[0])?;
        let killed = self.kill(&victim, &ledger).map_err(|missed| failure(&[survivor, &victim]).unwrap_or(missed))?;
        let told = survivor.answer(PATIENCE)?;
        let mine = if matches!(self.death, Death::None) { Some(victim.answer(PATIENCE)?) } else { None };
        let killed = killed.max(ledger.get(Field::DiedAt));
        victim.reap_with_child(ledger.get(Field::Child));
        if told.word != "ended" {
            return Err(format!("the survivor answers: {told}").into());
        }
        findings.count("bytes", told.get_or("bytes", 0));
        match mine {
            None => self.check_death(&told, &ledger, killed, findings),
            Some(mine) => self.check_orderly_end(&told, &mine, findings),
        }
    }

    /// Kills the victim if the round says so, and returns the time. Returns 0 if the victim ends by itself.
    fn kill(&self, victim: &Actor, ledger: &ProgressFile) -> Result<u64, Box<dyn Error>> {
        let until = Instant::now() + PATIENCE;
        let wait = |what: &dyn Fn() -> bool| -> Result<(), Box<dyn Error>> {
            while !what() {
                if Instant::now() > until {
                    return Err(Missed("the victim's end".to_owned()).into());
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            Ok(())
        };
        match self.death {
            Death::None | Death::Point(_) => return Ok(0),
            Death::Later(micros) => {
                wait(&|| ledger.get(Field::Ready) == 1)?;
                std::thread::sleep(Duration::from_micros(micros));
            }
            Death::Steps(_, steps) => {
                wait(&|| ledger.get(Field::Stopping) == 1 && is_stopped(victim.pid()))?;
                single_step(victim.pid(), steps, Step::Instruction)?;
            }
        }
        let killed = now();
        victim.kill();
        Ok(killed)
    }

    fn check_death(
        &self,
        told: &Order,
        ledger: &ProgressFile,
        killed: u64,
        findings: &mut Findings,
    ) -> Result<(), Box<dyn Error>> {
        let kind = match self.death {
            Death::Point(point) => format!("killed at `{point}`"),
            Death::Steps(point, _) => format!("killed within instructions after `{point}`"),
            Death::Later(_) => "killed at a random time".to_owned(),
            Death::None => "closed".to_owned(),
        };
        findings.count(&format!("{} {kind}", self.role.name()), 1);
        let end = told.text("end");
        if end != "dead" {
            return Err(format!("the survivor reports `{end}`: {told}").into());
        }
        if killed == 0 {
            return Err("the victim did not die in this round".into());
        }
        let noticed = told.get_or("at", 0_u64).saturating_sub(killed.max(told.get_or("asked", 0)));
        findings.noticed(&self.survivor(), noticed);
        if noticed > LATE {
            findings.note(format!("noticed after {} ms: {told}\n  {self}", noticed / 1_000_000));
        }
        let [started, committed, taken] = [Field::Started, Field::Committed, Field::Taken].map(|word| ledger.get(word));
        let got: u64 = told.get_or(if self.role == Role::Callee { "replies" } else { "taken" }, 0);
        findings.count("messages", got);
        let right = match self.role {
            // The coroutine or the thread of a departed caller is cancelled, perhaps before it begins.
            Role::Caller if self.forms[1] == "async" || sends_items(self.forms[0]) => got <= started,
            Role::Sender | Role::Caller | Role::Callee => committed <= got && got <= started,
            Role::Receiver => taken <= told.get_or("sent", 0),
        };
        let uploaded = told.get_or("uploaded", 0);
        if self.role == Role::Callee && has_streams(self.forms[1]) {
            check_items([told.get_or("items", 0), uploaded], &self.pair_and_forms(), ledger, findings)?;
        }
        if self.role == Role::Caller {
            count_uploaded(uploaded, &self.pair_and_forms(), findings);
            let started = ledger.get(Field::ItemsStarted);
            if uploaded > started {
                return Err(format!("the caller had begun to send {started} items: {told}").into());
            }
        }
        let complete = self.role != Role::Callee || told.get_or("sent", 0) == got + told.get_or::<u64>("lost", 0);
        if right && complete {
            Ok(())
        } else {
            Err(format!("the victim had started {started}, committed {committed}, taken {taken}; {told}").into())
        }
    }

    /// Checks that both actors report the same after a close.
    pub(crate) fn check_orderly_end(
        &self,
        told: &Order,
        mine: &Order,
        findings: &mut Findings,
    ) -> Result<(), Box<dyn Error>> {
        let (giver, taker) = if matches!(self.role, Role::Sender | Role::Caller) { (mine, told) } else { (told, mine) };
        let [sent, taken, count]: [u64; 3] = [
            giver.get_or("sent", 0),
            taker.get_or("taken", 1),
            self.orders.iter().find_map(|order| order.get("count")).unwrap_or(2),
        ];
        findings.count("messages", taken);
        findings.count(&format!("{} closed", self.role.name()), 1);
        let answered = matches!(self.role, Role::Sender | Role::Receiver)
            || (giver.get_or("replies", 0) == sent && giver.get_or("lost", 1) == 0);
        let [given, uploaded]: [u64; 2] = [giver, taker].map(|side| side.get_or("uploaded", 0));
        count_uploaded(uploaded, &self.pair_and_forms(), findings);
        let ends = giver.text("end") == "finished" && taker.text("end") == "closed";
        if ends && answered && sent == count && taken == count && given == uploaded {
            Ok(())
        } else {
            Err(format!("the sending side answers: {giver}; the receiving side answers: {taker}").into())
        }
    }
}
