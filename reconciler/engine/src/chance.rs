//! Chance as a value: jitter that a seed reproduces.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// A source of jitter. Not for anything that must be hard to guess.
pub struct Chance(Mutex<SmallRng>);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }

    /// A number from 0 up to, not including, 1.
    pub fn fraction(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random::<f64>()
    }

    /// The time `base`, 10 % more or less: for polls, so that services do not march in step.
    pub fn around(&self, base: Duration) -> Duration {
        base.mul_f64(0.9 + 0.2 * self.fraction())
    }
}

/// Exponential backoff with full jitter: each pause lies anywhere up to a ceiling that doubles.
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>)
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    ceiling: Duration,
}

impl Backoff {
    pub fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, ceiling: first }
    }

    /// The next pause. Never less than half of the first ceiling, so that nothing spins.
    pub fn pause(&mut self, chance: &Chance) -> Duration {
        let pause = self.ceiling.mul_f64(chance.fraction()).max(self.first / 2);
        self.ceiling = (self.ceiling * 2).min(self.longest);
        pause
    }

    /// Starts over: something moved.
    pub fn reset(&mut self) {
        self.ceiling = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_their_bounds_and_a_seed_reproduces_them() {
        let bounds = (Duration::from_secs(1), Duration::from_secs(10));
        let pauses = |seed| {
            let (chance, mut backoff) = (Chance::new(seed), Backoff::new(bounds));
            (0..50).map(|_| backoff.pause(&chance)).collect::<Vec<_>>()
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
        assert!(pauses(1).iter().all(|p| (Duration::from_millis(500)..=bounds.1).contains(p)));
        assert!(pauses(1).iter().any(|p| *p > Duration::from_secs(5)), "the ceiling rises");
    }
}
