//! One round: a pair of actors of whom one dies, or leaves in good order, and what must be true afterwards.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon_tests::chaos::ledger::{Ledger, Word};
use tachyon_tests::chaos::now;
use tachyon_tests::chaos::order::Order;

use super::company::{Actor, Company, Language, PATIENCE};
use super::findings::Findings;
use super::grip::{Step, has_stopped, lead};
use super::missed::Missed;

/// Later than this, in nanoseconds, an end is worth a note.
const LATE: u64 = 100_000_000;

/// Whose death it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Sender,
    Receiver,
    Caller,
    Callee,
}

impl Part {
    pub(crate) const ALL: [Self; 4] = [Self::Sender, Self::Receiver, Self::Caller, Self::Callee];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
            Self::Caller => "caller",
            Self::Callee => "callee",
        }
    }

    /// The order for it.
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

    /// The ways to play it. An event loop's last: it cannot listen, nor be led by the hand.
    fn forms(self) -> &'static [&'static str] {
        match self {
            Self::Sender => &["copy", "place"],
            Self::Receiver => &["guard", "iterate", "batch"],
            Self::Caller => &["single", "place", "pipelined", "async"],
            Self::Callee => &["dispatcher", "hand", "async"],
        }
    }

    /// What one who plays it in a form passes, and may die at.
    fn points(self, form: &str) -> &'static [&'static str] {
        match (self, form) {
            (Self::Sender, "place") => &["before", "reserved", "committed"],
            (Self::Caller, "place") => &["before", "reserved", "called", "replied"],
            (Self::Sender, _) => &["before", "committed"],
            (Self::Receiver, "batch") => &["taken"],
            (Self::Receiver, _) => &["taken", "released"],
            (Self::Caller, _) => &["before", "called", "replied"],
            (Self::Callee, "hand") => &["taken", "handler", "reply", "answered"],
            (Self::Callee, _) => &["handler"],
        }
    }
}

/// How the victim ends.
#[derive(Debug, Clone)]
pub(crate) enum Death {
    /// By its own hand, at a point.
    Point(&'static str),
    /// So many instructions after a point.
    Steps(&'static str, u32),
    /// So many microseconds after it has connected.
    Later(u64),
    /// Not at all: it leaves in good order after so many messages.
    None,
}

/// A round to be.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) part: Part,
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
            self.part.name(),
            self.death,
            self.part.other().name()
        )?;
        write!(f, "    victim: {}\n    survivor: {}", self.orders[0], self.orders[1])
    }
}

/// Scales of a round, which a soak has larger than a round of deaths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) capacities: &'static [usize],
    /// Bytes that an orderly round carries, about.
    pub(crate) bytes: u64,
    /// Most messages of an orderly round.
    pub(crate) messages: u64,
    /// Latest death, in microseconds.
    pub(crate) latest: u64,
    /// Of a hundred deaths, how many come at any time, and not at a chosen point.
    pub(crate) at_any_time: u32,
}

