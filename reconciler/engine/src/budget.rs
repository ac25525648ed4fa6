//! The retry budget: how often a system that does not answer may be asked again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// The first and the longest pause between two retries that are paid for: ten of them last for a good while.
const SPACING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The system: who asks for a pause, asks for it for all of it.
    pub target: String,
    /// A kind, or `secrets`.
    pub kind: String,
    /// One object of it. Absent: all of them at once.
    pub one: Option<String>,
    /// Whether each object is a machine of its own, with savings of its own.
    pub apart: bool,
}

impl Asked {
    /// All secrets of a store.
    pub fn secrets(target: &str) -> Self {
        Self { target: target.to_owned(), kind: "secrets".to_owned(), one: None, apart: false }
    }

    /// Who pays for a retry.
    fn payer(&self) -> Self {
        if self.apart { self.clone() } else { self.whole() }
    }

    fn whole(&self) -> Self {
        Self { one: None, ..self.clone() }
    }

    /// Who keeps a pause.
    fn system(&self) -> (String, Option<String>) {
        (self.target.clone(), self.one.clone().filter(|_| self.apart))
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
pub struct Budget(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    accounts: BTreeMap<Asked, Account>,
    /// Until when each system asked to be left alone.
    pauses: BTreeMap<(String, Option<String>), Instant>,
}

#[derive(Debug)]
struct Account {
    saved: u32,
    /// What its last answer was, where it was none.
    down: Option<TargetError>,
    /// When the next retry may be paid for, and the pause after it.
    next_retry: Option<Instant>,
    spacing: Duration,
}

impl Default for Account {
    fn default() -> Self {
        Self { saved: SAVED, down: None, next_retry: None, spacing: SPACING.0 }
    }
}

impl Account {
    fn is_there(&mut self) {
        self.down = None;
        self.next_retry = None;
        self.spacing = SPACING.0;
    }
}

impl Books {
    /// The last answer of something that is away, or of all of its kind.
    fn down(&self, asked: &Asked) -> Option<TargetError> {
        let of = |part: &Asked| self.accounts.get(part).and_then(|account| account.down.clone());
        of(asked).or_else(|| of(&asked.whole()))
    }
}

impl Budget {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something may be asked now. A system that answered last is asked freely; one that did not is asked
    /// again at each first try, and beside that as often as is saved up, in growing pauses: who comes between gets the
    /// last answer.
    ///
    /// # Errors
    /// What it said last, with the pause that it asked for.
    pub fn ask(&self, asked: &Asked, reason: Try, now: Instant) -> Result<(), TargetError> {
        let mut books = self.books();
        let down = books.down(asked);
        if let Some(until) = books.pauses.get(&asked.system()).filter(|until| now < **until) {
            return Err(postponed(down, Some(*until - now)));
        }
        let payer = books.accounts.entry(asked.payer()).or_default();
        match (down, reason) {
            (None, Try::Again) => Ok(()),
            (Some(_), Try::Again) if has(Defect::NoBudget) => Ok(()),
            (_, Try::First) => {
                payer.saved = (payer.saved + PAID_IN).min(SAVED);
                Ok(())
            }
            (Some(last), Try::Again) => {
                let too_soon = payer.next_retry.is_some_and(|next| now < next);
                if too_soon || payer.saved < RETRY {
                    return Err(postponed(Some(last), None));
                }
                payer.saved -= RETRY;
                payer.next_retry = Some(now + payer.spacing);
                payer.spacing = (payer.spacing * 2).min(SPACING.1);
                Ok(())
            }
        }
    }

    /// Whether it may not be asked again before its next first try.
    pub fn is_spent(&self, asked: &Asked) -> bool {
        let books = self.books();
        let saved = books.accounts.get(&asked.payer()).map_or(SAVED, |account| account.saved);
        saved < RETRY && books.down(asked).is_some() && !has(Defect::NoBudget)
    }

    /// Notes what it answered: `None` for anything that shows that it is there.
    pub fn answered(&self, asked: &Asked, error: Option<&TargetError>, now: Instant) {
        let mut books = self.books();
        if let Some(TargetError::Unavailable { retry_after: Some(after), .. }) = error {
            let until = now + (*after).min(LONGEST_ASKED);
            let kept = books.pauses.entry(asked.system()).or_insert(until);
            *kept = (*kept).max(until);
        }
        let Some(error) = error.filter(|error| error.is_unavailable()) else {
            books.accounts.entry(asked.clone()).or_default().is_there();
            // What answers for one of its objects, or for one of its kinds, is there.
            let same = |other: &Asked| {
                other.target == asked.target && other.one.is_none() && !other.apart && !asked.apart
            };
            for (_, account) in books.accounts.iter_mut().filter(|(other, _)| same(other)) {
                account.is_there();
            }
            return;
        };
        books.accounts.entry(asked.clone()).or_default().down = Some(error.clone());
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
        Asked { target: "attic".to_owned(), kind: "Thing".to_owned(), one: None, apart: false }
    }

    fn one(name: &str, apart: bool) -> Asked {
        Asked { one: Some(name.to_owned()), apart, ..asked() }
    }

    fn down() -> TargetError {
        TargetError::unavailable("looking", "connection refused")
    }

    /// How many retries are granted in a while, asked for each second.
    fn retries(budget: &Budget, asked: &Asked, from: Instant, seconds: u64) -> usize {
        (0..seconds)
            .filter(|second| budget.ask(asked, Try::Again, from + Duration::from_secs(*second)).is_ok())
            .count()
    }

    #[tokio::test]
    async fn an_outage_costs_a_tenth_more_than_health_and_what_was_saved() {
        let (budget, now) = (Budget::default(), Instant::now());
        budget.answered(&asked(), Some(&down()), now);
        assert_eq!(retries(&budget, &asked(), now, 86_400), 10, "saved");
        let later = now + Duration::from_hours(48);
        for _ in 0..50 {
            budget.ask(&asked(), Try::First, later).unwrap();
        }
        assert_eq!(budget.ask(&asked(), Try::Again, later), Ok(()));
        assert_eq!(budget.ask(&asked(), Try::Again, later), Err(down()), "not at once");
        assert_eq!(retries(&budget, &asked(), later, 86_400), 4, "a tenth of 50, and one was used");
        budget.answered(&asked(), None, later);
        assert_eq!(retries(&budget, &asked(), later, 100), 100, "what answers is asked freely");
    }

    #[tokio::test]
    async fn the_retries_of_many_are_those_of_one_and_last_for_minutes() {
        let (budget, now) = (Budget::default(), Instant::now());
        budget.answered(&asked(), Some(&down()), now);
        let names: Vec<Asked> = (0..20).map(|number| one(&number.to_string(), false)).collect();
        let in_a_minute: usize = (0..60)
            .map(|second| {
                let at = now + Duration::from_secs(second);
                names.iter().filter(|name| budget.ask(name, Try::Again, at).is_ok()).count()
            })
            .sum();
        assert_eq!(in_a_minute, 6, "after 0, 1, 3, 7, 15 and 31 seconds");
        assert!(!budget.is_spent(&names[0]));
    }

    #[tokio::test]
    async fn one_that_is_out_of_reach_says_nothing_of_the_others() {
        for apart in [true, false] {
            let (budget, now) = (Budget::default(), Instant::now());
            budget.answered(&one("a", apart), Some(&down()), now);
            assert_eq!(retries(&budget, &one("a", apart), now, 86_400), 10);
            assert_eq!(retries(&budget, &one("b", apart), now, 100), 100);
        }
        let (budget, now) = (Budget::default(), Instant::now());
        budget.answered(&asked(), Some(&down()), now);
        assert_eq!(retries(&budget, &one("b", false), now, 2), 2, "all of it is out of reach: in pauses");
        budget.answered(&one("c", false), None, now);
        assert_eq!(retries(&budget, &one("b", false), now, 100), 100, "one of it answered");
    }

    #[tokio::test]
    async fn what_answers_for_another_kind_of_a_system_shows_that_it_is_there() {
        let (budget, now) = (Budget::default(), Instant::now());
        let secrets = Asked::secrets("attic");
        budget.answered(&secrets, Some(&down()), now);
        assert_eq!(retries(&budget, &secrets, now, 86_400), 10);
        assert!(budget.is_spent(&secrets));
        budget.answered(&asked(), None, now);
        assert!(!budget.is_spent(&secrets));
    }

    #[tokio::test]
    async fn a_pause_that_was_asked_for_is_kept_by_all_of_a_system_and_bounded() {
        let (budget, now) = (Budget::default(), Instant::now());
        let after = |seconds| TargetError::Unavailable {
            doing: "looking".to_owned(),
            why: "too many requests".to_owned(),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        budget.answered(&asked(), Some(&after(60)), now);
        // An answer that names no pause takes none away.
        budget.answered(&asked(), Some(&down()), now);
        let asked_at =
            |asked: &Asked, seconds| budget.ask(asked, Try::First, now + Duration::from_secs(seconds));
        assert!(asked_at(&asked(), 59).is_err());
        assert!(asked_at(&Asked::secrets("attic"), 59).is_err(), "it is the same system");
        assert!(asked_at(&Asked::secrets("cellar"), 59).is_ok());
        assert!(asked_at(&asked(), 60).is_ok());
        budget.answered(&asked(), Some(&after(1_000_000)), now);
        assert!(asked_at(&asked(), 3_600).is_ok());
    }
}
