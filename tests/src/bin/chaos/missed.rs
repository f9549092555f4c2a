//! Rounds whose victim did not get to where it was to die.

use std::error::Error;
use std::fmt;

use super::findings::Findings;

/// A victim did not reach its point of death in time. Whether it hangs, or the machine gave nobody any time, only another
/// try can tell.
#[derive(Debug)]
pub(crate) struct Missed(pub(crate) String);

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not come about", self.0)
    }
}

impl Error for Missed {}

/// Plays a round, and once more if its victim did not get to its end: that is reported, and twice is wrong. `play` is told
/// whether it is the second time.
pub(crate) fn twice(
    round: &dyn fmt::Display,
    findings: &mut Findings,
    mut play: impl FnMut(bool, &mut Findings) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    match play(false, findings) {
        Err(error) if error.is::<Missed>() => {
            findings.count("rounds played again, since their victim did not reach its point", 1);
            findings.note(format!("{round}: {error}; played again"));
            play(true, findings)
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed() -> Result<(), Box<dyn Error>> {
        Err(Missed("the victim's death".to_owned()).into())
    }

    #[test]
    fn a_missed_round_is_repeated_once() {
        let mut findings = Findings::default();
        let mut played = Vec::new();
        let outcome = twice(&"round 7, seed 9", &mut findings, |again, _| {
            played.push(again);
            if again { Ok(()) } else { missed() }
        });
        assert!(outcome.is_ok() && findings.wrong.is_empty());
        assert_eq!(played, [false, true]);
        assert!(findings.counted().contains("round 7, seed 9: the victim's death does not come about; played again"));
    }

    #[test]
    fn a_second_miss_and_any_other_error_are_faults() {
        let mut findings = Findings::default();
        assert!(twice(&"", &mut findings, |_, _| missed()).unwrap_err().is::<Missed>());
        let mut played = 0;
        let outcome = twice(&"", &mut findings, |_, _| {
            played += 1;
            Err("lost a message".into())
        });
        assert_eq!((outcome.unwrap_err().to_string().as_str(), played), ("lost a message", 1));
    }
}
