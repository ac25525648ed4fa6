//! The retry budget: how often a system that does not answer may be asked again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::kind::TargetError;
use holdfast_core::planted::{Defect, has};
use tokio::time::Instant;

/// What a first try pays in for retries: with it, retries are at most a tenth of what a healthy system is asked.
/// (<https://sre.google/sre-book/handling-overload/>, "per-client retry budget")
const PAID_IN: u32 = 1;
/// What a retry costs, in the same coin.
const RETRY: u32 = 10;
/// What is saved up at most: enough to notice at once that a short outage ended.
const SAVED: u32 = 10 * RETRY;
/// The longest pause that a system may ask for.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// A kind, or `secrets`.
    pub system: String,
    /// One object of it. Absent: all of them at once.
    pub one: Option<String>,
    /// Whether each object is a machine of its own, with savings of its own.
    pub apart: bool,
}

impl Asked {
    /// All secrets.
    pub fn secrets() -> Self {
        Self { system: "secrets".to_owned(), one: None, apart: false }
    }

    /// Who pays for a retry.
    fn payer(&self) -> Self {
        if self.apart { self.clone() } else { Self { one: None, ..self.clone() } }
    }
}

/// Why something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// By a schedule, or for a new commit.
    First,
    /// Because of what was asked before.
    Again,
}

/// The accounts of everything that is asked. All environments share them.
#[derive(Debug, Default)]
pub struct Budget(Mutex<BTreeMap<Asked, Account>>);

#[derive(Debug)]
struct Account {
    saved: u32,
    /// What its last answer was, where it was none.
    down: Option<TargetError>,
    /// It asked not to be asked before.
    not_before: Option<Instant>,
}

impl Default for Account {
    fn default() -> Self {
        Self { saved: SAVED, down: None, not_before: None }
    }
}

impl Budget {
    /// Whether something may be asked now. A system that answered last is asked freely; one that did not is asked
    /// again at each first try, and beside that as often as is saved up.
    ///
    /// # Errors
    /// What it said last, with the pause that it asked for.
    pub fn ask(&self, asked: &Asked, reason: Try, now: Instant) -> Result<(), TargetError> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = Asked { one: None, ..asked.clone() };
        let mut down = None;
        for part in [&whole, asked] {
            let Some(account) = accounts.get(part) else { continue };
            if let Some(not_before) = account.not_before.filter(|not_before| now < *not_before) {
                return Err(postponed(account.down.clone(), Some(not_before - now)));
            }
            down = account.down.clone().or(down);
        }
        let payer = accounts.entry(asked.payer()).or_default();
        match (down, reason) {
            (None, Try::Again) => Ok(()),
            (Some(_), Try::Again) if has(Defect::NoBudget) => Ok(()),
            (_, Try::First) => {
                payer.saved = (payer.saved + PAID_IN).min(SAVED);
                Ok(())
            }
            (Some(_), Try::Again) if payer.saved >= RETRY => {
                payer.saved -= RETRY;
                Ok(())
            }
            (Some(last), Try::Again) => Err(postponed(Some(last), None)),
        }
    }

    /// Whether it may not be asked again before its next first try.
    pub fn is_spent(&self, asked: &Asked) -> bool {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = Asked { one: None, ..asked.clone() };
        let is_down = |part: &Asked| accounts.get(part).is_some_and(|account| account.down.is_some());
        let saved = accounts.get(&asked.payer()).map_or(SAVED, |account| account.saved);
        saved < RETRY && !has(Defect::NoBudget) && (is_down(&whole) || is_down(asked))
    }

    /// Notes what it answered: `None` for anything that shows that it is there.
    pub fn answered(&self, asked: &Asked, error: Option<&TargetError>, now: Instant) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if error.is_none() && asked.one.is_some() {
            // Who answers for one of its objects is there.
            if let Some(whole) = accounts.get_mut(&Asked { one: None, ..asked.clone() }) {
                whole.down = None;
            }
        }
        let account = accounts.entry(asked.clone()).or_default();
        account.down = error.filter(|error| error.is_unavailable()).cloned();
        account.not_before = match error {
            Some(TargetError::Unavailable { retry_after: Some(after), .. }) => {
                Some(now + (*after).min(LONGEST_ASKED))
            }
            _ => None,
        };
    }
}

/// The last answer, as the answer to what is not asked.
fn postponed(last: Option<TargetError>, retry_after: Option<Duration>) -> TargetError {
    match last {
        Some(TargetError::Unavailable { doing, why, retry_after: asked }) => {
            TargetError::Unavailable { doing, why, retry_after: retry_after.or(asked) }
        }
        _ => TargetError::Unavailable {
            doing: "asking it".to_owned(),
            why: "it asked to be left alone for a while".to_owned(),
            retry_after,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { system: "Thing".to_owned(), one: None, apart: false }
    }

    fn one(name: &str, apart: bool) -> Asked {
        Asked { one: Some(name.to_owned()), apart, ..asked() }
    }

    #[tokio::test]
    async fn an_outage_costs_a_tenth_more_than_health_and_what_was_saved() {
        let (budget, now) = (Budget::default(), Instant::now());
        budget.answered(&asked(), Some(&TargetError::unavailable("looking", "a start")), now);
        assert_eq!((0..100).filter(|_| budget.ask(&asked(), Try::Again, now).is_ok()).count(), 10, "saved");
        for _ in 0..50 {
            budget.ask(&asked(), Try::First, now).unwrap();
            budget.answered(&asked(), None, now);
        }
        let down = TargetError::unavailable("looking", "connection refused");
        budget.answered(&asked(), Some(&down), now);
        let retries =
            |count: usize| (0..count).filter(|_| budget.ask(&asked(), Try::Again, now).is_ok()).count();
        assert_eq!(retries(100), 5, "a tenth of 50");
        for _ in 0..10 {
            budget.ask(&asked(), Try::First, now).unwrap();
        }
        assert_eq!(retries(100), 1);
        assert_eq!(budget.ask(&asked(), Try::Again, now), Err(down));
        budget.answered(&asked(), None, now);
        assert_eq!(retries(100), 100, "what answers is asked freely");
    }

    #[tokio::test]
    async fn one_that_is_out_of_reach_says_nothing_of_the_others() {
        let (budget, now) = (Budget::default(), Instant::now());
        let down = TargetError::unavailable("looking", "connection refused");
        for apart in [true, false] {
            budget.answered(&one("a", apart), Some(&down), now);
            let tries = |name: &str| {
                (0..100).filter(|_| budget.ask(&one(name, apart), Try::Again, now).is_ok()).count()
            };
            assert_eq!(tries("a"), 10);
            assert_eq!(tries("b"), 100);
        }
        budget.answered(&asked(), Some(&down), now);
        assert!(budget.ask(&one("b", false), Try::Again, now).is_err(), "all of it is out of reach");
        budget.answered(&one("c", false), None, now);
        assert!(budget.ask(&one("b", false), Try::Again, now).is_ok());
    }

    #[tokio::test]
    async fn a_pause_that_was_asked_for_is_kept_and_bounded() {
        let (budget, now) = (Budget::default(), Instant::now());
        let after = |seconds| TargetError::Unavailable {
            doing: "looking".to_owned(),
            why: "too many requests".to_owned(),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        budget.answered(&asked(), Some(&after(60)), now);
        let asked_at = |seconds| budget.ask(&asked(), Try::First, now + Duration::from_secs(seconds));
        assert_eq!(asked_at(10), Err(after(50)));
        assert!(asked_at(60).is_ok());
        budget.answered(&asked(), Some(&after(1_000_000)), now);
        assert!(asked_at(3_600).is_ok());
    }
}