impl Round {
    /// Draws a round. `languages` are the victim's and the survivor's.
    pub(crate) fn draw(
        part: Part,
        languages: [Language; 2],
        orderly: bool,
        seed: u32,
        scale: Scale,
        folder: &Path,
        chance: &mut fastrand::Rng,
    ) -> Self {
        let parts = [part, part.other()];
        let pick = |from: &[&'static str], chance: &mut fastrand::Rng| from[chance.usize(..from.len())];
        let mut forms = parts.map(|part| pick(part.forms(), chance));
        let victim_loops = orderly && chance.bool();
        if forms[0] == "async" && !victim_loops {
            forms[0] = part.forms()[0];
        }
        // The Rust callee on an event loop is a server, and has rounds of its own.
        for (form, (part, language)) in forms.iter_mut().zip(parts.into_iter().zip(languages)) {
            if part == Part::Callee && language == Language::Rust && *form == "async" {
                *form = "hand";
            }
        }
        let modes = [0; 2].map(|_| pick(&["park", "spin", "adaptive", "spins"], chance));
        let mut listens = [chance.bool(), false];
        if forms[0] == "async" {
            listens[0] = false;
        }
        listens[1] = !listens[0];
        if forms[1] == "async" {
            listens = [true, false];
        }
        if forms == ["async", "async"] {
            forms[1] = parts[1].forms()[0];
            listens = [false, true];
        }
        let capacity = |chance: &mut fastrand::Rng| scale.capacities[chance.usize(..scale.capacities.len())];
        let (forward, reverse) = (capacity(chance), capacity(chance));
        let largest = chance.usize(..3);
        let most = if largest == 0 { forward.min(200) } else { forward };
        let point = pick(part.points(forms[0]), chance);
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
            Order::new(parts[who].word())
                .with("path", folder.join("line.sock").display())
                .with("side", if listens[who] { "listen" } else { "connect" })
                .with("forward", forward)
                .with("reverse", reverse)
                .with("most", most)
                .with("most_reply", reverse)
                .with("seed", seed)
                .with("mode", modes[who])
                .with("form", forms[who])
                .with("pause", pause)
        });
        orders[0] = orders[0].clone().with("ledger", folder.join("ledger").display());
        if part != Part::Callee || forms[0] != "async" {
            orders[0] = match death {
                Death::Point(point) => orders[0].clone().with("die", point).with("at", at),
                Death::Steps(point, _) => orders[0].clone().with("die", point).with("at", at).with("how", "stop"),
                Death::None if !(part == Part::Callee || part == Part::Receiver) => {
                    orders[0].clone().with("count", count)
                }
                Death::None | Death::Later(_) => orders[0].clone(),
            };
        }
        if matches!(death, Death::None) && matches!(part, Part::Callee | Part::Receiver) {
            // Whoever takes leaves when the other one does.
            orders[1] = orders[1].clone().with("count", count);
        }
        if !orderly && chance.u8(..4) == 0 {
            orders[0] = orders[0].clone().with("fork", 1);
        }
        Self { part, languages, forms, modes, death, orders }
    }

    /// Who gives and who takes.
    pub(crate) fn pair(&self) -> String {
        let [mine, other] = self.languages.map(Language::name);
        let parts = (self.part.name(), self.part.other().name());
        match self.part {
            Part::Sender | Part::Caller => format!("{mine} {} to {other} {}", parts.0, parts.1),
            Part::Receiver | Part::Callee => format!("{other} {} to {mine} {}", parts.1, parts.0),
        }
    }

    /// Who survives, as the table of times has it.
    fn survivor(&self) -> String {
        let waiting = match (self.forms[1], self.modes[1]) {
            ("async", _) if self.languages[1] == Language::Python => "asyncio",
            ("async", _) => "tokio",
            (_, "spin") => "spinning",
            (_, "park") => "parked",
            _ => "adaptive",
        };
        format!("{} {}, {waiting}", self.languages[1].name(), self.part.other().name())
    }

    /// Plays it, and checks what the survivor says.
    pub(crate) fn play(
        &self,
        survivor: &mut Actor,
        company: &mut Company,
        folder: &Path,
        findings: &mut Findings,
    ) -> Result<(), Box<dyn Error>> {
        let ledger = Ledger::create(&folder.join("ledger"))?;
        let mut victim = company.engage(self.languages[0])?;
        survivor.tell(&self.orders[1])?;
        victim.tell(&self.orders[0])?;
        let killed = self.end(&victim, &ledger)?;
        let told = survivor.hear(PATIENCE)?;
        let mine = if matches!(self.death, Death::None) { Some(victim.hear(PATIENCE)?) } else { None };
        let killed = killed.max(ledger.get(Word::DiedAt));
        victim.bury_with_child(ledger.get(Word::Child));
        if told.word != "ended" {
            return Err(format!("the survivor says: {told}").into());
        }
        findings.count("bytes", told.get_or("bytes", 0));
        match mine {
            None => self.check_death(&told, &ledger, killed, findings),
            Some(mine) => self.check_farewell(&told, &mine, findings),
        }
    }

    /// Brings the end about, and gives the time of it if this process did it.
    fn end(&self, victim: &Actor, ledger: &Ledger) -> Result<u64, Box<dyn Error>> {
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
                wait(&|| ledger.get(Word::Ready) == 1)?;
                std::thread::sleep(Duration::from_micros(micros));
            }
            Death::Steps(_, steps) => {
                wait(&|| ledger.get(Word::Stopping) == 1 && has_stopped(victim.pid()))?;
                lead(victim.pid(), steps, Step::Instruction)?;
            }
        }
        let killed = now();
        victim.kill();
        Ok(killed)
    }

    fn check_death(
        &self,
        told: &Order,
        ledger: &Ledger,
        killed: u64,
        findings: &mut Findings,
    ) -> Result<(), Box<dyn Error>> {
        let kind = match self.death {
            Death::Point(point) => format!("killed at `{point}`"),
            Death::Steps(point, _) => format!("killed within instructions after `{point}`"),
            Death::Later(_) => "killed at any time".to_owned(),
            Death::None => "left in good order".to_owned(),
        };
        findings.count(&format!("{} {kind}", self.part.name()), 1);
        let end = told.text("end");
        if end != "dead" {
            return Err(format!("the survivor took it for `{end}`: {told}").into());
        }
        if killed == 0 {
            return Err("the victim did not die of this round".into());
        }
        let noticed = told.get_or("at", 0_u64).saturating_sub(killed.max(told.get_or("asked", 0)));
        findings.noticed(&self.survivor(), noticed);
        if noticed > LATE {
            findings.note(format!("noticed after {} ms: {told}\n  {self}", noticed / 1_000_000));
        }
        let [started, committed, taken] = [Word::Started, Word::Committed, Word::Taken].map(|word| ledger.get(word));
        let got: u64 = told.get_or(if self.part == Part::Callee { "replies" } else { "taken" }, 0);
        findings.count("messages", got);
        let right = match self.part {
            // A coroutine whose caller is gone is cancelled, perhaps before it begins.
            Part::Caller if self.forms[1] == "async" => got <= started,
            Part::Sender | Part::Caller | Part::Callee => committed <= got && got <= started,
            Part::Receiver => taken <= told.get_or("sent", 0),
        };
        let complete = self.part != Part::Callee || told.get_or("sent", 0) == got + told.get_or::<u64>("lost", 0);
        if right && complete {
            Ok(())
        } else {
            Err(format!("the victim had started {started}, committed {committed}, taken {taken}; {told}").into())
        }
    }

    /// Checks that both say the same after an orderly end.
    pub(crate) fn check_farewell(
        &self,
        told: &Order,
        mine: &Order,
        findings: &mut Findings,
    ) -> Result<(), Box<dyn Error>> {
        let (giver, taker) = if matches!(self.part, Part::Sender | Part::Caller) { (mine, told) } else { (told, mine) };
        let [sent, taken, count]: [u64; 3] = [
            giver.get_or("sent", 0),
            taker.get_or("taken", 1),
            self.orders.iter().find_map(|order| order.get("count")).unwrap_or(2),
        ];
        findings.count("messages", taken);
        findings.count(&format!("{} left in good order", self.part.name()), 1);
        let answered = matches!(self.part, Part::Sender | Part::Receiver)
            || (giver.get_or("replies", 0) == sent && giver.get_or("lost", 1) == 0);
        let ends = giver.text("end") == "finished" && taker.text("end") == "closed";
        if ends && answered && sent == count && taken == count {
            Ok(())
        } else {
            Err(format!("the giver says: {giver}; the taker says: {taker}").into())
        }
    }
}
