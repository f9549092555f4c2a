//! Repeats a round whose victim did not reach its point of death.

use std::error::Error;
use std::fmt;

use super::findings::Findings;

/// A victim did not reach its point of death in time: it hangs, or the machine is busy. A second attempt tells which.
#[derive(Debug)]
pub(crate) struct Missed(pub(crate) String);

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not reached", self.0)
    }
}

impl Error for Missed {}

/// Runs a round, and repeats it if its victim did not reach its point of death: the first time is counted, the second
/// is an error. `run` learns whether this is the second time.
pub(crate) fn with_retry(
    round: &dyn fmt::Display,
    findings: &mut Findings,
    mut run: impl FnMut(bool, &mut Findings) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    match run(false, findings) {
        Err(error) if error.is::<Missed>() => {
            findings.count("rounds repeated, since the victim did not reach its point", 1);
            findings.note(format!("{round}: {error}; repeated"));
            run(true, findings)
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
        let mut runs = Vec::new();
        let outcome = with_retry(&"round 7, seed 9", &mut findings, |again, _| {
            runs.push(again);
            if again { Ok(()) } else { missed() }
        });
        assert!(outcome.is_ok() && findings.faults.is_empty());
        assert_eq!(runs, [false, true]);
        assert!(findings.counted().contains("round 7, seed 9: the victim's death is not reached; repeated"));
    }

    #[test]
    fn a_second_miss_and_any_other_error_are_faults() {
        let mut findings = Findings::default();
        assert!(with_retry(&"", &mut findings, |_, _| missed()).unwrap_err().is::<Missed>());
        let mut played = 0;
        let outcome = with_retry(&"", &mut findings, |_, _| {
            played += 1;
            Err("lost a message".into())
        });
        assert_eq!((outcome.unwrap_err().to_string().as_str(), played), ("lost a message", 1));
    }
}
